# Two commands do everything a fresh machine needs: `make demo` and `make test`. CI runs `make test-faults`, too.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# TensorFlow's own notes on the processor are no news here.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test check unit test-faults test-backends test-keras bench docs format clean

demo: $(VENV)/.installed-demo ## digits as PNG files -> shards -> model.fit
	$(BIN)/python examples/digits.py --folder build/demo

test: check unit ## all checks, and all tests but the long campaigns

check: $(VENV)/.installed-test ## format, lint, types, import arrows, spelling, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python docs/generate.py --check

unit: $(VENV)/.installed-test ## the tests, with branch coverage
	$(BIN)/python -m pytest -n 2 -m "not faults" --cov --cov-report=term:skip-covered
	$(BIN)/coverage report --include='manifests/*' --fail-under=95

test-faults: $(VENV)/.installed-test ## the long campaigns: a kill at every file operation, every way of driving a sequence, memory
	$(BIN)/python -m pytest -n 2 -m faults

test-backends: $(VENV)/.installed-test $(VENV)/.installed-torch ## what is trained on TensorFlow, JAX and torch; installs torch, which is large
	$(BIN)/python -m pytest tests/integration/test_backends.py tests/integration/test_targets.py

KERAS_RELEASES := keras==3.8.0 keras keras-nightly

test-keras: $(VENV)/.installed-test $(VENV)/.installed-torch ## every way of driving a sequence on the oldest Keras, the newest and the nightly
	for release in $(KERAS_RELEASES); do \
	  rm -rf build/$$release && \
	  $(BIN)/python -m pip install --quiet --no-deps --target build/$$release "$$release" && \
	  PYTHONPATH=build/$$release $(BIN)/python -m pytest -n 2 \
	    tests/integration/test_backends.py tests/integration/test_distribution.py tests/loader/test_driving.py || exit 1; \
	done

bench: $(VENV)/.installed-bench ## ratios of speed, printed as a table
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-disable-gc -p no:randomly -s -q

docs: $(VENV)/.installed-test ## rewrite the generated parts of docs/
	$(BIN)/python docs/generate.py

format: $(VENV)/.installed-test ## let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the environment and everything that was made
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks .coverage*

$(VENV)/.installed-%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@

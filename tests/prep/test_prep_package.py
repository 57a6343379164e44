"""What users may import from `prep`, what importing costs, and the errors they may catch."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys

import pytest

import prep
from prep import errors

PUBLIC = [
    "AdoptOptions",
    "BuildOptions",
    "BuildSummary",
    "Change",
    "Conflict",
    "ConflictError",
    "Difference",
    "Failure",
    "Inspection",
    "ItemError",
    "MergeOptions",
    "MergeSummary",
    "OutputError",
    "PrepError",
    "Prepared",
    "Reporter",
    "ShardOptions",
    "SilentReporter",
    "SourceError",
    "SourceOptions",
    "SplitSpec",
    "StageError",
    "StderrReporter",
    "StoppedError",
    "TableOptions",
    "UsageError",
    "WorkerError",
    "adopt",
    "build_shards",
    "diff_datasets",
    "inspect_dataset",
    "merge_datasets",
    "parse_splits",
    "plan_build",
]


def test_the_public_names() -> None:
    assert prep.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(prep, name).__doc__


@pytest.mark.parametrize("module", ["prep", "prep.cli.app", "prep.cli.build", "prep.cli.retry"])
def test_importing_loads_no_framework_and_no_loader(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert module.partition(".")[0] in loaded.stdout.split()
    assert not {"pandas", "pyarrow", "keras", "tensorflow", "tf_keras", "jax", "torch", "loader", "imagecodecs"} & set(
        loaded.stdout.split()
    )
    assert loaded.stderr == ""


# Errors


def test_every_error_is_a_prep_error_and_stands_in_the_tree() -> None:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]
    assert {kind.__name__ for kind in found} == {
        "ConflictError",
        "ItemError",
        "OutputError",
        "PrepError",
        "SourceError",
        "StageError",
        "StoppedError",
        "UsageError",
        "WorkerError",
    }
    for kind in found:
        assert issubclass(kind, errors.PrepError)
        assert kind.__name__ in (errors.__doc__ or "")
        assert kind.__name__ in prep.__all__


@pytest.mark.parametrize(("count", "lines"), [(0, 1), (1, 2), (100, 101), (101, 102), (5000, 102)])
def test_a_source_error_keeps_every_problem_and_shows_the_first(count: int, lines: int) -> None:
    error = errors.SourceError("message", [f"problem {i}" for i in range(count)])
    shown = str(error).splitlines()
    assert len(error.problems) == count
    assert len(shown) == lines
    assert shown[0] == "message"
    if count > 100:
        assert shown[-1] == f"  ... and {count - 100} more"


@pytest.mark.parametrize(
    "error", [errors.ItemError("x"), errors.ConflictError("x", ["a"]), errors.OutputError("x"), errors.SourceError("x", ["a", "b"])]
)
def test_an_error_survives_its_way_out_of_a_worker(error: errors.PrepError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)

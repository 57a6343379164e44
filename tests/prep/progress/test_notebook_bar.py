"""Progress in a notebook, without one: what IPython's shell is given to publish in a kernel."""

from __future__ import annotations

import json
import subprocess
import sys
import types
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prep.progress.report import StderrReporter


class Notebook:
    """The part of a kernel's shell that matters; its outputs, by the ID by which they are shown anew."""

    kernel = object()
    config: dict[str, Any] = {"IPKernelApp": {}}  # noqa: RUF012  # what tqdm itself goes by

    def __init__(self) -> None:
        self.outputs: dict[str, list[str]] = {}
        self.display_pub = self

    def publish(self, data: dict[str, str], metadata: dict[str, Any], *, transient: dict[str, str], update: bool) -> None:
        assert update == (transient["display_id"] in self.outputs), "an output is made once, and then shown anew"
        self.outputs.setdefault(transient["display_id"], []).append(data["text/plain"])


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    shell = Notebook()
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    return shell


def test_a_bar_is_one_output_that_is_shown_anew_and_stays(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    reporter = StderrReporter()
    with reporter.progress(8, "build") as advance:
        advance(3)
        reporter.note("a note")
        advance(3, 2)
        advance(2)
    [states] = notebook.outputs.values()
    assert states[0].startswith("build:   0%|")
    assert states[-1].startswith("build: 100%|████")
    assert "8/8" in states[-1]
    assert "item/s" in states[-1]
    assert "failed=2" in states[-1]
    assert capsys.readouterr() == ("", "a note\n")


def test_what_is_ended_by_an_error_shows_how_far_it_came(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with StderrReporter().progress(8, "build") as advance:
            advance(4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert [states[-1][:11] for states in notebook.outputs.values()] == ["build:  50%"]
    assert capsys.readouterr() == ("", "")


def test_of_nothing_to_do_there_is_no_bar(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    for bar in (True, None):
        with StderrReporter(bar=bar).progress(0, "build") as advance:
            advance(0)
    assert notebook.outputs == {}
    assert capsys.readouterr() == ("", "")


def test_no_bar_is_no_bar_in_a_notebook_too(notebook: Notebook) -> None:
    with StderrReporter(bar=False).progress(8, "build") as advance:
        advance(8)
    assert notebook.outputs == {}


SCRIPT = """
import json, sys, types
from test_notebook_bar import Notebook
shell = Notebook()
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].get_ipython = lambda: shell
from prep import BuildOptions, build_shards
build_shards(sys.argv[1], sys.argv[2], BuildOptions(workers=1))
json.dump([list(shell.outputs.values()), sorted(sys.modules)], sys.stdout)
"""


def test_a_build_in_a_kernel_without_widgets_warns_of_nothing(tmp_path: Path) -> None:
    """In an interpreter of its own: tqdm looks for widgets, and warns that there are none, when it is first imported."""
    for number in range(40):
        (tmp_path / "raw").mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / "raw" / f"{number}.png")
    (tmp_path / "raw" / "bad.png").write_bytes(b"")
    path = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", path + SCRIPT, tmp_path / "raw", tmp_path / "data"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    outputs, modules = json.loads(done.stdout)
    bars = {states[-1].partition(":")[0]: states[-1] for states in outputs}
    assert len(bars) == len(outputs)
    assert "100%" in bars["build"]
    assert not [text for states in outputs for text in states if any(unicodedata.category(c) == "Cc" for c in text)]
    assert "Warning" not in done.stderr
    assert not [c for c in done.stderr if unicodedata.category(c) == "Cc" and c != "\n"]
    assert {"tqdm.auto", "tqdm.notebook", "ipywidgets"}.isdisjoint(modules)

"""`python -m loader.doctor`: what it measures, prints and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader.doctor import measure as measuring
from loader.doctor.command import _index, _numbers, run
from loader.doctor.measure import STAGES, Bench
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.options import FeedOptions
from manifests import Manifest

MakeDataset = Callable[..., Manifest]


@pytest.fixture
def data(make_dataset: MakeDataset) -> Path:
    splits = ["train", "train", "val"] * 8
    return make_dataset(24, columns={"split": splits}).root


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of a user's own in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "users_transforms", raising=False)
    (tmp_path / "users_transforms.py").write_text(
        "import numpy as np\n"
        "NUMBER = 3\n"
        "def twice(x, y, rng):\n    return np.concatenate([x, x]), y\n"
        "def bad(x, y, rng):\n    raise ValueError('no such thing')\n"
    )
    return tmp_path


def bench(manifest: Manifest, transform: Any = None, **options: Any) -> Bench:
    given = {"samples": 1000, "seconds": 60.0, "is_cold": False} | options
    return Bench(index_of_manifest(manifest, label_mode="int"), FeedOptions(batch_size=4, shuffle=True), transform, **given)


def test_the_result_as_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(data), "--split", "train", "--batch-size", "4", "--workers", "1,0", "--step-ms", "5", "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert (result["samples"], result["batch_size"], result["batch_bytes"]) == (16, 4, 4 * (4 * 3 + 2) * 4)
    assert (result["measured_batches"], result["measured_samples"], result["cold"]) == (4, 16, False)
    assert list(result["stage_seconds"]) == list(STAGES)
    assert all(seconds >= 0 for seconds in result["stage_seconds"].values())
    assert result["stage_seconds"]["open"] > 0
    assert result["stage_seconds"]["hand-over"] > 0
    assert list(result["batches_per_second"]) == ["0", "1"]
    assert all(len(rates) == 5 and min(rates) > 0 for rates in result["batches_per_second"].values())
    recommendation = result["recommendation"]
    assert recommendation["workers"] in {0, 1}
    assert recommendation["limit"] in STAGES
    assert "a step of 5 ms asks for 200" in recommendation["reason"]
    assert printed.err.splitlines() == [
        "reading",
        "measuring stages over 4 batches",
        "measuring 0 worker processes",
        "measuring 1 worker process",
    ]


def test_the_page_has_both_tables_and_one_recommendation(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(data / "manifest.csv"), "--workers", "0,1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("24 samples, batches of 24 (1.3 kB); 1 batch measured, from memory where the system has them")
    assert [line.split()[0] for line in lines[3:8]] == list(STAGES)
    assert [line.split()[0] for line in lines[9:12]] == ["workers", "0", "1"]
    assert [line for line in lines if line.startswith("recommended: workers=")] == lines[-1:]


def test_a_cold_measurement_forgets_and_leaves_the_data_as_it_was(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert run([str(data), "--workers", "0,1", "--cold", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cold"] is True
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def test_what_the_system_keeps_in_memory_is_said(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(measuring.os, "posix_fadvise", lambda *_: None)
    if Bench.cached_share(bench_ := bench_of(data)) is None:
        pytest.skip("this system does not tell")
    bench_.close()
    assert run([str(data), "--workers", "0", "--cold"]) == 0
    assert "note: the system keeps 100% of the shards in memory whatever it is told" in capsys.readouterr().out


def bench_of(data: Path) -> Bench:
    from manifests import load_manifest  # noqa: PLC0415  # the other tests have it from the command

    return bench(load_manifest(data))


def test_the_users_function_is_measured_here_and_in_workers(here: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(data), "--transform", "users_transforms:twice", "--batch-size", "8", "--workers", "0,1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["batch_bytes"] == 8 * (2 * 4 * 3 + 2) * 4
    assert result["stage_seconds"]["transform"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "the following arguments are required: DATA (see python -m loader.doctor --help)"),
        (["nothing"], 1, "nothing: no manifest there; expected a dataset folder with manifest.csv, or a CSV or Parquet file"),
        (["data", "--split", "test"], 2, "no split 'test'; the splits are 'train', 'val'"),
        (["data", "--batch-size", "0"], 2, "argument --batch-size: expected a positive integer, got '0'"),
        (["data", "--samples", "-1"], 2, "argument --samples: expected"),
        (["data", "--step-ms", "fast"], 2, "argument --step-ms: expected a positive number, got 'fast'"),
        (["data", "--step-ms", "nan"], 2, "argument --step-ms: expected a positive number, got 'nan'"),
        (["data", "--workers", "0,x"], 2, "argument --workers: expected numbers such as 0,1,2,4, got '0,x'"),
        (["data", "--label-mode", "onehot"], 2, "argument --label-mode: invalid choice: 'onehot'"),
        (["data", "--transform", "nothing"], 2, "expected MODULE:FUNCTION such as mymodule:augment, got 'nothing'"),
        (["data", "--transform", "no_such_module:f"], 2, "cannot be imported: ModuleNotFoundError"),
        (["data", "--transform", "users_transforms:f"], 2, "cannot be imported: AttributeError"),
        (["data", "--transform", "users_transforms:NUMBER"], 2, "'users_transforms:NUMBER' is no function but 3"),
        (
            ["data", "--transform", "users_transforms:bad"],
            1,
            "--transform raised ValueError: no such thing; raised by the transform of ID 's0",
        ),
        (["data", "--cold=yes"], 2, "argument --cold: ignored explicit argument 'yes'"),
        (["damaged"], 1, "found no such file"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    here: Path, data: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "damaged").mkdir()
    (here / "damaged" / "manifest.csv").write_text("id\nmissing\n")
    assert run(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    *progress, line = printed.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert set(progress) <= {"reading"}


def test_ctrl_c_ends_it(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bench, "stages", interrupted)
    assert run([str(data)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "error: interrupted"


@pytest.mark.parametrize(
    ("labels", "label_mode", "expected"),
    [
        (["0.5", "1", "2"], None, "float"),
        (["a", "b", "a"], None, "categorical"),
        (["a;b", "b", "a"], None, "multi_hot"),
        (["0.5", "1", ""], None, None),
        (["0", "1", "2"], "float", "float"),
        (["a", "b", "a"], "none", None),
    ],
)
def test_labels_are_fed_as_what_they_are(make_dataset: MakeDataset, labels: list[str], label_mode: Any, expected: str | None) -> None:
    codes = _index(make_dataset(3, labels=labels), label_mode).codes
    assert (None if codes is None else codes.label_mode) == expected


def test_without_labels_there_is_something_to_measure(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "manifest.csv").write_text("id,path\na,a.npy\n")
    assert run([str(tmp_path), "--workers", "0"]) == 0


def test_it_runs_as_a_module_without_keras(data: Path) -> None:
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['doctor', {str(data)!r}, '--workers', '0']\n"
        "try:\n    runpy.run_module('loader.doctor', run_name='__main__')\n"
        "except SystemExit as error:\n"
        "    print(error.code, sorted({'keras', 'tensorflow', 'tf_keras', 'jax', 'torch', 'PIL', 'click', 'loky'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(["--help"])
    assert end.value.code == 0
    assert "python -m loader.doctor data/ --split train --batch-size 64 --step-ms 12" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("processors", "numbers"),
    [
        (1, [0, 1]),
        (2, [0, 1, 2]),
        (4, [0, 1, 2, 3, 4]),
        (6, [0, 1, 2, 3, 4, 6]),
        (16, [0, 1, 2, 3, 4, 8, 16]),
        (24, [0, 1, 2, 3, 4, 8, 16, 24]),
    ],
)
def test_numbers_of_workers_go_up_to_the_processors(processors: int, numbers: list[int]) -> None:
    assert _numbers(processors) == numbers


def test_samples_and_time_limit_what_is_measured(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(24)
    assert [len(bench(manifest, samples=samples).keys) for samples in (1, 4, 5, 24)] == [1, 1, 2, 6]
    assert len(bench(manifest, seconds=0.0).keys) == 1


def test_time_in_the_users_function_is_that_stages(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only the user's function moves on, by a second a sample."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def slow(x: Any, y: Any, rng: Any) -> Any:
        now[0] += 1.0
        return x, y

    made = bench(make_dataset(10), slow)
    monkeypatch.setattr(Bench, "_hand_over", lambda self: [0.0] * len(self.keys))
    stages = made.stages()
    made.close()
    assert stages.transform == [4.0, 4.0, 2.0]
    assert (*stages.open, *stages.read, *stages.copy) == (0.0,) * 9
    assert stages.inline() == [4.0, 4.0, 2.0]
    assert stages.usual() == dict.fromkeys(STAGES, 0.0) | {"transform": 4.0}


def test_nothing_is_left_open(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(10)
    made = bench(manifest, is_cold=hasattr(os, "posix_fadvise"))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    made.stages()
    made.rates(0)
    made.rates(1)
    made.cached_share()
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before
    made.close()

"""A dataset.json in which any value is an odd one: every command either does its work or says in one typed error what is wrong."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests import ManifestError, load_manifest
from prep.build.build import build_shards, plan_build
from prep.build.recipe.options import BuildOptions
from prep.datasets.diff.diff import diff_datasets, difference_text
from prep.datasets.inspect import inspect_dataset
from prep.datasets.merge.merge import merge_datasets
from prep.datasets.merge.union import MergeOptions
from prep.errors import PrepError
from prep.progress.report import SilentReporter
from prep.sources.detect import SourceOptions
from prep.sources.table import TableOptions
from prep.splits.spec import parse_splits

ODD = [None, True, 5, -1, 1.5, "x", "", "\ud800", [], [None], [[1]], {}, {"x": 5}, 10**400, float("nan"), ["a", "a"], [-1], "9" * 20 + "x9"]
MISSING = object()

Key = tuple[str | int, ...]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source and the dataset of it: classes and numbers, splits, a failure, and options that a build remembers."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "raw").mkdir()
    rows = ["path,price,kind,who"]
    for number in range(8):
        np.save(folder / f"raw/{number}.npy", np.full((3, 4), number, dtype=np.float32))
        rows.append(f"{number}.npy,{number + 0.5},{'ab'[number % 2]},w{number}")
    (folder / "raw/3.npy").write_bytes(b"x")
    (folder / "raw/table.csv").write_text("\n".join(rows) + "\n")
    options = BuildOptions(
        source=SourceOptions(labels=folder / "raw/table.csv", table=TableOptions(path_column="path", label_columns=("price", "kind"))),
        splits=parse_splits("train=1/2,val=1/2", 0),
        workers=1,
    )
    build_shards(folder / "raw", folder / "good", options, report=SilentReporter())
    shutil.copytree(folder / "good", folder / "odd")
    return folder


def keys_of(value: Any, above: Key = ()) -> Iterator[Key]:
    """Yield the key of each value; of a list's items the first two."""
    yield above
    names = value if isinstance(value, dict) else range(min(len(value), 2)) if isinstance(value, list) else ()
    for name in names:
        yield from keys_of(value[name], (*above, name))


def with_odd(content: Any, key: Key, odd: Any) -> Any:
    """Return content of which one value is another, or not there."""
    if not key:
        return odd
    content = copy.deepcopy(content)
    above = content
    for name in key[:-1]:
        above = above[name]
    if odd is MISSING:
        del above[key[-1]]
    else:
        above[key[-1]] = odd
    return content


def use(folder: Path) -> None:
    manifest = load_manifest(folder / "odd")
    assert manifest.splits is not None
    assert repr(manifest)
    assert manifest._repr_html_()
    for ask in (
        manifest.normalization,
        lambda: manifest.normalization("label"),
        manifest.class_table,
        lambda: manifest.class_table("kind"),
    ):
        with contextlib.suppress(ManifestError):
            ask()


def inspect(folder: Path) -> None:
    found = inspect_dataset(folder / "odd")
    assert str(found)
    assert json.dumps(found.as_dict())


def diff(folder: Path) -> None:
    for a, b in (("odd", "good"), ("good", "odd")):
        found = diff_datasets(folder / a, folder / b)
        difference_text(found).encode()
        assert json.dumps(found.as_dict(), default=vars)


def plan(folder: Path) -> None:
    plan_build(folder / "raw", folder / "odd", BuildOptions(workers=1), report=SilentReporter())


def merge(folder: Path) -> None:
    merge_datasets(folder / "odd", folder / "good", folder / "union", workers=1, report=SilentReporter())


def merge_under_other_names(folder: Path) -> None:
    options = MergeOptions(prefix_a="a/", prefer="b", mixed=True)
    merge_datasets(folder / "good", folder / "odd", folder / "union", options, workers=1, report=SilentReporter())


def check_odd(built: Path, count: int | None, ways: list[Callable[[Path], None]]) -> None:
    """Go all ways with datasets that are odd in one value each; with some of them, or with all."""
    content = json.loads((built / "good/dataset.json").read_text())
    cases = [(key, odd) for key in keys_of(content) for odd in (*ODD, MISSING) if key or odd is not MISSING]
    order = np.random.default_rng(0).permutation(len(cases))[:count]
    for key, odd in [cases[number] for number in order]:
        (built / "odd/dataset.json").write_text(json.dumps(with_odd(content, key, odd)))
        for way in ways:
            try:
                way(built)
            except (ManifestError, PrepError) as error:
                str(error).encode()  # it can be printed
            except Exception as error:
                error.add_note(f"{way.__name__} of a dataset in which {key} is {'missing' if odd is MISSING else repr(odd)[:50]}")
                raise
            finally:
                shutil.rmtree(built / "union", ignore_errors=True)


WAYS: list[Callable[[Path], None]] = [use, inspect, diff, plan, merge, merge_under_other_names]


def test_some_odd_values(built: Path) -> None:
    check_odd(built, 60, WAYS)


@pytest.mark.faults
def test_all_odd_values(built: Path) -> None:
    check_odd(built, None, WAYS)

"""How a manifest shows itself in a notebook."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from manifests import Manifest, load_manifest
from manifests.describe.notebook_html import SHOWN_CLASSES


class Table(HTMLParser):
    """Collects rows of cells and the text around the table, and fails on a tag that is not closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.tags: set[str] = set()
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data
        else:
            self.text += data


def shown(columns: dict[str, list[str]], folder: Path) -> Table:
    pd.DataFrame({"id": [f"i{n:04}" for n in range(len(next(iter(columns.values()))))], **columns}).to_csv(
        folder / "manifest.csv", index=False
    )
    return Table(load_manifest(folder)._repr_html_())


def test_counts_per_class_and_split_and_the_array_spec(pets: Path) -> None:
    table = Table(load_manifest(pets)._repr_html_())
    assert f"Manifest {pets}: 6 IDs" in table.text
    assert "array: (2, 3) uint8" in table.text
    assert table.rows == [
        ["label", "train", "val"],
        ["bird", "0", "1"],
        ["cat", "2", "1"],
        ["dog", "2", "0"],
        ["IDs", "4", "2"],
    ]


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ({"label": ["a", "b", "a"]}, [["label", "all"], ["a", "2"], ["b", "1"], ["IDs", "3"]]),
        ({"label": ["a", "", ""]}, [["label", "all"], ["a", "1"], ["IDs", "3"]]),
        ({"label": ["a;b", "a"]}, [["label", "all"], ["a", "2"], ["b", "1"], ["IDs", "2"]]),
        (
            {"label": ["a", "a", "b"], "split": ["train", "", ""]},
            [["label", "train", "(no split)"], ["a", "1", "1"], ["b", "0", "1"], ["IDs", "1", "2"]],
        ),
        ({"split": ["test", "train", "train"]}, [["label", "train", "test", "all"], ["IDs", "2", "1", "3"]]),
        ({"other": ["x", "y"]}, [["label", "all"], ["IDs", "2"]]),
        ({"label": ["a", "a", "a"], "split": ["all", "b", "b"]}, [["label", "all", "b"], ["a", "1", "2"], ["IDs", "1", "2"]]),
        ({"label": ["a"] * 1234}, [["label", "all"], ["a", "1,234"], ["IDs", "1,234"]]),
        ({"label": []}, [["label", "all"], ["IDs", "0"]]),
    ],
    ids=[
        "no splits",
        "some unlabelled",
        "several classes",
        "some without split",
        "no labels",
        "neither",
        "a split named all",
        "many",
        "empty",
    ],
)
def test_the_table(data: Path, columns: dict[str, list[str]], rows: list[list[str]]) -> None:
    table = shown(columns, data)
    assert table.rows == rows
    assert "array: not recorded" in table.text


@pytest.mark.parametrize("count", [SHOWN_CLASSES, SHOWN_CLASSES + 1, SHOWN_CLASSES + 1000])
def test_of_many_classes_the_first_are_shown(data: Path, count: int) -> None:
    table = shown({"label": [str(n) for n in range(count)]}, data)
    names = [row[0] for row in table.rows[1:-1]]
    more = [] if count == SHOWN_CLASSES else [f"... and {count - SHOWN_CLASSES:,} more classes"]
    assert names == [str(n) for n in range(SHOWN_CLASSES)] + more
    assert table.rows[-1] == ["IDs", f"{count:,}"]


HOSTILE = "<script>alert('x')</script>"


def test_hostile_names_are_text(data: Path) -> None:
    folder = data / "<b>&"
    folder.mkdir()
    table = shown({"label": [HOSTILE, "a & b", "&lt"], "split": ["<i>", "<i>", "train"]}, folder)
    assert table.tags == {"div", "b", "code", "br", "table", "thead", "tbody", "tr", "th", "td"}
    assert table.rows[0] == ["label", "train", "<i>"]
    assert [row[0] for row in table.rows[1:]] == ["&lt", HOSTILE, "a & b", "IDs"]
    assert f"Manifest {folder}: 3 IDs" in table.text


def test_a_filtered_manifest_shows_its_own_rows_and_all_classes(pets: Path) -> None:
    manifest: Manifest = load_manifest(pets).split("val")
    assert Table(manifest._repr_html_()).rows == [["label", "val"], ["bird", "1"], ["cat", "1"], ["dog", "0"], ["IDs", "2"]]


def test_every_label_column_is_shown_and_numbers_by_what_they_are_like(data: Path) -> None:
    specs = {"label": {"classes": ["a", "b"]}, "age": {"kind": "number"}}
    (data / "dataset.json").write_text(json.dumps({"schema_version": 1, "labels": specs}))
    columns = {"label": ["a", "b", "a"], "age": ["3", "1", ""], "split": ["train", "train", "val"]}
    assert shown(columns, data).rows == [
        ["label", "train", "val"],
        ["a", "1", "1"],
        ["b", "1", "0"],
        ["IDs", "2", "1"],
        ["age", "train", "val"],
        ["count", "2", "0"],
        ["mean", "2", "-"],
        ["std", "1", "-"],
        ["min", "1", "-"],
        ["max", "3", "-"],
        ["IDs", "2", "1"],
    ]

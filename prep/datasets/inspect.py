"""`inspect`: a dataset in numbers: rows by split and class, sizes, failures, statistics."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from manifests.describe.counts import class_counts_by_split, number_summaries_by_split
from manifests.errors import InvalidManifestError, Problem
from manifests.format.schema import FAILURES_NAME
from manifests.format.strict_csv import read_csv
from manifests.manifest import Manifest
from manifests.rows.named_arrays import array_rows
from manifests.rows.table import strings
from manifests.storage.store import load_manifest
from manifests.text import terminal_text
from prep.text import counted

_SHOWN_CLASSES = 40
_SHOWN_CHANNELS = 16


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a dataset holds.

    Attributes:
        path: the dataset's folder.
        ids: number of rows.
        splits: split -> rows.
        classes: of the primary label column: class -> split (or `all`) -> rows.
        labels: label column -> its `kind`, and its `column` in the table that it came from if that has another name; for classes
            also `classes`, as above; for numbers `numbers`: split (or `all`) -> figure (count, mean, std, min, max) -> its value,
            None where there is none.
        arrays: name of a further array -> `array`, what it has in common in all samples that have it, and `ids`, how many these are.
    """

    path: str
    ids: int
    splits: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]]
    array: str | None
    bytes: int
    missing: int
    failures: Mapping[str, int]
    statistics: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    arrays: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"dataset   {self.path}",
            f"IDs       {self.ids:,}",
            f"array     {self.array or 'not recorded'}",
            *(f"  {name:<7} {told['array'] or 'not recorded'}; {counted(told['ids'], 'ID')}" for name, told in self.arrays.items()),
            f"size      {self.bytes:,} bytes" + (f"; {counted(self.missing, 'shard')} missing" if self.missing else ""),
            f"splits    {_counts(self.splits)}",
            f"failures  {_counts(self.failures)}",
        ]
        lines += self._statistics_lines()
        if not any(told.get("classes") or told.get("numbers") for told in self.labels.values()):
            lines.append("classes   none")
        for column, told in self.labels.items():
            where = "" if len(self.labels) == 1 and column == "label" else f" of {told.get('column', column)!r}"
            lines += _number_lines(f"numbers{where}", told["numbers"]) if told["kind"] == "number" else _class_lines(where, told["classes"])
        return "\n".join(lines)

    def _statistics_lines(self) -> list[str]:
        """Return a line for each channel."""
        channels = self.statistics.get("channels", {})
        if not channels:
            return []
        names = ("mean", "std", "min", "max", "non_finite")
        lines = ["", f"{'channel':<8}" + "".join(f"{name:>14}" for name in names) + f"  of {terminal_text(str(self.statistics['over']))}"]
        for number, values in enumerate(zip(*(channels[name] for name in names), strict=True)):
            if number == _SHOWN_CHANNELS:
                return [*lines, f"... and {len(channels['mean']) - number:,} more channels"]
            name = "all" if self.statistics.get("axis") is None else str(number)
            lines.append(f"{name:<8}" + "".join(f"{'-' if value is None else format(value, '.6g'):>14}" for value in values))
        return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{terminal_text(name)} {count:,}" for name, count in counts.items()) or "none"


def _class_lines(where: str, classes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a table of the classes' counts by split."""
    if not classes:
        return []
    cells = {name: [f"{count:,}" for count in counts.values()] for name, counts in list(classes.items())[:_SHOWN_CLASSES]}
    hidden = len(classes) - _SHOWN_CLASSES
    more = [f"... and {hidden:,} more classes"] if hidden > 0 else []
    return [*_table_lines(f"classes{where}", list(next(iter(classes.values()))), cells), *more]


def _number_lines(heading: str, numbers: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Return a table of what the numbers are like by split."""
    figures = next(iter(numbers.values()))
    cells = {name: ["-" if each[name] is None else f"{each[name]:.6g}" for each in numbers.values()] for name in figures}
    return _table_lines(heading, list(numbers), cells | {"count": [f"{each['count']:,}" for each in numbers.values()]})


def _table_lines(heading: str, columns: Sequence[str], cells: Mapping[str, Sequence[str]]) -> list[str]:
    """Return an empty line and a table: a line for each name and its cells, one a column."""
    cells, columns = {terminal_text(name): row for name, row in cells.items()}, list(map(terminal_text, columns))
    width = max(map(len, [heading, *cells]))
    widths = [max(len(column), 7, *(len(row[number]) for row in cells.values())) for number, column in enumerate(columns)]
    rows = [(heading, columns), *cells.items()]
    return ["", *(f"{name:<{width}}  " + "  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for name, row in rows)]


def inspect_dataset(path: str | Path) -> Inspection:
    """Count what a dataset holds; files are looked at but not read.

    Raises:
        ManifestError: there is no sound manifest.
        OSError: a file cannot be read.
    """
    manifest = load_manifest(path)
    sizes = _shard_sizes(manifest)
    stages = _failure_stages(manifest.root / FAILURES_NAME)
    labels = {column: _told(manifest, column) for column in manifest.label_columns}
    return Inspection(
        path=os.fspath(manifest.root),
        ids=len(manifest),
        splits=manifest.split_counts(),
        classes=labels.get("label", {}).get("classes", {}),
        array=None if manifest.array is None else str(manifest.array),
        bytes=sum(size for size in sizes if size is not None),
        missing=sizes.count(None),
        failures=dict(sorted(stages.items())),
        statistics=manifest.metadata.statistics,
        labels=labels,
        arrays={
            name: {"array": None if spec is None else str(spec), "ids": int(manifest.has_array(name).sum())}
            for name, spec in manifest.arrays.items()
        },
    )


def _told(manifest: Manifest, column: str) -> dict[str, Any]:
    """Return what a label column holds, for JSON."""
    name = {} if manifest.label_name(column) == column else {"column": manifest.label_name(column)}
    if manifest.label_kind(column) == "class":
        by_split = class_counts_by_split(manifest.table, column, manifest.classes_of_column(column), manifest.splits)
        classes = manifest.classes_of_column(column)
        return {"kind": "class", **name, "classes": {name: {split: counts[name] for split, counts in by_split.items()} for name in classes}}
    numbers = number_summaries_by_split(manifest.table, column, manifest.splits)
    figures = {split: {name: None if math.isnan(value) else value for name, value in each.items()} for split, each in numbers.items()}
    return {"kind": "number", **name, "numbers": figures}


def _failure_stages(path: Path) -> Counter[str]:
    if not path.is_file():
        return Counter()
    frame = read_csv(path).frame
    if "stage" not in frame.columns:
        problem = Problem(kind="no-stage-column", column="stage", message="is missing; build again to rewrite the file, or remove it")
        raise InvalidManifestError(str(path), [problem])
    return Counter(frame["stage"])


def _shard_sizes(manifest: Manifest) -> list[int | None]:
    """Return each shard file's size, None where there is no file; a pack counts once."""
    sizes: list[int | None] = []
    further = (strings(array_rows(manifest.table, name)["path"]) for name in manifest.arrays)
    for path in dict.fromkeys(chain(manifest.paths, *further)):
        try:
            sizes.append(os.stat(manifest.root / path).st_size)
        except FileNotFoundError:
            sizes.append(None)
    return sizes

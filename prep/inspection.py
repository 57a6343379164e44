"""`inspect`: what a dataset holds, in numbers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from manifests.csvfile import read_csv
from manifests.errors import InvalidManifestError, Problem
from manifests.manifest import Manifest
from manifests.schema import FAILURES_NAME
from manifests.store import load_manifest
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
        classes: class -> split (or `all`) -> rows.
        array: shape and dtype that all samples have in common, as text; None if nothing says.
        bytes: of all shard files that are there.
        missing: shards that are not.
        failures: stage -> number of raw items that failed there.
        statistics: as in `dataset.json`; empty if it has none.
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

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"dataset   {self.path}",
            f"IDs       {self.ids:,}",
            f"array     {self.array or 'not recorded'}",
            f"size      {self.bytes:,} bytes" + (f"; {counted(self.missing, 'shard')} missing" if self.missing else ""),
            f"splits    {', '.join(f'{name} {count:,}' for name, count in self.splits.items()) or 'none'}",
            f"failures  {', '.join(f'{stage} {count:,}' for stage, count in self.failures.items()) or 'none'}",
        ]
        return "\n".join([*lines, *self._statistics_lines(), *self._class_lines()])

    def _statistics_lines(self) -> list[str]:
        """Return a line for each channel."""
        channels = self.statistics.get("channels", {})
        if not channels:
            return []
        names = ("mean", "std", "min", "max", "non_finite")
        lines = ["", f"{'channel':<8}" + "".join(f"{name:>14}" for name in names) + f"  of {self.statistics['over']}"]
        for number, values in enumerate(zip(*(channels[name] for name in names), strict=True)):
            if number == _SHOWN_CHANNELS:
                return [*lines, f"... and {len(channels['mean']) - number:,} more channels"]
            name = "all" if self.statistics.get("axis") is None else str(number)
            lines.append(f"{name:<8}" + "".join(f"{'-' if value is None else format(value, '.6g'):>14}" for value in values))
        return lines

    def _class_lines(self) -> list[str]:
        if not self.classes:
            return ["classes   none"]
        columns = list(next(iter(self.classes.values())))
        width = max(len("classes"), *map(len, list(self.classes)[:_SHOWN_CLASSES]))
        widths = [max(len(column), 7) for column in columns]
        lines = ["", f"{'classes':<{width}}  " + "  ".join(f"{column:>{w}}" for column, w in zip(columns, widths, strict=True))]
        for name, counts in list(self.classes.items())[:_SHOWN_CLASSES]:
            lines.append(f"{name:<{width}}  " + "  ".join(f"{counts[column]:>{w},}" for column, w in zip(columns, widths, strict=True)))
        hidden = len(self.classes) - _SHOWN_CLASSES
        return lines + ([f"... and {hidden:,} more classes"] if hidden > 0 else [])


def inspect_dataset(path: str | Path) -> Inspection:
    """Count what a dataset holds; files are looked at but not read.

    Raises:
        ManifestError: there is no sound manifest.
        OSError: a file cannot be read.
    """
    manifest = load_manifest(path)
    sizes = _shard_sizes(manifest)
    stages = _failure_stages(manifest.root / FAILURES_NAME)
    table = manifest.class_table()
    return Inspection(
        path=os.fspath(manifest.root),
        ids=len(manifest),
        splits=manifest.split_counts(),
        classes={str(name): {str(split): int(count) for split, count in row.items()} for name, row in table.iterrows()},
        array=None if manifest.array is None else str(manifest.array),
        bytes=sum(size for size in sizes if size is not None),
        missing=sizes.count(None),
        failures=dict(sorted(stages.items())),
        statistics=manifest.metadata.statistics,
    )


def _failure_stages(path: Path) -> Counter[str]:
    if not path.is_file():
        return Counter()
    frame = read_csv(path).frame
    if "stage" not in frame.columns:
        problem = Problem(kind="no-stage-column", column="stage", message="is missing; build again to write the file anew, or remove it")
        raise InvalidManifestError(str(path), [problem])
    return Counter(frame["stage"])


def _shard_sizes(manifest: Manifest) -> list[int | None]:
    """Return each shard file's size, None where there is no file; a pack counts once."""
    sizes: list[int | None] = []
    for path in dict.fromkeys(manifest.paths):
        try:
            sizes.append(os.stat(manifest.root / path).st_size)
        except FileNotFoundError:
            sizes.append(None)
    return sizes

"""What a build is asked to do, and what it takes from the dataset that is there where it is not told."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from manifests.format.schema import METADATA_NAME
from prep.build.recipe.recipe import ShardOptions
from prep.errors import OutputError, UsageError
from prep.readers.registry import readers_with_option, ready_options
from prep.sources.detect import SourceOptions
from prep.splits.spec import SplitSpec

REMEMBERED: Mapping[str, tuple[Literal["source", "shards", "splits"], str, Any]] = {
    "format": ("source", "format", None),
    "labels": ("source", "labels", None),
    "id-column": ("source", "id_column", None),
    "path-column": ("source", "path_column", None),
    "label": ("source", "label_columns", None),
    "label-from": ("source", "label_from", None),
    "allow-empty-labels": ("source", "allow_empty_labels", None),
    "checksum": ("source", "checksum", None),
    "size": ("shards", "size", None),
    "dtype": ("shards", "dtype", None),
    "scale": ("shards", "scale", None),
    **{name.replace("_", "-"): ("shards", name, None) for name in ready_options()},
    "transforms": ("shards", "transforms", None),
    "split": ("splits", "fractions", {}),
    "split-column": ("splits", "column", None),
    "split-from-folders": ("splits", "folders", ()),
    "group-by": ("splits", "group_by", None),
    "group-regex": ("splits", "group_regex", None),
    "folds": ("splits", "folds", None),
}
"""Options that a build repeats if they are left out: name -> what they are about, under which name it is stored, and the default."""


def stored_names(forget: Iterable[str]) -> set[str]:
    """Return under which names the options that are to be forgotten are stored."""
    return {REMEMBERED[name][1] if name in REMEMBERED else name.replace("-", "_") for name in forget}


def _defaults(part: Literal["source", "shards", "splits"], forget: Collection[str]) -> dict[str, Any]:
    """Return the defaults of the options of one part that are to be forgotten."""
    return {name: default for option, (of, name, default) in REMEMBERED.items() if of == part and option in forget}


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build; what is left out is taken from the dataset that is there, or else found out.

    Attributes:
        source: what the source is and which columns of a table mean what.
        shards: size, channels, dtype and range of the arrays.
        splits: splits, groups and folds.
        workers: processes; None takes one per processor, or fewer for few items; 1 works in this process.
        prune: drop rows whose raw item is gone, with their shards; else they stay.
        checksum: tell changed raw files by content, not by size and time; None does as the last build did, at first by size and time.
        item_timeout: seconds that one raw item may take before it counts as failed, also with one worker, which is a process of
            its own then; None is ten minutes in worker processes and no limit in this one; 0 is no limit.
        stop_after_failures: end the build when so many items have failed.
        whole: whether `shards` are a whole recipe, of which nothing is taken from the dataset that is there.
        only_failed: build what is in failures.csv and nothing else: every other row stays as it is, whatever became of its raw item,
            and what is new in the source stays out.
        allow_code: run the functions (`module:function`) that the recipe of the dataset there names, and remember for this user that it
            may. Functions that `shards` name are run in any case; else one is run only if this user has approved it for this dataset.
        forget: options of the last build, by their names in `REMEMBERED`, that are at their default unless they are given.
    """

    source: SourceOptions = field(default_factory=SourceOptions)
    shards: ShardOptions = field(default_factory=ShardOptions)
    splits: SplitSpec | None = None
    workers: int | None = None
    prune: bool = False
    checksum: bool | None = None
    item_timeout: float | None = None
    stop_after_failures: int | None = None
    whole: bool = False
    only_failed: bool = False
    allow_code: bool = False
    forget: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be a positive integer, got {self.workers}")
        if self.item_timeout is not None and not 0 <= self.item_timeout < threading.TIMEOUT_MAX:
            raise UsageError(f"item_timeout must be seconds, or 0 for no limit, got {self.item_timeout}")
        if self.stop_after_failures is not None and self.stop_after_failures < 1:
            raise UsageError(f"stop_after_failures must be a positive integer, got {self.stop_after_failures}")
        unknown = sorted(name for name in set(self.forget).difference(REMEMBERED) if not readers_with_option(name.replace("-", "_")))
        if unknown:
            raise UsageError(f"forget must name options of a build ({', '.join(REMEMBERED)}), got {', '.join(map(repr, unknown))}")
        if self.only_failed and (self.shards != ShardOptions() or self.splits is not None or self.prune or self.whole or self.forget):
            raise UsageError("only_failed leaves a dataset its recipe, splits and rows; leave out shards, splits, prune and whole")


def filled_splits(splits: SplitSpec | None, stored: Mapping[str, Any], forget: Collection[str] = ()) -> SplitSpec | None:
    """Return the spec with what it leaves out taken from what `dataset.json` says, but for what is to be forgotten.

    Raises:
        UsageError: that is no spec.
    """
    before = SplitSpec.from_dict(stored)
    if before is not None and forget:
        left = {field_.name: getattr(before, field_.name) for field_ in fields(SplitSpec)} | _defaults("splits", forget)
        before = SplitSpec(**left) if any(value for name, value in left.items() if name != "seed") else None
    return before if splits is None else splits.filled_from(before)


def stored_options(out: Path, stored: Mapping[str, Any], forget: Collection[str] = ()) -> ShardOptions:
    """Return the options of shards that a dataset was built with, but for what is to be forgotten.

    Args:
        out: the dataset's folder.
        stored: what its `dataset.json` says of the recipe.
        forget: names of options.

    Raises:
        OutputError: that is none that this release knows.
    """
    try:
        return ShardOptions.from_dict(dict(stored.get("options", {}))).without(stored_names(forget))
    except (UsageError, TypeError, ValueError) as error:
        path = out / METADATA_NAME
        raise OutputError(f"{path}: the recipe's options cannot be understood; mend it or choose another folder: {error}") from error

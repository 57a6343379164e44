"""What a build is asked to do, and what it takes from the dataset that is there where it is not told."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from manifests.errors import InvalidManifestError
from manifests.metadata import read_metadata
from manifests.schema import METADATA_NAME
from prep.errors import OutputError, UsageError
from prep.recipe import ShardOptions
from prep.sources.detect import SourceOptions
from prep.splits import SplitSpec


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build; what is left out is taken from the dataset that is there, or else found out.

    Attributes:
        source: what the source is and which columns of a table mean what.
        shards: size, channels, dtype and range of the arrays.
        splits: splits, groups and folds.
        workers: processes; None takes one per processor, or fewer for few items; 1 works in this process.
        prune: drop rows whose raw item is gone, with their shards; else they stay.
        checksum: tell changed raw files by content, not by size and time.
        item_timeout: seconds that one raw item may take before it counts as failed, also with one worker, which is a process of
            its own then; None is ten minutes in worker processes and no limit in this one; 0 is no limit.
        stop_after_failures: end the build when so many items have failed.
        whole: whether `shards` are a whole recipe, of which nothing is taken from the dataset that is there.
        only_failed: build what is in failures.csv and nothing else: every other row stays as it is, whatever became of its raw item,
            and what is new in the source stays out.
    """

    source: SourceOptions = field(default_factory=SourceOptions)
    shards: ShardOptions = field(default_factory=ShardOptions)
    splits: SplitSpec | None = None
    workers: int | None = None
    prune: bool = False
    checksum: bool = False
    item_timeout: float | None = None
    stop_after_failures: int | None = None
    whole: bool = False
    only_failed: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be a positive integer, got {self.workers}")
        if self.item_timeout is not None and not 0 <= self.item_timeout < threading.TIMEOUT_MAX:
            raise UsageError(f"item_timeout must be seconds, or 0 for no limit, got {self.item_timeout}")
        if self.stop_after_failures is not None and self.stop_after_failures < 1:
            raise UsageError(f"stop_after_failures must be a positive integer, got {self.stop_after_failures}")
        if self.only_failed and (self.shards != ShardOptions() or self.splits is not None or self.prune or self.whole):
            raise UsageError("only_failed leaves a dataset its recipe, splits and rows; leave out shards, splits, prune and whole")


def with_splits(options: BuildOptions, out: Path) -> BuildOptions:
    """Return the options with what the splits, remembered ones included, ask of the source.

    Raises:
        OutputError: what is remembered cannot be read.
    """
    try:
        stored = read_metadata(out / METADATA_NAME).splits
    except (FileNotFoundError, NotADirectoryError, InvalidManifestError):
        stored = {}  # none there; or `prepare` says what is wrong with it
    except OSError as error:
        raise OutputError(f"{out / METADATA_NAME}: cannot be read: {error.strerror or error}") from error
    splits = filled_splits(options.splits, stored)
    if splits is None:
        return options
    table = replace(options.source.table, other_columns=splits.columns)
    return replace(options, source=replace(options.source, table=table, split_folders=splits.folders))


def filled_splits(splits: SplitSpec | None, stored: Mapping[str, Any]) -> SplitSpec | None:
    """Return the spec with what it leaves out taken from what `dataset.json` says.

    Raises:
        UsageError: that is no spec.
    """
    before = SplitSpec.from_dict(stored)
    return before if splits is None else splits.filled_from(before)


def stored_options(out: Path, stored: Mapping[str, Any]) -> ShardOptions:
    """Return the options of shards that a dataset was built with.

    Args:
        out: the dataset's folder.
        stored: what its `dataset.json` says of the recipe.

    Raises:
        OutputError: that is none that this release knows.
    """
    try:
        return ShardOptions.from_dict(dict(stored.get("options", {})))
    except (UsageError, TypeError, ValueError) as error:
        path = out / METADATA_NAME
        raise OutputError(f"{path}: the recipe's options cannot be understood; mend it or choose another folder: {error}") from error

"""Raw data to a dataset: one `.npy` shard per ID, and a CSV manifest of IDs and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.lazy import lazy_names

if TYPE_CHECKING:
    from prep.adoption import AdoptOptions, adopt
    from prep.build import build_shards, plan_build
    from prep.comparison import Change, Difference
    from prep.conflicts import Conflict
    from prep.diffing import diff_datasets
    from prep.errors import ConflictError, ItemError, OutputError, PrepError, SourceError, StageError, StoppedError, UsageError, WorkerError
    from prep.inspection import Inspection, inspect_dataset
    from prep.merging import MergeSummary, merge_datasets
    from prep.options import BuildOptions
    from prep.prepare import Prepared
    from prep.recipe import ShardOptions
    from prep.records import Failure
    from prep.report import Reporter, SilentReporter, StderrReporter
    from prep.sources.detect import SourceOptions
    from prep.sources.table import TableOptions
    from prep.splits import SplitSpec, parse_splits
    from prep.summary import BuildSummary
    from prep.union import MergeOptions

__all__ = [
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

__getattr__ = lazy_names(
    "prep",
    {
        "AdoptOptions": "adoption",
        "BuildOptions": "prepare",
        "BuildSummary": "summary",
        "Change": "comparison",
        "Conflict": "conflicts",
        "ConflictError": "errors",
        "Difference": "comparison",
        "Failure": "records",
        "Inspection": "inspection",
        "ItemError": "errors",
        "MergeOptions": "union",
        "MergeSummary": "merging",
        "OutputError": "errors",
        "PrepError": "errors",
        "Prepared": "prepare",
        "Reporter": "report",
        "ShardOptions": "recipe",
        "SilentReporter": "report",
        "SourceError": "errors",
        "SourceOptions": "sources.detect",
        "SplitSpec": "splits",
        "StageError": "errors",
        "StderrReporter": "report",
        "StoppedError": "errors",
        "TableOptions": "sources.table",
        "UsageError": "errors",
        "WorkerError": "errors",
        "adopt": "adoption",
        "build_shards": "build",
        "diff_datasets": "diffing",
        "inspect_dataset": "inspection",
        "merge_datasets": "merging",
        "parse_splits": "splits",
        "plan_build": "build",
    },
)

# The public names: `__init__.py` imports each from its module when it is first used.

from .build.build import build_shards, plan_build
from .build.commit.summary import BuildSummary
from .build.plan.prepare import Prepared
from .build.recipe.options import BuildOptions
from .build.recipe.recipe import ShardOptions
from .datasets.adopt import AdoptOptions, adopt
from .datasets.diff.comparison import Change, Difference
from .datasets.diff.diff import diff_datasets
from .datasets.inspect import Inspection, inspect_dataset
from .datasets.merge.conflicts import Conflict
from .datasets.merge.merge import MergeSummary, merge_datasets
from .datasets.merge.union import MergeOptions
from .errors import ConflictError, ItemError, OutputError, PrepError, SourceError, StageError, StoppedError, UsageError, WorkerError
from .progress.report import Reporter, SilentReporter, StderrReporter
from .sources.detect import SourceOptions
from .sources.listing import Failure
from .sources.table_options import TableOptions
from .splits.spec import SplitSpec, parse_splits

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

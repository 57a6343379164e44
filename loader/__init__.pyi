# The public names: `__init__.py` imports each from its module when it is first used.

from .callbacks.keras_callbacks import FeedMonitor, ResumeCallback
from .doctor.stats import Stats
from .errors import (
    BatchIndexError,
    DatasetChangedError,
    LabelError,
    LoaderError,
    OptionError,
    ResumeError,
    SamplesError,
    ShardError,
    ShortageError,
    TransformError,
    WorkerError,
)
from .sequence import ManifestSequence

__all__ = [
    "BatchIndexError",
    "DatasetChangedError",
    "FeedMonitor",
    "LabelError",
    "LoaderError",
    "ManifestSequence",
    "OptionError",
    "ResumeCallback",
    "ResumeError",
    "SamplesError",
    "ShardError",
    "ShortageError",
    "Stats",
    "TransformError",
    "WorkerError",
]

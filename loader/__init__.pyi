# The public names: `__init__.py` imports each from its module when it is first used.

from .callbacks.keras_callbacks import FeedMonitor, ResumeCallback
from .doctor.stats import Stats
from .errors import (
    BatchIndexError,
    LabelError,
    LoaderError,
    OptionError,
    ResumeError,
    SamplesError,
    ShardError,
    TransformError,
    WorkerError,
)
from .sequence import ManifestSequence

__all__ = [
    "BatchIndexError",
    "FeedMonitor",
    "LabelError",
    "LoaderError",
    "ManifestSequence",
    "OptionError",
    "ResumeCallback",
    "ResumeError",
    "SamplesError",
    "ShardError",
    "Stats",
    "TransformError",
    "WorkerError",
]

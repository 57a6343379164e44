"""Feeding `model.fit` from a manifest of per-ID shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.lazy import lazy_names

if TYPE_CHECKING:
    from loader.callbacks import FeedMonitor, ResumeCallback
    from loader.errors import (
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
    from loader.sequence import ManifestSequence
    from loader.stats import Stats

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

__getattr__ = lazy_names(
    "loader",
    {
        "BatchIndexError": "errors",
        "FeedMonitor": "callbacks",
        "LabelError": "errors",
        "LoaderError": "errors",
        "ManifestSequence": "sequence",
        "OptionError": "errors",
        "ResumeCallback": "callbacks",
        "ResumeError": "errors",
        "SamplesError": "errors",
        "ShardError": "errors",
        "Stats": "stats",
        "TransformError": "errors",
        "WorkerError": "errors",
    },
)

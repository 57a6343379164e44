"""What a dataset is: one `.npy` shard per ID and a CSV manifest of IDs and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.lazy import lazy_names

if TYPE_CHECKING:
    from manifests.checking import Finding
    from manifests.errors import (
        ArrayFileError,
        InvalidManifestError,
        ManifestError,
        NoManifestError,
        Problem,
        UnfinishedCommitError,
        UnknownNameError,
    )
    from manifests.manifest import Manifest
    from manifests.metadata import ArraySpec, LabelSpec, Metadata
    from manifests.store import load_manifest, write_manifest
    from manifests.verification import verify

__all__ = [
    "ArrayFileError",
    "ArraySpec",
    "Finding",
    "InvalidManifestError",
    "LabelSpec",
    "Manifest",
    "ManifestError",
    "Metadata",
    "NoManifestError",
    "Problem",
    "UnfinishedCommitError",
    "UnknownNameError",
    "load_manifest",
    "verify",
    "write_manifest",
]

__getattr__ = lazy_names(
    "manifests",
    {
        "ArrayFileError": "errors",
        "ArraySpec": "metadata",
        "Finding": "checking",
        "InvalidManifestError": "errors",
        "LabelSpec": "metadata",
        "Manifest": "manifest",
        "ManifestError": "errors",
        "Metadata": "metadata",
        "NoManifestError": "errors",
        "Problem": "errors",
        "UnfinishedCommitError": "errors",
        "UnknownNameError": "errors",
        "load_manifest": "store",
        "verify": "verification",
        "write_manifest": "store",
    },
)

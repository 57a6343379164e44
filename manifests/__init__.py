"""What a dataset is: one `.npy` shard per ID and a CSV manifest of IDs and labels."""

from __future__ import annotations

from manifests.errors import ArrayFileError, InvalidManifestError, ManifestError, NoManifestError, Problem, UnknownNameError
from manifests.manifest import Manifest
from manifests.metadata import ArraySpec, LabelSpec, Metadata
from manifests.store import load_manifest, write_manifest
from manifests.verify import Finding, verify

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
    "UnknownNameError",
    "load_manifest",
    "verify",
    "write_manifest",
]

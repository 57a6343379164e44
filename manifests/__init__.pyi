# The public names: `__init__.py` imports each from its module when it is first used.

from .errors import (
    ArrayFileError,
    InvalidManifestError,
    ManifestError,
    NoManifestError,
    Problem,
    UnfinishedCommitError,
    UnknownNameError,
)
from .format.metadata import ArraySpec, LabelSpec, Metadata
from .manifest import Manifest
from .storage.store import load_manifest, write_manifest
from .verification.shard_checks import Finding
from .verification.verify import verify

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

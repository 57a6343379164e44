"""The output folder: is it ours to write, and what is there already."""

from __future__ import annotations

import os
from pathlib import Path

from manifests.errors import ManifestError
from manifests.format.names import ARRAY_FOLDER, SHARD_FOLDER
from manifests.format.schema import METADATA_NAME, STATE_FOLDER, array_column
from manifests.manifest import Manifest
from manifests.storage.commitlog import finish_if_begun
from manifests.storage.store import load_manifest
from prep.errors import OutputError, UsageError
from prep.text import shown

_OF_BUILDS = ("source", "shape", "dtype", "sha256")


def check_output(source_root: Path, out: Path) -> None:
    """Refuse an output folder that is not ours to write.

    Raises:
        UsageError: it is the source, lies in it or holds it, is a file, or holds files that are no dataset of prep's.
        UnfinishedCommitError: it was left amid a changeover that cannot be finished.
    """
    real_source, real_out = Path(os.path.realpath(source_root)), Path(os.path.realpath(out))
    if real_out == real_source:
        raise UsageError(f"{out}: is the source itself; choose another folder for the dataset")
    if real_source in real_out.parents:
        raise UsageError(
            f"{out}: lies in the source {source_root}; the next build would take its files for raw ones; choose a folder beside the source"
        )
    if real_out in real_source.parents:
        raise UsageError(f"{out}: holds the source {source_root}; choose a folder of its own for the dataset")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; expected a folder")
    finish_if_begun(out)
    if (out / METADATA_NAME).is_file():
        return
    foreign = entries(out)
    if foreign:
        raise UsageError(f"{out}: holds files that are no dataset of prep's ({shown(foreign, 3)}); choose an empty or new folder")


def _holds_files(folder: Path) -> bool:
    """Return whether anything but folders is below a folder."""
    return not folder.is_dir() or any(names for _, _, names in os.walk(folder))


def load_existing(out: Path) -> Manifest | None:
    """Return the dataset that is there, or None.

    Raises:
        UsageError: there is one, but no build made it.
        OutputError: there is one, but it cannot be read.
    """
    if not (out / METADATA_NAME).is_file():
        return None
    try:
        manifest = load_manifest(out)
    except (ManifestError, OSError) as error:
        raise OutputError(f"{out}: the dataset that is there cannot be read; mend it or choose another folder: {error}") from error
    recipe = manifest.metadata.recipe
    if not isinstance(recipe.get("recipe", {}), dict):
        raise OutputError(f"{out / METADATA_NAME}: recipe.recipe must be an object; mend it or choose another folder")
    if "fingerprint" not in manifest.columns or "digest" not in recipe:
        raise UsageError(f"{out}: holds a dataset that no build made (an adopted or merged one?); choose another folder")
    further = [array_column(name, field) for name in manifest.arrays for field in ("shape", "dtype", "sha256")]
    missing = [name for name in (*_OF_BUILDS, *further) if name not in manifest.columns]
    if missing:
        raise UsageError(f"{out}: its manifest lacks what builds go by (columns {shown(missing)}); restore them, or choose another folder")
    return manifest


def entries(out: Path) -> list[str]:
    """Return what a folder, if there is one, holds besides the state of builds and the empty folders that a killed command may leave."""
    names = sorted(entry.name for entry in out.iterdir() if entry.name != STATE_FOLDER) if out.is_dir() else []
    return [name for name in names if name not in {SHARD_FOLDER, ARRAY_FOLDER} or _holds_files(out / name)]

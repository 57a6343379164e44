"""The output folder: is it ours to write, and how a dataset changes over from the old state to the new."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from manifests.csvfile import write_csv
from manifests.errors import ManifestError
from manifests.manifest import Manifest
from manifests.metadata import Metadata, write_metadata
from manifests.names import SHARD_FOLDER, default_path
from manifests.schema import FAILURES_NAME, MANIFEST_NAME, METADATA_NAME, STATE_FOLDER
from manifests.store import load_manifest, write_manifest
from prep.errors import OutputError, UsageError
from prep.interrupts import held_off
from prep.lock import locked
from prep.records import Failure
from prep.text import shown

_STAGE_PREFIX = "stage-"


def check_output(source_root: Path, out: Path) -> None:
    """Refuse an output folder that is not ours to write.

    Raises:
        UsageError: it is the source, lies in it or holds it, is a file, or holds files that are no dataset of prep's.
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
    foreign = _entries(out) if out.is_dir() else []
    if foreign and not (out / METADATA_NAME).is_file():
        raise UsageError(f"{out}: holds files that are no dataset of prep's ({shown(foreign, 3)}); choose an empty or new folder")


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
    if "fingerprint" not in manifest.frame.columns or "digest" not in recipe:
        raise UsageError(f"{out}: holds a dataset that no build made (an adopted or merged one?); choose another folder")
    return manifest


@dataclass(frozen=True)
class Stage:
    """A folder in which a new state is laid out before it takes the old one's place.

    Attributes:
        out: the dataset's folder.
        folder: where new files are laid out, with the same names below it as below `out`.
    """

    out: Path
    folder: Path

    def commit(
        self, frame: pd.DataFrame, metadata: Metadata, failures: Sequence[Failure], new_ids: Sequence[str], old_ids: Sequence[str]
    ) -> None:
        """Let the new state take the old one's place.

        Whatever takes room on the disk is written before; then there are only renames, the manifest's last, and
        interrupts wait until they are through.

        Args:
            frame: the new manifest's rows.
            metadata: the new dataset.json.
            failures: for failures.csv, which goes if there are none.
            new_ids: IDs whose shards lie below `folder`.
            old_ids: IDs whose shards are to go.

        Raises:
            OutputError: the folder cannot be written.
        """
        try:
            write_manifest(frame, self.folder / MANIFEST_NAME)
            write_metadata(metadata, self.folder / METADATA_NAME)
            write_failures(failures, self.folder / FAILURES_NAME)
            for folder in sorted({os.path.dirname(default_path(id_)) for id_ in new_ids}):
                (self.out / folder).mkdir(parents=True, exist_ok=True)
            os.sync()
            with held_off():
                for id_ in new_ids:
                    os.replace(self.folder / default_path(id_), self.out / default_path(id_))
                os.replace(self.folder / METADATA_NAME, self.out / METADATA_NAME)
                if failures:
                    os.replace(self.folder / FAILURES_NAME, self.out / FAILURES_NAME)
                else:
                    (self.out / FAILURES_NAME).unlink(missing_ok=True)
                os.replace(self.folder / MANIFEST_NAME, self.out / MANIFEST_NAME)
                for id_ in old_ids:
                    _remove_shard(self.out, id_)
        except OSError as error:
            raise OutputError(f"{error.filename or self.out}: cannot be written: {error.strerror or error}") from error


@contextmanager
def staged(out: Path) -> Iterator[Stage]:
    """Give a stage below the dataset's folder, locked against other builds; nothing of it is left when the block ends.

    Raises:
        OutputError: the folder cannot be written, or another build holds it.
    """
    state = out / STATE_FOLDER
    made = [folder for folder in (state, out, *out.parents) if not folder.exists()]
    stage = Stage(out, state / f"{_STAGE_PREFIX}{secrets.token_hex(4)}")
    with ExitStack() as stack:
        try:
            stack.callback(_remove_empty_ones, made)
            state.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(state))
            if not _entries(out):
                stack.callback(_leave_nothing_of_a_first_build, out)
            for leftover in state.glob(f"{_STAGE_PREFIX}*"):  # of a build that was killed: the lock says it is dead
                shutil.rmtree(leftover)
            stage.folder.mkdir()
            stack.callback(shutil.rmtree, stage.folder, ignore_errors=True)
        except OSError as error:
            raise OutputError(f"{error.filename or out}: cannot be written: {error.strerror or error}") from error
        yield stage


def _remove_empty_ones(folders: Sequence[Path]) -> None:
    for folder in folders:
        _remove_if_empty(folder)


def _leave_nothing_of_a_first_build(out: Path) -> None:
    """Remove what was made in a folder in which nothing was, if no dataset came of it."""
    if not (out / MANIFEST_NAME).exists():
        for name in (SHARD_FOLDER, STATE_FOLDER):
            shutil.rmtree(out / name, ignore_errors=True)
        for name in (METADATA_NAME, FAILURES_NAME):
            (out / name).unlink(missing_ok=True)


def write_failures(failures: Sequence[Failure], path: Path) -> None:
    """Write failures.csv, sorted by source.

    Raises:
        OSError: the file cannot be written.
    """
    rows = sorted((failure.id, failure.source, failure.stage, failure.error) for failure in failures)
    write_csv(pd.DataFrame(rows, columns=["id", "source", "stage", "error"], dtype=str), path)


def _entries(out: Path) -> list[str]:
    """Return what a folder holds besides the state of builds, by name."""
    return sorted(entry.name for entry in out.iterdir() if entry.name != STATE_FOLDER)


def _remove_shard(out: Path, id_: str) -> None:
    """Delete a shard and the folders that it leaves empty."""
    path = out / default_path(id_)
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == out / SHARD_FOLDER or not _remove_if_empty(folder):
            return


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True

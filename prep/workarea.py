"""Where a build lays out the new state of a dataset: below its folder, locked, and kept when the build ends early."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.atomic import TEMPORARY_PREFIX
from manifests.changeover import Failures
from manifests.commitlog import RECORD, STAGE_FOLDER, begin_changeover, finish_changeover
from manifests.joining import Finder
from manifests.linecopy import OldRows
from manifests.metadata import Metadata, write_metadata
from manifests.names import SHARD_FOLDER
from manifests.schema import FAILURES_NAME, MANIFEST_NAME, METADATA_NAME, STATE_FOLDER
from manifests.store import write_manifest, write_table
from manifests.strings import Names
from manifests.table import Table
from prep.errors import OutputError, UsageError
from prep.interrupts import KEPT, held_off
from prep.lock import locked
from prep.output import entries, write_failures
from prep.parts import PART_FOLDER, Due, count_done, read_parts, settle_parts
from prep.records import Failure
from prep.text import counted, shown
from prep.written import Collected, Written

if TYPE_CHECKING:
    import pandas as pd


_BLOCK = 65_536


@dataclass(frozen=True)
class WorkArea:
    """A folder in which a new state is laid out before it takes the old one's place.

    Attributes:
        out: the dataset's folder.
        folder: where new files are laid out, with the same names below it as below `out`.
        was_left: whether an earlier build ended before its end: interrupted, killed, or brought down by an item.
    """

    out: Path
    folder: Path
    was_left: bool = False

    def done_before(self, due: Due, note: Callable[[str], object] = lambda _: None, *, spares_others: bool = False) -> Collected:
        """Return what an earlier build, which was ended, has done of this one; all else that it left goes.

        Args:
            due: what is to be built.
            note: is told what is there but cannot be used.
            spares_others: refuse to let go what an earlier build has done of other items.

        Raises:
            OutputError: the folder cannot be written.
            UsageError: an earlier build has done other items, which are to be spared.
        """
        try:
            for name in (SHARD_FOLDER, PART_FOLDER):
                _remove_link(self.folder / name)
            found = read_parts(self.folder, due)
            if spares_others and found.kept:
                raise UsageError(
                    f"{self.out}: a build that was ended has left finished items, which this would let go; run build-shards again first: "
                    "it goes on from them, and tries again what failed"
                )
            done = settle_parts(self.folder, found)
            _clear_but(
                self.folder / SHARD_FOLDER, SHARD_FOLDER, Finder(Written.joined(done).ids(due.ids).affixed(f"{SHARD_FOLDER}/", ".npy"))
            )
        except OSError as error:
            raise _unwritable(error, self.out) from error
        if found.damaged:
            names = shown([path.name for path in found.damaged])
            note(f"left aside: {counted(len(found.damaged), 'part')} of an earlier build that cannot be trusted: {names}")
        return Collected(done)

    def commit(
        self,
        rows: pd.DataFrame | Table,
        metadata: Metadata,
        failures: Sequence[Failure] | None,
        new_ids: Names,
        old_ids: Names,
        *,
        before: OldRows | None = None,
    ) -> str:
        """Let the new state take the old one's place; interrupts wait until it has.

        Args:
            rows: of the new manifest; those of a table stand in the order of their IDs.
            metadata: the new dataset.json.
            failures: for failures.csv, which goes if there are none, and stays as it is with None.
            new_ids: IDs whose shards lie below `folder`.
            old_ids: IDs whose shards are to go.
            before: the old manifest, if many rows of it stay as they are.

        Returns:
            SHA-256 of the new manifest, in hex.

        Raises:
            OutputError: the folder cannot be written. The old state holds, unless the message says that the new one does.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if isinstance(rows, Table):
                write_table(rows, self.folder / MANIFEST_NAME, before)
            else:
                write_manifest(rows, self.folder / MANIFEST_NAME)
            write_metadata(metadata, self.folder / METADATA_NAME)
            if failures:
                write_failures(failures, self.folder / FAILURES_NAME)
            else:
                (self.folder / FAILURES_NAME).unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(error, self.out) from error
        change: Failures = "kept" if failures is None else "new" if failures else "none"
        with held_off():
            try:
                begun = begin_changeover(self.out, added=new_ids, removed=old_ids, failures=change)
            except OSError as error:
                # The record may have its name already, and then it is what everybody goes by.
                raise (_unfinished if os.path.lexists(self.out / RECORD) else _unwritable)(error, self.out) from error
            try:
                finish_changeover(self.out, begun)
            except OSError as error:
                raise _unfinished(error, self.out) from error
        return begun.manifest


@contextmanager
def work_area(out: Path, *, keeps_parts: bool = True) -> Iterator[WorkArea]:
    """Give a dataset's work area, locked against others.

    What an earlier process began to put in place is finished first. When the block ends by an error, finished chunks stay for
    the next build to go on from; all else goes, and of a folder that was made for nothing, the folder too.

    Args:
        out: the dataset's folder; made if need be.
        keeps_parts: whether a later run can go on from parts.

    Raises:
        OutputError: the folder cannot be written, or another command holds it.
    """
    state = out / STATE_FOLDER
    area = WorkArea(out, out / STAGE_FOLDER)
    made = [folder for folder in (state, out, *out.parents) if not folder.exists()]
    with ExitStack() as stack:
        stack.callback(_remove_empty_ones, made)
        is_ours = False
        try:
            state.mkdir(parents=True, exist_ok=True)
            if state.is_symlink():
                raise OutputError(f"{state}: is a link; what a build lays out must be on the dataset's own disk; remove the link")
            stack.enter_context(locked(state))
            is_ours = True
            finish_changeover(out)
            for leftover in state.glob(f"{TEMPORARY_PREFIX}*"):  # of a command that was killed while it noted something
                leftover.unlink(missing_ok=True)
            _remove_link(area.folder)
            if keeps_parts:
                area = replace(area, was_left=area.folder.exists())
                area.folder.mkdir(exist_ok=True)  # before anything is read: whatever that does to this process, the next one sees it
            else:
                shutil.rmtree(area.folder, ignore_errors=True)
        except OSError as error:
            if is_ours:  # else it may be another command's, at work
                _tidy(area)
            raise _unwritable(error, out) from error
        try:
            yield area
        except BaseException as error:
            if done := _tidy(area, keeps_parts=keeps_parts):
                error.add_note(f"{counted(done, 'finished item')} {KEPT}")
            raise
        shutil.rmtree(area.folder, ignore_errors=True)


def _tidy(area: WorkArea, *, keeps_parts: bool = True) -> int:
    """Remove what the next build has no use for; return how many items it need not build again."""
    state = area.out / STATE_FOLDER
    if (area.out / RECORD).exists():  # the changeover has begun, and what it needs lies in the stage
        return 0
    if keeps_parts and (done := count_done(area.folder)):
        for name in (MANIFEST_NAME, METADATA_NAME, FAILURES_NAME):
            (area.folder / name).unlink(missing_ok=True)
        return done
    shutil.rmtree(area.folder, ignore_errors=True)
    if not entries(area.out):
        shutil.rmtree(state, ignore_errors=True)
    return 0


def _clear_but(folder: Path, name: str, wanted: Finder) -> None:
    """Remove all files below a folder but the wanted ones, and the folders that are then empty, in whose place a shard may have to lie.

    Nothing outside is touched through a link.
    """
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries_:
        while block := list(islice(entries_, _BLOCK)):
            is_wanted = wanted.positions([os.fsencode(f"{name}/{entry.name}") for entry in block]) >= 0
            for entry, stays in zip(block, is_wanted.tolist(), strict=True):
                if entry.is_dir(follow_symlinks=False):
                    _clear_but(Path(entry.path), f"{name}/{entry.name}", wanted)
                    _remove_empty_ones([Path(entry.path)])
                elif not stays:
                    os.unlink(entry.path)


def _remove_link(path: Path) -> None:
    """Remove a link in the place of a folder of ours: what lies behind it is somebody else's."""
    if path.is_symlink():
        path.unlink()


def _unwritable(error: OSError, out: Path) -> OutputError:
    return OutputError(f"{error.filename or out}: cannot be written: {error.strerror or error}")


def _unfinished(error: OSError, out: Path) -> OutputError:
    return OutputError(f"{_unwritable(error, out)}; the new state is complete all the same, and the next prep command puts it in place")


def _remove_empty_ones(folders: Sequence[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            continue

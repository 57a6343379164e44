"""Where a build lays out the new state of a dataset: below its folder, locked, and kept when the build ends early."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.files.atomic import TEMPORARY_PREFIX
from manifests.files.lock import locked as lock
from manifests.format.metadata import Metadata, write_metadata
from manifests.format.names import SHARD_FOLDER
from manifests.format.schema import FAILURES_NAME, MANIFEST_NAME, METADATA_NAME, STATE_FOLDER
from manifests.storage.commit_record import Failures, Replaced
from manifests.storage.commitlog import RECORD, STAGE_FOLDER, begin_changeover, check_folders, finish_changeover
from manifests.storage.store import write_manifest
from prep.build.execute.journal import Collected, due_rows, read_parts
from prep.build.stage.failures_csv import write_failures
from prep.build.stage.leftovers import keep_parts, new_stage, remove_links, take_over, withdrawn
from prep.build.stage.output import entries
from prep.errors import OutputError, UsageError
from prep.parallel.interrupts import KEPT, held_off
from prep.parallel.run_flag import RunFlag
from prep.sources.listing import Failure
from prep.text import counted, shown

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class WorkArea:
    """A folder in which a new state is laid out before it takes the old one's place.

    Attributes:
        out: the dataset's folder.
        folder: where new files are laid out, with the same names below it as below `out`; no other build has one of this name.
        left: the stages of earlier builds that ended before their end: interrupted, killed, or brought down by an item.
    """

    out: Path
    folder: Path
    left: tuple[Path, ...] = ()

    def put_up_flag(self) -> RunFlag:
        """Let workers that are not our own know that the build goes on.

        Raises:
            OutputError: the folder cannot be written.
        """
        try:
            return RunFlag.put_up(self.folder)
        except OSError as error:
            raise _unwritable(error, self.out) from error

    def done_before(self, due: pa.Table, note: Callable[[str], object] = lambda _: None, *, spares_others: bool = False) -> Collected:
        """Return what an earlier build, which was ended, has done of this one; all else that it left goes.

        Args:
            due: items that are to be built, with `id` and `fingerprint`.
            note: is told what is there but cannot be used.
            spares_others: refuse to let go what an earlier build has done of other items.

        Raises:
            OutputError: the folder cannot be written, or shards of the items would lie outside it, behind a link.
            UsageError: an earlier build has done other items, which are to be spared.
        """
        is_done = np.zeros(len(due), dtype=np.bool_)
        collected, damaged = Collected(), list[Path]()
        try:
            check_folders(self.out, {SHARD_FOLDER: [due["id"]]})
            for left in self.left:
                remove_links(left)
            if spares_others and not all(are_all for _, _, are_all in self._left_rows(due, is_done.copy(), [])):
                raise UsageError(
                    f"{self.out}: a build that was ended has left finished items, which this would let go; run build-shards again first: "
                    "it goes on from them, and tries again what failed"
                )
            for left, rows, _ in self._left_rows(due, is_done, damaged):
                if len(rows):
                    collected.add(take_over(left, self.folder, rows))
            for left in self.left:
                shutil.rmtree(left, ignore_errors=True)
        except OSError as error:
            raise _unwritable(error, self.out) from error
        if damaged:
            names = shown([path.name for path in damaged])
            note(f"left aside: {counted(len(damaged), 'part')} of an earlier build that cannot be trusted: {names}")
        return collected

    def _left_rows(self, due: pa.Table, is_done: npt.NDArray[np.bool_], damaged: list[Path]) -> Iterator[tuple[Path, pa.Table, bool]]:
        """Yield each stage with rows of its journal that hold for what is due, some thousands at a time, and whether all of these do."""
        for left in self.left:
            for part in read_parts(left, damaged):
                yield left, *due_rows(left, part, due, is_done)

    def commit(
        self,
        rows: pd.DataFrame | pa.Table,
        metadata: Metadata,
        failures: Sequence[Failure] | None,
        new_ids: pa.ChunkedArray | Sequence[str],
        old_ids: pa.ChunkedArray | Sequence[str],
        *,
        arrays: Mapping[str, Replaced] = MappingProxyType({}),
    ) -> str:
        """Let the new state take the old one's place; interrupts wait until it has.

        Args:
            rows: of the new manifest.
            metadata: the new dataset.json.
            failures: for failures.csv, which goes if there are none, and stays as it is with None.
            new_ids: IDs whose shards lie below `folder`.
            old_ids: IDs whose shards are to go.
            arrays: name of a further array -> the IDs whose files of it lie below `folder`, and those whose files are to go.

        Returns:
            SHA-256 of the new manifest, in hex.

        Raises:
            OutputError: the folder cannot be written. The old state holds, unless the message says that the new one does.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
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
                shutil.rmtree(self.out / STAGE_FOLDER, ignore_errors=True)
                os.rename(self.folder, self.out / STAGE_FOLDER)
                begun = begin_changeover(self.out, added=new_ids, removed=old_ids, failures=change, arrays=arrays)
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
    area = WorkArea(out, new_stage(out))
    made = [folder for folder in (state, out, *out.parents) if not folder.exists()]
    with ExitStack() as stack:
        stack.callback(_remove_empty_ones, made)
        is_ours = False
        try:
            if state.is_symlink():
                raise OutputError(f"{state}: is a link; what a build lays out must be on the dataset's own disk; remove the link")
            state.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(state))
            is_ours = True
            finish_changeover(out)
            for leftover in state.glob(f"{TEMPORARY_PREFIX}*"):  # of a command that was killed while it noted something
                leftover.unlink(missing_ok=True)
            left = withdrawn(out)
            if not keeps_parts:
                for stage in left:
                    shutil.rmtree(stage, ignore_errors=True)
                left = []
            area = WorkArea(out, area.folder, tuple(left))
            area.folder.mkdir()  # before anything is read: whatever that does to this process, the next one sees it
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
        for stage in (area.folder, *area.left):  # by name: a folder that cannot be listed now is no reason to fail
            shutil.rmtree(stage, ignore_errors=True)


def _tidy(area: WorkArea, *, keeps_parts: bool = True) -> int:
    """Remove what the next build has no use for; return how many items it need not build again."""
    state = area.out / STATE_FOLDER
    if (area.out / RECORD).exists():  # the changeover has begun, and what it needs lies in the stage
        return 0
    try:
        left = withdrawn(area.out)
    except OSError:  # what ended the build is told, not that
        left = [area.folder, *area.left]
    done = sum(keep_parts(stage) if keeps_parts else 0 for stage in left)
    if not done:
        for stage in left:
            shutil.rmtree(stage, ignore_errors=True)
        if not entries(area.out):
            shutil.rmtree(state, ignore_errors=True)
    return done


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


@contextmanager
def locked(state_folder: Path) -> Iterator[None]:
    """Hold the lock of a dataset while the block runs; the kernel frees it when the process ends, however it ends.

    Raises:
        OutputError: another process holds it.
        OSError: the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(state_folder))
        except BlockingIOError as error:
            raise OutputError(f"{state_folder.parent}: another prep command is writing this dataset; wait for it to end") from error
        yield

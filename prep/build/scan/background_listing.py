"""A look at the shards that are there, by a copy of this process, while this one lists the source.

Asking for the size of each file is most of what a build does that has little to do, and it asks for as many shards as raw files:
two processors do it in half the time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.format.schema import MANIFEST_NAME
from manifests.manifest import Manifest
from manifests.storage.commitlog import RECORD
from prep.build.scan.existing_shards import Damages, Look, damage_of
from prep.build.stage.output import load_existing
from prep.parallel.executors import default_workers
from prep.parallel.fork import begin_copy, can_be_copied, copying, end_with, interrupts_blocked
from prep.parallel.interrupts import held_off

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_FROM_BYTES = 1 << 22
"""Of the manifest: some 20,000 rows, at which a copy takes less time than it saves."""


@contextmanager
def looking_ahead(out: Path) -> Iterator[Look]:
    """Begin to look at a dataset's shards beside what the block does, if it is worth a process and one can be had.

    Args:
        out: the dataset's folder, be there a dataset or not; its lock need not be held yet.

    Yields:
        What to call in the place of `damage_of`, once, with the lock held.
    """
    if not _is_worth_a_process(out):
        yield damage_of
        return
    context = get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    copy = context.Process(target=_look, args=(out, os.getpid(), reader, writer), daemon=True)
    try:
        with held_off(note=None), copying(), interrupts_blocked():
            copy.start()
    except OSError:  # no more memory or processes are to be had; who cannot do without will say so
        reader.close()
        yield damage_of
        return
    finally:
        writer.close()
    try:
        yield lambda manifest: _answer(reader, manifest)
    finally:
        copy.kill()
        copy.join()
        reader.close()


def _is_worth_a_process(out: Path) -> bool:
    try:
        big = os.stat(out / MANIFEST_NAME).st_size >= _FROM_BYTES
    except OSError:
        return False
    return big and not os.path.lexists(out / RECORD) and default_workers() > 1 and can_be_copied()


def _look(out: Path, parent: int, reader: Connection, writer: Connection) -> None:
    """Run in the copy: send what the look is about and what it found, or nothing."""
    begin_copy()
    end_with(parent)
    reader.close()  # so that a parent that was killed is nobody to send to
    try:
        stamp = _stamp(out)
        manifest = load_existing(out)
        if manifest is not None:
            writer.send((stamp, damage_of(manifest)))
    except Exception:  # noqa: BLE001  # whatever it is, the parent meets it as well, and says so
        return


def _answer(reader: Connection, manifest: Manifest) -> Damages:
    """Return what the copy found, if it looked at this state of the dataset; else look now."""
    try:
        stamp, found = reader.recv()
    except (EOFError, OSError):
        return damage_of(manifest)
    is_of_this = stamp == _stamp(manifest.root) and len(found) == len(manifest)
    return found if is_of_this else damage_of(manifest)


def _stamp(root: Path) -> tuple[int, int, int]:
    """Return what tells a manifest from the one before: a changeover ends with a new file."""
    status = os.stat(root / MANIFEST_NAME)
    return status.st_ino, status.st_size, status.st_mtime_ns

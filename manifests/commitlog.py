"""How a dataset changes over from one state to the next, so that a crash at any instruction leaves one of the two.

Everything new lies below `.prep/build` and is on the disk before the record of what is to be done is written, at once, by a
rename. From then on the new state holds: whoever touches the dataset next does what the record says, as often as it takes, and
then removes it. Before then the old state holds, and nothing of it was touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from manifests.atomic import sync_folder
from manifests.changeover import BLOCK, Changeover, Failures, blocks_of, read_record, write_record
from manifests.columns import ColumnBuilder
from manifests.durable import sync_below
from manifests.errors import UnfinishedCommitError
from manifests.lock import locked
from manifests.names import SHARD_FOLDER, collisions, default_path, file_and_folder_clashes, resolve_inside
from manifests.schema import FAILURES_NAME, MANIFEST_NAME, METADATA_NAME, STATE_FOLDER
from manifests.strings import Names, PackedStrings

STAGE_FOLDER = f"{STATE_FOLDER}/build"
"""Where a new state is laid out, with the same names below it as below the dataset's folder."""

RECORD = f"{STAGE_FOLDER}/commit.json"

_PATIENCE_SECONDS = 60.0
"""How long a reader waits for a build that is amid its changeover."""


def begin_changeover(root: Path, *, added: Names, removed: Names, failures: Failures) -> Changeover:
    """Make the state that lies in the stage the one that holds; `finish_changeover` does the rest.

    Args:
        root: the dataset's folder, whose lock the caller holds.
        added: IDs whose shards lie in the stage, beside the new manifest, dataset.json and perhaps failures.csv.
        removed: IDs whose shards go.
        failures: what becomes of failures.csv.

    Returns:
        What is to be done.

    Raises:
        OSError: the disk is full or fails, or the folder cannot be written; the old state holds.
    """
    stage = root / STAGE_FOLDER
    names = [MANIFEST_NAME, METADATA_NAME, FAILURES_NAME]
    for folder in _folders_of(added):
        # One in whose place a shard lies that goes comes later.
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            (root / folder).mkdir(parents=True, exist_ok=True)
    files = (stage / name for name in itertools.chain(names, map(default_path, added)))
    sync_below(stage, (file for file in files if file.exists()))
    change = Changeover(
        manifest=_digest(stage / MANIFEST_NAME),
        added=added,
        removed=removed,
        failures=failures,
    )
    write_record(change, root / RECORD)
    return change


def finish_if_begun(root: Path) -> None:
    """Finish what a process that was killed amid its changeover has begun; a dataset at rest costs one look.

    Raises:
        UnfinishedCommitError: it cannot be finished from here.
    """
    record = root / RECORD
    if not os.path.lexists(record):
        return
    try:
        with locked(root / STATE_FOLDER, patience=_PATIENCE_SECONDS):
            finish_changeover(root)
    except BlockingIOError as error:
        raise UnfinishedCommitError(f"{root}: another prep command is putting its result in place; wait for it to end") from error
    except OSError as error:
        raise UnfinishedCommitError(
            f"{root}: a prep command was ended while it put its result in place, and this process cannot finish it "
            f"({error.filename or record}: {error.strerror or error}); run `prep verify` on it where it can be written"
        ) from error


def finish_changeover(root: Path, begun: Changeover | None = None) -> None:
    """Do what the record says, if there is one, and remove it; to be called by who holds the lock.

    Args:
        root: the dataset's folder.
        begun: what the record says, if this process has written it: of millions of shards, reading it takes gigabytes.

    Raises:
        UnfinishedCommitError: the record or the stage is damaged.
        OSError: the folder cannot be written.
    """
    record = root / RECORD
    if not os.path.lexists(record):
        return
    change = read_record(record) if begun is None else begun
    _check_stage(root, change)
    first, last = _order_of_removal(root, change)
    _remove(root, first)
    _take_shards(root, change.added)
    if change.failures == "new":
        _take(root, FAILURES_NAME)
    elif change.failures == "none":
        (root / FAILURES_NAME).unlink(missing_ok=True)
    _take(root, METADATA_NAME)
    _take(root, MANIFEST_NAME)
    _remove(root, last)
    files = (root / name for name in itertools.chain((MANIFEST_NAME, METADATA_NAME, FAILURES_NAME), map(default_path, change.added)))
    emptied = {(root / default_path(id_)).parent for id_ in change.removed}
    sync_below(root, (file for file in files if file.exists()), emptied)
    record.unlink()
    with contextlib.suppress(OSError):  # a record that comes back has nothing left to do
        sync_folder(record.parent)
    shutil.rmtree(root / STAGE_FOLDER, ignore_errors=True)


def _take(root: Path, path: str) -> None:
    """Let a file of the stage take its place; it may have done so before."""
    source, target = f"{root}/{STAGE_FOLDER}/{path}", f"{root}/{path}"
    try:
        os.replace(source, target)
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.exists(source):
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(source, target)


def _take_shards(root: Path, ids: Names) -> None:
    """Let shards of the stage take their places; some may have done so before.

    A folder that is new as a whole moves as a whole, be it of millions.
    """
    for folder, own in _by_folder(ids):
        source, target = f"{root}/{STAGE_FOLDER}/{folder}", f"{root}/{folder}"
        if not os.path.isdir(source):
            continue
        if _is_empty_folder(target, like=source) and _holds_only(source, own):
            os.rename(source, target)
            continue
        for name in own:
            _take(root, f"{folder}/{name}")


def _folders_of(*ids: Iterable[str]) -> list[str]:
    """Return the folders of these IDs' shards, each once, sorted."""
    heads = {id_.rpartition("/")[0] for id_ in itertools.chain(*ids)}
    return sorted(f"{SHARD_FOLDER}/{head}" if head else SHARD_FOLDER for head in heads)


def _by_folder(ids: Names) -> Iterator[tuple[str, PackedStrings]]:
    """Yield each folder of these IDs' shards, with the names of those in it."""
    folders, names = ColumnBuilder(few=None), ColumnBuilder(few=0)
    for block in blocks_of(ids):
        parts = [default_path(id_).rpartition("/") for id_ in block]
        folders.add([folder for folder, _, _ in parts])
        names.add([name for _, _, name in parts])
    coded, packed = folders.coded(), names.strings()
    order = np.argsort(coded.codes, kind="stable")
    behind = np.cumsum(coded.counts()).tolist()
    for folder, start, stop in zip(coded.distinct, [0, *behind], behind, strict=False):
        yield folder, packed.select(order[start:stop])


def _holds_only(folder: str, names: PackedStrings) -> bool:
    """Return whether these names, which are distinct, are all that is in a folder."""
    found = ColumnBuilder(few=0)
    try:
        with os.scandir(folder) as entries:
            while block := [entry.name for entry in itertools.islice(entries, BLOCK)]:
                found.add(block)
    except UnicodeEncodeError:  # a name that is no UTF-8 is none of ours
        return False
    there = found.strings()
    if len(there) != len(names):
        return False
    pairs = zip(there.select(there.order()), names.select(names.order()), strict=True)
    return all(one == other for one, other in pairs)


def _is_empty_folder(path: str, *, like: str) -> bool:
    """Return whether there is a folder without anything in it that another can take the place of: no link, and with the same rights."""
    try:
        ours, theirs = os.lstat(path), os.stat(like)
        rights = [(status.st_mode, status.st_uid, status.st_gid) for status in (ours, theirs)]
        if rights[0] != rights[1]:
            return False
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except (FileNotFoundError, NotADirectoryError):
        return False


def _remove(root: Path, ids: Iterable[str]) -> None:
    """Delete shards and the folders that they leave empty."""
    for id_ in ids:
        path = root / default_path(id_)
        if path.is_dir() and not path.is_symlink():  # the folder of new shards, which came when this was done the first time
            continue
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        for folder in path.parents:
            if folder == root / SHARD_FOLDER or not _remove_if_empty(folder):
                break


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _order_of_removal(root: Path, change: Changeover) -> tuple[list[str], list[str]]:
    """Return what is removed before the new shards come, since it is in their way, and what is removed in the end.

    Where `Cat` makes room for `cat`, a disk that takes both for one has the new shard under the old name once it has come: what was
    in the way of a shard that has left the stage is gone already.
    """
    if not change.removed:
        return [], []
    paths = [default_path(id_) for id_ in (*change.added, *change.removed)]
    n = len(change.added)
    pairs = itertools.chain(file_and_folder_clashes(paths), collisions(paths))
    makes_room = [(max(pair) - n, min(pair)) for pair in pairs if min(pair) < n <= max(pair)]
    in_the_way = {old for old, _ in makes_room}
    still = {old for old, new in makes_room if (root / STAGE_FOLDER / paths[new]).exists()}
    first = [id_ for position, id_ in enumerate(change.removed) if position in still]
    return first, [id_ for position, id_ in enumerate(change.removed) if position not in in_the_way]


def _check_stage(root: Path, change: Changeover) -> None:
    """Refuse to begin with what does not lead to the new state.

    Raises:
        UnfinishedCommitError: the new manifest or a new shard is not there, or a link leads out of the folder.
    """
    stage = root / STAGE_FOLDER
    manifest = stage / MANIFEST_NAME if (stage / MANIFEST_NAME).exists() else root / MANIFEST_NAME
    problem = ""
    if not manifest.exists() or _digest(manifest) != change.manifest:
        problem = f"{manifest} is not the manifest that was to come"
    folders = _folders_of(change.added, change.removed)
    both = [STAGE_FOLDER, *folders, *(f"{STAGE_FOLDER}/{folder}" for folder in folders)]
    led_out = next((folder for folder in both if resolve_inside(root, folder) is None), None)
    if led_out is not None:
        problem = problem or f"{root / led_out} leads out of the dataset through a link"
    lost = _first_lost(root, change.added)
    if lost is not None:
        problem = problem or f"{stage / lost} is missing"
    if problem:
        raise UnfinishedCommitError(
            f"{root}: a prep command was ended while it put its result in place, and it cannot be finished: {problem}; "
            f"remove {root / STATE_FOLDER} and build again"
        )


def _first_lost(root: Path, added: Names) -> str | None:
    """Return a new shard that is neither in the stage nor in its place; None if there is none."""
    for folder, names in _by_folder(added):
        staged = f"{root}/{STAGE_FOLDER}/{folder}"
        if os.path.isdir(staged) and _holds_only(staged, names):  # as a rule, and a look at the folder costs less than one at each file
            continue
        for name in names:
            if not os.path.exists(f"{staged}/{name}") and not os.path.exists(f"{root}/{folder}/{name}"):
                return f"{folder}/{name}"
    return None


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Committing a new state of a dataset, so that a crash at any instruction leaves either the old one or the new one.

Everything new is first written below `.prep/build` and flushed to disk. Then a record of what is to be done is written by a
rename. Before it nothing of the old state is touched. From then on the new state holds: whoever opens the dataset next does
what the record says, again if it was interrupted, and then removes it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from manifests.errors import UnfinishedCommitError
from manifests.files.atomic import sync_folder
from manifests.files.durable import sync_below
from manifests.files.lock import locked
from manifests.files.regularfile import open_regular
from manifests.format.names import SHARD_FOLDER, collisions, default_path, file_and_folder_clashes, resolve_inside
from manifests.format.schema import FAILURES_NAME, MANIFEST_NAME, METADATA_NAME, STATE_FOLDER
from manifests.rows import arrow
from manifests.rows.buffers import integers, number_array, text
from manifests.rows.checks import may_share_files
from manifests.rows.paths import folders_of
from manifests.rows.table import distinct, in_one_piece, string_blocks, string_column
from manifests.storage.commit_record import Changeover, Failures, Replaced, read_record, write_record

if TYPE_CHECKING:
    import pyarrow as pa

STAGE_FOLDER = f"{STATE_FOLDER}/build"
"""Where a new state is written, under the names that its files have in the dataset's folder."""

RECORD = f"{STAGE_FOLDER}/commit.json"

_PATIENCE_SECONDS = 60.0
"""How long a reader waits for a build that is committing."""

_UP_TO_LAST_SLASH = r"(?s)^.*/"


def begin_changeover(
    root: Path, *, added: Any, removed: Any, failures: Failures, arrays: Mapping[str, Replaced] = MappingProxyType({})
) -> Changeover:
    """Write the record that makes the state in the stage the one that holds; `finish_changeover` does what it says.

    Args:
        root: the dataset's folder, whose lock the caller holds.
        added: IDs whose shards are in the stage, beside the new manifest, dataset.json and perhaps failures.csv: an Arrow
            column or an iterable of strings.
        removed: IDs whose shards are deleted, likewise.
        failures: whether a new failures.csv comes, the old one goes, or it stays as it is.
        arrays: name of a further array -> the IDs whose files of it are in the stage, and those whose files are deleted.

    Returns:
        What the record says.

    Raises:
        OSError: the disk is full or fails, or the folder cannot be written; the old state holds.
    """
    stage = root / STAGE_FOLDER
    change = Changeover(
        manifest=_digest(stage / MANIFEST_NAME),
        added=string_column(added),
        removed=string_column(removed),
        failures=failures,
        arrays=arrays,
    )
    check_folders(root, {base: [own.added, own.removed] for base, own in change.by_folder().items()})
    for base, own in change.by_folder().items():
        for folder in _folders_of(base, own.added):
            # Where a shard that will be removed is in the way, the folder is made later.
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                (root / folder).mkdir(parents=True, exist_ok=True)
    files = (stage / name for name in _written(change))
    sync_below(stage, (file for file in files if file.exists()))
    write_record(change, root / RECORD)
    return change


def check_folders(root: Path, ids: Mapping[str, Sequence[pa.ChunkedArray]]) -> None:
    """Check that shards of IDs would lie within a dataset: what a link leads to is somebody else's.

    Args:
        root: the dataset's folder.
        ids: folder for shards -> columns of IDs with shards below it.

    Raises:
        OSError: a folder leads out of the dataset.
    """
    folders = (folder for base, columns in ids.items() for folder in _folders_of(base, *columns))
    led_out = next((folder for folder in folders if resolve_inside(root, folder) is None), None)
    if led_out is not None:
        raise OSError(errno.ELOOP, "leads out of the dataset through a link; remove it", os.fspath(root / led_out))


def finish_if_begun(root: Path) -> None:
    """Finish a commit that was interrupted after its record was written; if there is none, this is one look at the disk.

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
    """Do what the record says, if there is one, and remove it.

    Args:
        root: the dataset's folder, whose lock the caller holds.
        begun: what the record says, if this process wrote it: reading that of millions of shards takes gigabytes.

    Raises:
        UnfinishedCommitError: the record or the stage is damaged.
        OSError: the folder cannot be written.
    """
    record = root / RECORD
    if not os.path.lexists(record):
        return
    change = read_record(record) if begun is None else begun
    _check_stage(root, change)
    removals = {base: _order_of_removal(root, base, own) for base, own in change.by_folder().items()}
    for base, own in change.by_folder().items():
        _remove(root, base, removals[base][0])
        _take_shards(root, base, own.added)
    if change.failures == "new":
        _take(root, FAILURES_NAME)
    elif change.failures == "none":
        (root / FAILURES_NAME).unlink(missing_ok=True)
    _take(root, METADATA_NAME)
    _take(root, MANIFEST_NAME)
    for base, (_, last) in removals.items():
        _remove(root, base, last)
    files = (root / name for name in _written(change))
    emptied = {root / folder for base, own in change.by_folder().items() for folder in _folders_of(base, own.removed)}
    sync_below(root, (file for file in files if file.exists()), emptied)
    record.unlink()
    with contextlib.suppress(OSError):  # a record that comes back has nothing left to do
        sync_folder(record.parent)
    shutil.rmtree(root / STAGE_FOLDER, ignore_errors=True)


def _take(root: Path, path: str) -> None:
    """Move a file of the stage into place, unless that was done before."""
    source, target = f"{root}/{STAGE_FOLDER}/{path}", f"{root}/{path}"
    try:
        os.replace(source, target)
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.exists(source):
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(source, target)


def _take_shards(root: Path, base: str, ids: pa.ChunkedArray) -> None:
    """Move shards of one folder of the stage into place, except those that were moved before.

    A folder of which every file is new is renamed, even if it has millions.
    """
    for folder, own in _by_folder(base, ids):
        source, target = f"{root}/{STAGE_FOLDER}/{folder}", f"{root}/{folder}"
        if not os.path.isdir(source):
            continue
        if _is_empty_folder(target, like=source) and _holds_only(source, own):
            os.rename(source, target)
            continue
        for name in _each(own):
            _take(root, f"{folder}/{name}")


def _each(strings: pa.ChunkedArray | pa.Array) -> Iterator[str]:
    """Yield strings, of which only some at a time are objects."""
    return itertools.chain.from_iterable(string_blocks(strings))


def _written(change: Changeover) -> Iterator[str]:
    """Yield the path of each file of a new state."""
    yield from (MANIFEST_NAME, METADATA_NAME, FAILURES_NAME)
    for base, own in change.by_folder().items():
        yield from (default_path(id_, folder=base) for id_ in _each(own.added))


def _folders_of(base: str, *columns: pa.ChunkedArray) -> list[str]:
    """Return the folders below one for shards that hold those of these IDs, each once, sorted."""
    return sorted({f"{base}/{head}".rstrip("/") for ids in columns for head in distinct(folders_of(ids))})


def _by_folder(base: str, ids: pa.ChunkedArray) -> Iterator[tuple[str, pa.Array]]:
    """Yield each folder below one for shards that holds those of these IDs, and the names of the shards in it."""
    if not len(ids):
        return
    pc = arrow.pc
    names = pc.binary_join_element_wise(pc.replace_substring_regex(ids, _UP_TO_LAST_SLASH, ""), text(".npy"), text(""))
    folders = in_one_piece(folders_of(ids).unify_dictionaries())
    codes = integers(folders.indices)
    names = in_one_piece(names).take(number_array(np.argsort(codes, kind="stable")))
    start = 0
    for head, count in zip(folders.dictionary.to_pylist(), np.bincount(codes).tolist(), strict=True):
        yield f"{base}/{head}".rstrip("/"), names.slice(start, count)
        start += count


def _holds_only(folder: str, names: pa.Array) -> bool:
    """Return whether these names, which are distinct, are all that is in a folder."""
    try:
        with os.scandir(folder) as entries:
            found = string_column(entry.name for entry in entries)
    except UnicodeEncodeError:  # a name that is not UTF-8 is none of ours
        return False
    return len(found) == len(names) and bool(arrow.pc.all(arrow.pc.is_in(found, value_set=names)).as_py())


def _is_empty_folder(path: str, *, like: str) -> bool:
    """Return whether this is an empty folder that another can replace: not a link, and with the same owner and mode."""
    try:
        ours, theirs = os.lstat(path), os.stat(like)
        rights = [(status.st_mode, status.st_uid, status.st_gid) for status in (ours, theirs)]
        if rights[0] != rights[1]:
            return False
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except (FileNotFoundError, NotADirectoryError):
        return False


def _remove(root: Path, base: str, ids: Iterable[str]) -> None:
    """Delete shards of one folder and the folders that they leave empty; that of the main arrays stays."""
    stay = {root, root / SHARD_FOLDER}
    for id_ in ids:
        path = root / default_path(id_, folder=base)
        if path.is_dir() and not path.is_symlink():  # a folder of new shards, which was made when this was done before
            continue
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        for folder in path.parents:
            if folder in stay or not _remove_if_empty(folder):
                break


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _order_of_removal(root: Path, base: str, change: Replaced) -> tuple[Iterable[str], Iterable[str]]:
    """Return which shards of one folder are removed before the new ones come, because they are in their way, and which at the end.

    Where `Cat` makes room for `cat`, a case-insensitive disk has the new shard under the old name once it is in place: what was
    in the way of a shard that has left the stage is already gone.
    """
    added, removed = change.added, change.removed
    if not len(added) or not len(removed) or not may_share_files(arrow.pa.chunked_array([*added.chunks, *removed.chunks])):
        return (), _each(removed)
    paths = [default_path(id_, folder=base) for id_ in itertools.chain(_each(added), _each(removed))]
    n = len(added)
    pairs = itertools.chain(file_and_folder_clashes(paths), collisions(paths))
    makes_room = [(max(pair) - n, min(pair)) for pair in pairs if min(pair) < n <= max(pair)]
    in_the_way = {old for old, _ in makes_room}
    still = {old for old, new in makes_room if (root / STAGE_FOLDER / paths[new]).exists()}
    first = [id_ for position, id_ in enumerate(_each(removed)) if position in still]
    return first, [id_ for position, id_ in enumerate(_each(removed)) if position not in in_the_way]


def _check_stage(root: Path, change: Changeover) -> None:
    """Check that the new state is complete before anything of the old one is touched.

    Raises:
        UnfinishedCommitError: the new manifest or a new shard is not there, or a link leads out of the folder.
    """
    stage = root / STAGE_FOLDER
    manifest = stage / MANIFEST_NAME if (stage / MANIFEST_NAME).exists() else root / MANIFEST_NAME
    problem = ""
    if not manifest.exists() or _digest(manifest) != change.manifest:
        problem = f"{manifest} is not the manifest that was to come"
    folders = [folder for base, own in change.by_folder().items() for folder in _folders_of(base, own.added, own.removed)]
    both = [STAGE_FOLDER, *folders, *(f"{STAGE_FOLDER}/{folder}" for folder in folders)]
    led_out = next((folder for folder in both if resolve_inside(root, folder) is None), None)
    if led_out is not None:
        problem = problem or f"{root / led_out} leads out of the dataset through a link"
    lost = next((path for base, own in change.by_folder().items() if (path := _first_lost(root, base, own.added)) is not None), None)
    if lost is not None:
        problem = problem or f"{stage / lost} is missing"
    if problem:
        raise UnfinishedCommitError(
            f"{root}: a prep command was ended while it put its result in place, and it cannot be finished: {problem}; "
            f"remove {root / STATE_FOLDER} and build again"
        )


def _first_lost(root: Path, base: str, added: pa.ChunkedArray) -> str | None:
    """Return the path of a new shard that is neither in the stage nor in place; None if there is none."""
    for folder, names in _by_folder(base, added):
        staged = f"{root}/{STAGE_FOLDER}/{folder}"
        if os.path.isdir(staged) and _holds_only(staged, names):  # as a rule, and a look at the folder costs less than one at each file
            continue
        for name in _each(names):
            if not os.path.exists(f"{staged}/{name}") and not os.path.exists(f"{root}/{folder}/{name}"):
                return f"{folder}/{name}"
    return None


def _digest(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

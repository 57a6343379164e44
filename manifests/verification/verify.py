"""Holding a dataset against the disk: what is missing, extra, damaged or changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from manifests.format.names import ARRAY_FOLDER, SHARD_FOLDER
from manifests.format.schema import METADATA_NAME, STATE_FOLDER
from manifests.manifest import Manifest
from manifests.rows.named_arrays import array_rows, rows_with_array
from manifests.rows.table import strings
from manifests.verification.shard_checks import Alias, Checked, CheckTask, Finding, check_rows

Run = Callable[[Callable[[CheckTask], Checked], Sequence[CheckTask], Callable[[Checked], object]], None]
"""Runs a function on each task, anywhere and in any order, and hands each result on in this thread."""

_TASK_ROWS = 256
_TASK_BYTES = 64 << 20
_SIZED_FILES = 16


def verify(
    manifest: Manifest,
    *,
    deep: bool = True,
    threads: int = 2,
    run: Run | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> list[Finding]:
    """Hold every shard against its row, and look for files that no row names.

    Args:
        manifest: the whole dataset's; of a filtered one the other rows' files count as extra.
        deep: read every file and compare its SHA-256 where the row has one; else only existence, header and size.
        threads: that read files; hashing runs outside the interpreter lock.
        run: runs the work instead of threads, for example in processes.
        advance: called with the number of arrays done since the last call, of `array_count(manifest)`.

    Returns:
        What was found: statistics of other rows, then rows in their order, then extra files by path. `Finding.is_problem` is
        false for what is only good to know.

    Raises:
        OSError: a folder cannot be listed.
    """
    found: list[tuple[int, Finding]] = []
    aliases: list[Alias] = []
    files = _files_of(manifest)

    def take(checked: Checked) -> None:
        found.extend(checked.findings)
        aliases.extend(checked.aliases)
        advance(checked.count)

    (run or _in_threads(threads))(check_rows, _tasks_of(manifest, files, deep=deep), take)
    found += _shared_files(files, sorted(aliases, key=lambda alias: alias.position))
    found.sort(key=lambda pair: (files.owners[pair[0]], pair[0]))  # stable: of one file, in the order in which they were looked for
    wrong = manifest.statistics_mismatch()
    statistics = [] if wrong is None else [Finding(kind="statistics", path=METADATA_NAME, id=None, message=f"the statistics {wrong}")]
    return (
        statistics
        + [finding for _, finding in found]
        + list(_extra_files(manifest.root, set(files.paths), {alias.real for alias in aliases}, _folders_of_shards(manifest)))
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_count(manifest: Manifest) -> int:
    """Return how many arrays the samples have, the further ones included."""
    return len(manifest) + sum(int(manifest.has_array(name).sum()) for name in manifest.arrays)


def check_tasks(manifest: Manifest, *, deep: bool) -> list[CheckTask]:
    """Cut a manifest into tasks, none of them much work; the rows of a pack, which share a file, come into one task."""
    return _tasks_of(manifest, _files_of(manifest), deep=deep)


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What the manifest says of each array of each sample: those of the main array in the order of the rows, then the further ones.

    The columns are equally long.

    Attributes:
        owners: the row that each is of.
        arrays: name -> where a further array's begin and end; the main array's by an empty name.
        ids, paths, rows, shapes, dtypes, sha256s: as in the manifest; empty strings where there is no value.
    """

    owners: Sequence[int]
    arrays: Mapping[str, range]
    ids: Sequence[str]
    paths: Sequence[str]
    rows: Sequence[str]
    shapes: Sequence[str]
    dtypes: Sequence[str]
    sha256s: Sequence[str]


def _files_of(manifest: Manifest) -> _Files:
    frame = manifest.frame
    absent = [""] * len(frame)
    columns = {name: list(frame[name]) if name in frame.columns else list(absent) for name in ("id", "row", "shape", "dtype", "sha256")}
    columns["path"] = list(manifest.paths)
    owners, arrays = list(range(len(frame))), {"": range(len(frame))}
    for name in manifest.arrays:
        positions = rows_with_array(manifest.table, name)
        some = array_rows(manifest.table, name, positions)
        arrays[name] = range(len(owners), len(owners) + len(positions))
        owners += positions.tolist()
        for field, values in columns.items():
            values.extend(strings(some[field]) if field in some.column_names else [""] * len(positions))
    ids, rows, shapes, dtypes, sha256s, paths = (columns[name] for name in ("id", "row", "shape", "dtype", "sha256", "path"))
    return _Files(owners=owners, arrays=arrays, ids=ids, paths=paths, rows=rows, shapes=shapes, dtypes=dtypes, sha256s=sha256s)


def _tasks_of(manifest: Manifest, files: _Files, *, deep: bool) -> list[CheckTask]:
    paths, tasks = files.paths, []
    for name, places in files.arrays.items():
        order = list(places)
        if any(files.rows[place] for place in places):
            first = {paths[place]: place for place in reversed(places)}
            order.sort(key=lambda place: first[paths[place]])
        for part in _cut(order, paths, _rows_per_task(manifest.root, paths[places.start : places.stop])):
            columns = (files.ids, paths, files.rows, files.shapes, files.dtypes, files.sha256s)
            ids, own_paths, rows, shapes, dtypes, sha256s = ([column[place] for place in part] for column in columns)
            tasks.append(
                CheckTask(
                    root=os.fspath(manifest.root),
                    array=manifest.metadata.arrays.get(name) if name else manifest.metadata.array,
                    deep=deep,
                    positions=part,
                    ids=ids,
                    paths=own_paths,
                    rows=rows,
                    shapes=shapes,
                    dtypes=dtypes,
                    sha256s=sha256s,
                )
            )
    return tasks


def _cut(order: Sequence[int], paths: Sequence[str], size: int) -> Iterator[Sequence[int]]:
    """Yield stretches of at least `size` positions, but the last; no file's rows are cut apart."""
    start = 0
    while start < len(order):
        end = min(start + size, len(order))
        while end < len(order) and paths[order[end]] == paths[order[end - 1]]:
            end += 1
        yield order[start:end]
        start = end


def _rows_per_task(root: Path, paths: Sequence[str]) -> int:
    """Return how many files make a task of some tens of milliseconds: neither Ctrl-C nor the bar waits for long."""
    largest = 1
    for path in paths[:: max(1, len(paths) // _SIZED_FILES)]:
        try:
            largest = max(largest, os.stat(root / path).st_size)
        except (OSError, ValueError):
            continue  # told as missing when its turn comes
    return max(1, min(_TASK_ROWS, _TASK_BYTES // largest))


def _in_threads(count: int) -> Run:
    def run(function: Callable[[CheckTask], Checked], tasks: Sequence[CheckTask], done: Callable[[Checked], object]) -> None:
        executor = ThreadPoolExecutor(count)
        try:
            for checked in executor.map(function, tasks):
                done(checked)
        finally:
            executor.shutdown(cancel_futures=True)

    return run


def _shared_files(files: _Files, aliases: Sequence[Alias]) -> Iterator[tuple[int, Finding]]:
    """Yield files that two rows reach under different names, and those with hard links that no row knows.

    Two IDs that share a file are what the manifest itself may not say (`shared-path`); links bring it in by the back door.
    """
    if not aliases:
        return
    paths, ids = files.paths, files.ids
    owners = {path: position for position, path in reversed(list(enumerate(paths)))}
    first: dict[tuple[int, int], int] = {}
    names: dict[tuple[int, int], set[str]] = {}
    for alias in aliases:
        names.setdefault(alias.inode, set()).add(alias.real)
    for alias in aliases:
        path = paths[alias.position]
        owner = owners.get(alias.real, alias.position)
        if paths[owner] == path:
            owner = first.setdefault(alias.inode, alias.position)
        if paths[owner] != path:
            message = f"is the same file as {paths[owner]} of ID {ids[owner]!r}, through a link; give each ID a file of its own"
            yield alias.position, Finding(kind="duplicate", path=path, id=ids[alias.position], message=message)
        elif alias.names > len(names[alias.inode]):
            count = alias.names - len(names[alias.inode])
            message = f"has {count} more name{'s' * (count > 1)} (hard links) that no row knows; who writes there changes this shard"
            yield alias.position, Finding(kind="linked", path=path, id=ids[alias.position], message=message)


def _folders_of_shards(manifest: Manifest) -> set[str]:
    """Return the top folders that are for shards alone."""
    return {SHARD_FOLDER, ARRAY_FOLDER} if manifest.arrays else {SHARD_FOLDER}


def _extra_files(root: Path, known: set[str], reached: set[str], folders: set[str]) -> Iterator[Finding]:
    """Yield files in the folders of shards and arrays anywhere else in the dataset that no row names, by path.

    Args:
        root: the dataset's folder.
        known: the paths of all rows.
        reached: real paths of the files that rows reach through symbolic links: they are named too.
        folders: top folders that are for shards alone.
    """
    real_root = os.path.realpath(root)
    for path in _unnamed_files(root, known, folders):
        if not reached or os.path.relpath(os.path.realpath(root / path), real_root) not in reached:
            yield Finding(kind="extra", path=path, id=None, message="no row of the manifest names it")


def _unnamed_files(root: Path, known: set[str], top_folders: set[str]) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise error

    folders_of_rows: Mapping[str, None] | None = None
    for folder, names, files in os.walk(root, onerror=fail):
        names[:] = sorted(name for name in names if not (folder == str(root) and name == STATE_FOLDER))
        relative = Path(folder).relative_to(root)
        for name in sorted(files):
            path = (relative / name).as_posix()
            if path not in known and (not top_folders.isdisjoint(relative.parts[:1]) or name.endswith(".npy")):
                yield path
        for name in () if top_folders.isdisjoint(relative.parts[:1]) else names:
            path = (relative / name).as_posix()
            if os.path.islink(root / path):  # `os.walk` does not go there
                folders_of_rows = _folders(known) if folders_of_rows is None else folders_of_rows
                if path not in folders_of_rows:
                    yield path


def _folders(paths: set[str]) -> Mapping[str, None]:
    """Return every folder that leads to one of these files."""
    folders: dict[str, None] = {}
    for folder in {path.rpartition("/")[0] for path in paths}:
        rest = folder
        while rest and rest not in folders:
            folders[rest] = None
            rest = rest.rpartition("/")[0]
    return folders

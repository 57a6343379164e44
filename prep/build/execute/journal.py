"""The journal: what finished chunks of a build left behind, so that a build that was ended goes on from there.

Each chunk writes a part, `parts/<digest>-<items>.part`, a sealed Arrow IPC file with a row for each sample, those of an item together:

| column | type | what it says |
|---|---|---|
| `item` | large_string | ID of the item |
| `samples` | int32 | how many samples of the item carry a number behind its ID; 0 where the item is itself the sample |
| `fingerprint` | binary(32) | of the item's shards |
| `header` | dictionary | what the header of its file says, as items have it |
| `shape`, `dtype` | dictionary | of the shard, in the manifest's notation |
| `sha256` | binary(32) | of the shard's file |
| `moments` | large_binary | what the dataset's statistics are put together from |
| `<name>.shape`, `<name>.dtype`, `<name>.sha256` | as those above | of a further array that samples of the part have |

What was written travels on as such a table with the item's `position` among those that are to be built in place of `item` and
`fingerprint`, and without `moments`.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from manifests.files.atomic import TEMPORARY_PREFIX
from manifests.files.durable import sync_below
from manifests.format.metadata import is_dtype_name
from manifests.format.names import array_folder, default_path, name_problem
from manifests.format.schema import parse_shape
from manifests.rows import arrow
from manifests.rows.buffers import (
    Positions,
    array_of_bytes,
    few_valued,
    fixed_array,
    number_array,
    numbers,
    positions_of,
    string_array,
    view,
)
from manifests.rows.names import name_problems
from manifests.rows.table import select, string_column, strings
from prep.build.execute.array_columns import array_columns, as_main, columns_of_shards, rows_having, with_each_array, written_arrays
from prep.build.execute.shards import WrittenShard, of_each_kind, shard_bytes
from prep.build.state.fingerprints import Prints, as_prints
from prep.build.state.moments import decode_moments, moment_bytes
from prep.build.state.sealed import UnsealedError, read_sealed, sealed_bytes, sound_table
from prep.readers.limits import MAX_SAMPLES
from prep.sources.items import Item
from prep.sources.numbered_samples import sample_ids

if TYPE_CHECKING:
    import pyarrow as pa

PART_FOLDER = "parts"
_SUFFIX = ".part"
_NAME = re.compile(r"[0-9a-f]{32}-([0-9]{1,9})\.part")

_MOST_VALUES = float(1 << 53)
"""Of one channel of a shard: as many as float64 can count."""

_MOMENTS_AT_ONCE = 8_192
"""Rows whose moments are read together: each is a hundred bytes a channel, and numbers are objects while they are added up."""


Done = tuple[Item, Sequence[WrittenShard], str]
"""An item, what was written for each of its samples, and what the header of its file says."""

WRITTEN = ("position", "samples", "header", "shape", "dtype", "sha256")
"""Columns of what was written, as it travels on; those of further arrays stand behind them."""


def _schema(further: Sequence[str] = ()) -> pa.Schema:
    pa = arrow.pa
    text, few, digest = pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary(32)
    columns = {"item": text, "samples": pa.int32(), "fingerprint": digest, "header": few, "shape": few, "dtype": few, "sha256": digest}
    arrays = [(name, digest if name.endswith(".sha256") else few) for name in further]
    return pa.schema([*columns.items(), ("moments", pa.large_binary()), *arrays])


def nothing_written() -> pa.Table:
    """Return that nothing is written."""
    table = _schema().empty_table().append_column("position", number_array(np.zeros(0, dtype=np.int64)))
    nothing: pa.Table = table.select(WRITTEN)
    return nothing


def write_part(target: Path, done: Sequence[Done], *, fingerprints: Mapping[str, str], positions: Mapping[str, int]) -> pa.Table:
    """Record that shards are written, after they are on the disk: a part is there as a whole or not at all.

    One flush of the file system serves all shards of the part and the part itself. A part that is written again takes the
    place of the first. Failures are not recorded: what failed is tried again, since its cause may have gone.

    Args:
        target: the folder below which the shards lie, laid out as a dataset.
        done: items whose shards are written; none need no part.
        fingerprints: item's ID -> fingerprint of what was written.
        positions: item's ID -> its position among those that are to be built.

    Returns:
        What was written, with the columns `WRITTEN`.

    Raises:
        OSError: the disk is full or fails.
    """
    if not done:
        return nothing_written()
    part = _part_of(done, fingerprints)
    _save(target, part, _files(target, part))
    at = np.array([positions[item.id] for item, shards, _ in done for _ in shards], dtype=np.int64)
    return _as_written(part.append_column("position", number_array(at)))


def _as_written(rows: pa.Table) -> pa.Table:
    """Return of rows of the journal with their `position` what travels on."""
    return rows.select([*WRITTEN, *_further(rows)])


def _further(table: pa.Table) -> list[str]:
    """Return the columns of further arrays, which alone have a dot in their names."""
    return [name for name in table.schema.names if "." in name]


def together(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables of what was written as one, in one piece."""
    tables = with_each_array(tables) if any(map(_further, tables)) else tables
    return arrow.pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _part_of(done: Sequence[Done], fingerprints: Mapping[str, str]) -> pa.Table:
    pa = arrow.pa
    rows = [(item, len(shards), shard, header) for item, shards, header in done for shard in shards]
    samples = [0 if count == 1 and shard.id == item.id else count for item, count, shard, _ in rows]
    prints = b"".join([fingerprints[item.id].encode().ljust(32, b"\0") for item, _, _, _ in rows])
    digests = bytes.fromhex("".join([shard.sha256 for _, _, shard, _ in rows]))
    moments = [shard.moments for _, _, shard, _ in rows]
    columns = {
        "item": string_array([item.id for item, _, _, _ in rows]),
        "samples": number_array(np.array(samples, dtype=np.int32)),
        "fingerprint": fixed_array(np.frombuffer(prints, dtype=np.uint8).reshape(-1, 32)),
        "header": few_valued([header for _, _, _, header in rows]),
        "shape": few_valued([shard.shape for _, _, shard, _ in rows]),
        "dtype": few_valued([shard.dtype for _, _, shard, _ in rows]),
        "sha256": fixed_array(np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)),
        "moments": binary_array(np.fromiter(map(len, moments), dtype=np.int64, count=len(moments)), b"".join(moments)),
    }
    further = columns_of_shards([shard for _, _, shard, _ in rows]) if any(shard.arrays for _, _, shard, _ in rows) else {}
    return pa.table(columns | further)


def binary_array(lengths: npt.NDArray[np.int64], data: Any) -> pa.Array:
    """Return bytes that stand end to end as a `large_binary` array.

    Args:
        lengths: int64, shape (n,), in bytes.
        data: of all of them; a buffer, which the array looks into.
    """
    return array_of_bytes(lengths, data).cast(arrow.pa.large_binary())


def _save(target: Path, part: pa.Table, shards: Iterable[Path]) -> None:
    """Write a part after its shards are on the disk."""
    folder = target / PART_FOLDER
    folder.mkdir(exist_ok=True)  # not the stage itself: one that is gone was that of a build that is over
    items = len(_starts(part))
    content = sealed_bytes(part.replace_schema_metadata(None))
    temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"  # two workers may do one chunk
    try:
        temporary.write_bytes(content)
        sync_below(target, chain([temporary], shards))
        os.replace(temporary, folder / f"{content[32:48].hex()}-{items}{_SUFFIX}")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _starts(part: pa.Table) -> Positions:
    """Return where the samples of each item begin: int64. Of parts put together, two may tell of one item, one behind the other."""
    counts = np.maximum(numbers(part["samples"], np.int32), 1)
    if (counts == 1).all():
        return np.arange(len(part))
    found, start = [], 0
    while start < len(part):
        found.append(start)
        start += int(counts[start])
    return np.array(found, dtype=np.int64)


def sample_names(items: Sequence[str], samples: Sequence[int]) -> list[str]:
    """Return the ID of each sample.

    Args:
        items: ID of each sample's item.
        samples: as in a part; those of one item stand together.
    """
    if not any(samples):
        return list(items)
    names: list[str] = []
    while len(names) < len(items):
        item, count = items[len(names)], samples[len(names)]
        names += sample_ids(item, count) if count else [item]
    return names


def shard_paths(part: pa.Table) -> list[str]:
    """Return the paths of the files that some rows of a part tell of, relative to the folder of a dataset."""
    return [path for _, paths, _ in _files_by_array(part) for path in paths]


def _files_by_array(part: pa.Table) -> Iterator[tuple[Positions, list[str], list[int]]]:
    """Yield the files of the main arrays, then of each further array: their rows (int64), paths and sizes in bytes."""
    ids = sample_names(strings(part["item"]), numbers(part["samples"], np.int32).tolist())
    yield np.arange(len(ids)), list(map(default_path, ids)), of_each_kind(part, shard_bytes).tolist()
    for name in written_arrays(part):
        at = rows_having(part, name)
        sizes = of_each_kind(as_main(part, name), lambda shape, dtype: shard_bytes(shape, dtype) if shape else 0)
        yield at, [default_path(ids[row], folder=array_folder(name)) for row in at.tolist()], sizes[at].tolist()


def _files(folder: Path, part: pa.Table) -> Iterator[Path]:
    """Yield the files of the samples' arrays; where the whole file system is flushed, nobody asks for them."""
    yield from (folder / path for path in shard_paths(part))


def parts_in(target: Path) -> list[Path]:
    """Return the parts that a build has left."""
    return sorted(path for path in (target / PART_FOLDER).glob(f"*{_SUFFIX}") if not path.is_dir())


def count_done(target: Path) -> int:
    """Return of how many items the names of the parts say that they are done; of those that begin as parts do.

    A part that cannot be opened as there are too many open files counts: it is there for the next build.
    """
    count = 0
    for path in parts_in(target):
        named = _NAME.fullmatch(path.name)
        try:
            read_sealed(path, checked=False)
        except UnsealedError:
            named = None
        except OSError as error:
            named = named if error.errno in {errno.EMFILE, errno.ENFILE} else None
        count += int(named[1]) if named else 0
    return count


def read_part(path: Path) -> pa.Table:
    """Return what a part says, every value checked.

    Raises:
        UnsealedError: it is damaged, or no build of this release has written it.
        OSError: it cannot be read.
    """
    reader = read_sealed(path)
    part = sound_table(reader, _schema(array_columns(written_arrays(reader))))
    problem = _problem_of(part)
    if problem:
        raise UnsealedError(problem)
    return part


def _problem_of(part: pa.Table) -> str:
    """Return what is wrong with a part whose columns are each sound; empty if nothing is."""
    if not len(part):
        return "nothing is done"
    starts = _starts(part)
    counts = np.diff(starts, append=len(part))
    samples = numbers(part["samples"], np.int32)
    column = string_column(part["item"].take(number_array(starts)))
    items = strings(column)
    if (samples < 0).any() or (samples > MAX_SAMPLES).any() or (np.maximum(samples, 1) != np.repeat(counts, counts)).any():
        return "samples are missing"
    if strings(part["item"]) != [item for item, count in zip(items, counts.tolist(), strict=True) for _ in range(count)]:
        return "samples of other items"
    last = [sample_ids(item, count)[-1] for item, count in zip(items, samples[starts].tolist(), strict=True) if count]
    if len(set(items)) < len(items) or name_problems(column) or any(map(name_problem, last)):
        return "unsafe IDs"
    try:
        lengths = of_each_kind(part, _moment_bytes)
        for name in written_arrays(part):
            of_each_kind(as_main(part, name), lambda shape, dtype: _moment_bytes(shape, dtype) if shape or dtype else 0)
        moments = moment_lengths(part["moments"])
        are_moments = are_counted(part["moments"])
    except (ValueError, TypeError) as error:
        return str(error)
    if (lengths != moments).any() or not are_moments:
        return "moments of other arrays"
    return ""


def _moment_bytes(shape: str, dtype: str) -> int:
    if not is_dtype_name(dtype):
        raise ValueError(f"unknown dtype {dtype!r}")
    return moment_bytes(parse_shape(shape), dtype)


def moment_lengths(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return how many bytes of moments each row has: int64, shape (n,)."""
    parts = [np.zeros(0, dtype=np.int64)]
    for chunk in column.chunks:
        ends = view(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        parts.append(np.diff(ends))
    return np.concatenate(parts)


def moment_data(column: pa.ChunkedArray) -> bytes:
    """Return the moments of all rows, one behind the other."""
    parts = []
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        ends = view(offsets, np.int64)
        if len(chunk):
            parts.append(view(data, np.uint8)[ends[chunk.offset] : ends[chunk.offset + len(chunk)]].tobytes())
    return b"".join(parts)


def are_counted(column: pa.ChunkedArray) -> bool:
    """Return whether moments are of as many values as arrays can have.

    Raises:
        ValueError: these are no moments.
    """
    values = decode_moments(moment_data(column))[:, :2]
    return bool(((values >= 0) & (values <= _MOST_VALUES)).all())


def read_parts(left: Path, damaged: list[Path]) -> Iterator[pa.Table]:
    """Yield what the parts of a build that was ended say, some thousands of rows at a time.

    Args:
        left: its stage.
        damaged: takes in the parts that cannot be trusted.
    """
    held: list[pa.Table] = []
    for path in parts_in(left):
        try:
            held.append(read_part(path))
        except (OSError, UnsealedError):
            damaged.append(path)
        if sum(map(len, held)) >= arrow.ROWS_AT_ONCE:
            yield together(held)
            held = []
    if held:
        yield together(held)


def due_rows(left: Path, part: pa.Table, due: pa.Table, is_done: npt.NDArray[np.bool_]) -> tuple[pa.Table, bool]:
    """Return the rows of a part that need not be built again, with their `position`: each shard is there in its full size.

    And whether that goes for all rows of the part whose shard is there, those of items that were found already included: of a build that
    was killed once its shards were in place, the part is left alone.

    What was built from another state of the raw item or by another recipe does not count.

    Args:
        left: the stage that the part lies in.
        part: what it says.
        due: items that are to be built, with `id` and `fingerprint`.
        is_done: of these, what was found already: bool, shape (n,); what is found here is noted in it.
    """
    at = positions_of(part["item"], due["id"])
    wanted: Prints = as_prints(due["fingerprint"])
    good = at >= 0
    good[good] = as_prints(part["fingerprint"])[good] == wanted[at[good]]
    there = np.ones(len(part), dtype=np.bool_)
    for rows, paths, sizes in _files_by_array(part):
        there[rows] &= np.fromiter(
            (_is_there(f"{left}/{path}", size) for path, size in zip(paths, sizes, strict=True)), np.bool_, len(paths)
        )
    good &= there
    starts = _starts(part)
    counts = np.diff(starts, append=len(part))
    good = np.repeat(np.logical_and.reduceat(good, starts), counts)
    are_all = bool((good | ~there).all())
    good[good] = ~is_done[at[good]]  # a chunk that was done twice may be told of twice
    owner = np.repeat(np.arange(len(starts)), counts)
    first = np.full(len(due), -1, dtype=np.int64)
    first[at[good][::-1]] = owner[good][::-1]
    good[good] = first[at[good]] == owner[good]
    is_done[at[good]] = True
    return select(part.append_column("position", number_array(at)), good), are_all


def take_over_rows(left: Path, folder: Path, rows: pa.Table) -> pa.Table:
    """Tell of shards of another stage in a part of this one, and return what was written; the shards are still to be moved.

    The part comes first: of a shard that it tells of and that is not there, whoever reads it takes no notice.

    Raises:
        OSError: the disk is full or fails.
    """
    _save(folder, rows.select(_schema(_further(rows)).names).combine_chunks(), _files(left, rows))
    return _as_written(rows)


def read_moments(target: Path) -> Iterator[pa.Table]:
    """Yield `sha256` and `moments` of all that the parts of a build tell of, some thousands of rows at a time.

    Raises:
        UnsealedError, OSError: a part is not as it was written.
    """
    held: list[pa.Table] = []
    rows = 0
    for path in parts_in(target):
        try:
            held.append(read_sealed(path).read_all().select(["sha256", "moments"]))
        except UnsealedError as error:
            raise UnsealedError(f"{path}: was changed while a build ran") from error
        rows += len(held[-1])
        if rows >= _MOMENTS_AT_ONCE:
            yield arrow.pa.concat_tables(held).combine_chunks()
            held, rows = [], 0
    if held:
        yield arrow.pa.concat_tables(held).combine_chunks()


def _is_there(path: str, size: int) -> bool:
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


class Collected:
    """Collects what was written as it comes, a small table for each part, and puts some thousands of rows at a time into one."""

    def __init__(self) -> None:
        self._pending: list[pa.Table] = []
        self._large: list[pa.Table] = [nothing_written()]
        self._rows = 0
        self._items = 0

    def __len__(self) -> int:
        """Return of how many items there are shards so far."""
        return self._items

    def add(self, written: pa.Table) -> None:
        """Take in more, with the columns `WRITTEN`."""
        if not len(written):
            return
        self._pending.append(written)
        self._rows += len(written)
        self._items += len(np.unique(numbers(written["position"], np.int64)))
        if self._rows >= arrow.ROWS_AT_ONCE:
            self._put_together()

    def are_here(self, count: int) -> npt.NDArray[np.bool_]:
        """Return of each of so many items that are to be built whether it is here: bool, shape (count,)."""
        here = np.zeros(count, dtype=np.bool_)
        for table in [*self._large, *self._pending]:
            here[numbers(table["position"], np.int64)] = True
        return here

    def table(self) -> pa.Table:
        """Return all in one, in the order of the items."""
        self._put_together()
        whole = together(self._large)
        self._large = [whole]
        positions = numbers(whole["position"], np.int64)
        # Each chunk is in order, but they come as they are done.
        if (np.diff(positions) >= 0).all():
            return whole
        self._large = [whole.take(number_array(np.argsort(positions, kind="stable"))).combine_chunks()]
        return self._large[0]

    def taken(self) -> pa.Table:
        """Return the same as `table`, and keep nothing."""
        whole, self._large, self._items = self.table(), [nothing_written()], 0
        return whole

    def _put_together(self) -> None:
        pending, self._pending, self._rows = self._pending, [], 0
        if pending:
            self._large.append(together(pending))

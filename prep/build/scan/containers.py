"""The items inside container files: a file's row in the listing becomes a row for each of its members.

Members are listed in the workers, as a file may bring down or hang who opens it, and only of files that have changed: the state has
the members of the others.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import Positions, fixed_array, mask, mask_array, number_array, numbers, positions_of, text
from manifests.rows.names import name_problems
from manifests.rows.table import blank, select, with_column
from prep.build.execute.chunk import chunks_of
from prep.build.recipe.options import BuildOptions
from prep.build.scan.headers import LookChunk, Looked, look_chunk
from prep.build.state.digests import DIGEST_BYTES
from prep.build.state.state import State, reader_key
from prep.parallel.executors import Workers
from prep.parallel.gather import gather
from prep.progress.report import Advance, Reporter
from prep.sources.items import UNKNOWN, check_distinct, item_keys, items_at, sorted_by_id
from prep.sources.listing import Failure, Listing
from prep.text import counted, printable

if TYPE_CHECKING:
    import pyarrow as pa


def with_members(listing: Listing, options: BuildOptions, state: State, workers: Workers, report: Reporter) -> Listing:
    """Return a listing whose items are the members of its container files, with the labels and columns of their files.

    An item of a folder, or of a row that names a whole file, has the ID `<ID of the file>/<member>`; a row that names a member keeps its
    own. A file whose members cannot be listed is one failure, without an ID.

    Args:
        listing: of files, made for a reader that knows containers.
        options: of the build. With `checksum`, a change that size and time do not show counts too, so all files are opened. Of a retry,
            which is about some failures only, none is told here and none ends the build.
        state: what earlier builds know: the members of files that have not changed since.
        workers: where files are opened.
        report: is told how many there are, and what fails, and shows how far it is.

    Raises:
        StoppedError: as many files failed as were to end the build.
        SourceError: two items of one ID.
    """
    items = listing.items
    sources = items["source"]
    first, file_of_row = np.unique(positions_of(sources, sources), return_inverse=True)
    files = items.take(number_array(first))
    knows = not options.checksum and state.read_by == reader_key(listing.format)
    held = _known_members(state.items, files) if knows else _no_members()
    unlisted = np.setdiff1d(np.arange(len(files)), numbers(held["file"], np.int64))
    stop_after = None if options.only_failed else options.stop_after_failures
    new, failures = _listed(replace(listing, items=files), unlisted, workers, report, stop_after)
    held = arrow.pa.concat_tables([held, new]).sort_by("file").combine_chunks()

    file_of_member = numbers(held["file"], np.int64)
    counts = np.bincount(file_of_member, minlength=len(files))
    is_named = np.zeros(len(items), dtype=np.bool_)
    if "member" in items.column_names:
        is_named = mask(arrow.pc.not_equal(items["member"], text("")))
    rows, members = _all_members(np.flatnonzero(~is_named), file_of_row, counts)
    keys = arrow.pa.table({"source": files["source"].take(number_array(file_of_member)), "member": held["member"]})
    if is_named.any():
        named = np.flatnonzero(is_named)
        found = positions_of(item_keys(items.take(number_array(named))), item_keys(keys))
        failures += _not_found(items, named[(found < 0) & (counts[file_of_row[named]] > 0)])
        rows, members = np.concatenate([rows, named[found >= 0]]), np.concatenate([members, found[found >= 0]])
    is_taken = np.zeros(len(held), dtype=np.bool_)
    is_taken[members] = True
    others = select(keys, ~is_taken)
    for name in ("size", "mtime"):
        others = others.append_column(name, files[name].take(number_array(file_of_member[~is_taken])))
    table = _of_members(items, rows, held["member"].take(number_array(members)), is_named[rows])
    for failure in () if options.only_failed else failures:
        report.failed(failure)
    check_distinct(table)
    if "member" in table.column_names:
        report.note(f"items: {counted(len(table), 'item')} in {counted(int(np.count_nonzero(counts)), 'file')}")
    if len(others):
        report.note(f"ignored: {counted(len(others), 'item')} of container files that no row names")
    return replace(
        listing,
        items=sorted_by_id(table),
        failures=[*listing.failures, *failures],
        other_members=others if len(others) else None,
    )


def with_other_members(known: pa.Table, listing: Listing) -> pa.Table:
    """Return what is to be remembered of items with the other members of their files, so that a later build finds each file's list whole.

    Args:
        known: as `State.items` has them.
        listing: as `with_members` returns it.
    """
    parts = [] if len(known) == len(listing.items) else [listing.items]
    parts += [] if listing.other_members is None else [listing.other_members]
    for part in parts if "member" in known.column_names else []:
        is_missing = (positions_of(part["source"], known["source"]) >= 0) & (positions_of(item_keys(part), item_keys(known)) < 0)
        rows = select(part.select(["source", "member", "size", "mtime"]), is_missing)
        rows = rows.append_column("header", blank(len(rows)))
        for name in ("fingerprint", "content"):
            rows = rows.append_column(name, fixed_array(np.zeros((len(rows), DIGEST_BYTES), dtype=np.uint8)))
        known = arrow.pa.concat_tables([known, rows.select(known.column_names)])
    return known.unify_dictionaries().combine_chunks() if parts else known


def _member_table(files: npt.NDArray[np.int64], members: pa.ChunkedArray) -> pa.Table:
    """Return members with the position of the file of each."""
    return arrow.pa.table({"file": number_array(files), "member": members})


def _no_members() -> pa.Table:
    return _member_table(np.zeros(0, dtype=np.int64), arrow.pa.chunked_array([], type=arrow.pa.large_string()))


def _known_members(known: pa.Table, files: pa.Table) -> pa.Table:
    """Return the members of the files that have not changed since all of their members were remembered.

    Args:
        known: as `State.items` has them.
        files: with `source`, `size` and `mtime`, each file once.
    """
    file = positions_of(known["source"], files["source"])
    at = np.flatnonzero(file >= 0)
    is_whole = np.zeros(len(files), dtype=np.bool_)
    is_whole[file[at]] = True
    for name in ("size", "mtime"):
        is_same = numbers(known[name], np.int64)[at] == numbers(files[name], np.int64)[file[at]]
        is_whole[file[at[~is_same]]] = False
    is_whole[numbers(files["size"], np.int64) == UNKNOWN] = False
    at = at[is_whole[file[at]]]
    if "member" not in known.column_names:
        return _member_table(file[at], blank(len(at)).cast(arrow.pa.large_string()))
    rows = known.select(["source", "member"]).take(number_array(at))
    named = rows["member"].filter(arrow.pc.not_equal(rows["member"], text("")))
    if name_problems(named):  # no build of ours has written this
        return _no_members()
    keys = item_keys(rows)
    is_first = positions_of(keys, keys) == np.arange(len(keys))  # two rows of a table may name one member
    return _member_table(file[at[is_first]], rows["member"].filter(mask_array(is_first)))


def _listed(
    files: Listing, positions: Positions, workers: Workers, report: Reporter, stop_after: int | None
) -> tuple[pa.Table, list[Failure]]:
    """Return the members of some files, and the failures of those whose members cannot be listed."""
    parts, failures = [_no_members()], list[Failure]()
    root = Path(os.path.abspath(files.root))  # workers may have another current folder
    for start in range(0, len(positions), arrow.ROWS_AT_ONCE):
        block = positions[start : start + arrow.ROWS_AT_ONCE]
        items = items_at(files.items.select(["id", "source"]), block)
        position_of = {item.id: position for position, item in zip(block.tolist(), items, strict=True)}
        chunks = [
            LookChunk(root=root, format=files.format, items=some, header=False, content=False, members=True)
            for some in chunks_of(items, workers.count)
        ]
        looked: list[Looked] = []
        left = None if stop_after is None else stop_after - len(failures)
        failed = gather(workers, look_chunk, chunks, take=looked.append, what="list", report=_Untold(report), stop_after=left)
        failures += [replace(failure, id="") for failure in failed]
        names = [array for each in looked for array in each.members]
        numbers_ = [position_of[id_] for each in looked for id_ in each.ids]
        if names:
            file = np.repeat(np.array(numbers_, dtype=np.int64), list(map(len, names)))
            parts.append(_member_table(file, arrow.pa.chunked_array(names)))
    return arrow.pa.concat_tables(parts), sorted(failures, key=lambda failure: failure.source)


def _all_members(rows: Positions, file_of_row: Positions, counts: Positions) -> tuple[Positions, Positions]:
    """Return each pair of a row and a member of its file, as positions: int64, shape (k,) each.

    Args:
        rows: positions of rows that name a whole file.
        file_of_row: the file of each row.
        counts: members of each file, which stand in the order of the files.
    """
    starts = np.cumsum(counts) - counts
    files = file_of_row[rows]
    many = counts[files]
    begin = np.cumsum(many) - many
    return np.repeat(rows, many), np.repeat(starts[files] - begin, many) + np.arange(int(many.sum()))


def _of_members(items: pa.Table, rows: Positions, members: pa.ChunkedArray, is_named: npt.NDArray[np.bool_]) -> pa.Table:
    """Return the rows of items with a member each, whose name stands behind the ID unless the row has an ID for it already."""
    table = items.take(number_array(rows)).combine_chunks()
    if "member" in table.column_names:
        table = table.drop_columns("member")
    if not arrow.pc.any(arrow.pc.not_equal(members, text(""))).as_py():
        return table
    keeps_id = arrow.pc.or_(mask_array(is_named), arrow.pc.equal(members, text("")).combine_chunks())
    ids = arrow.pc.if_else(keeps_id, table["id"], arrow.pc.binary_join_element_wise(table["id"], members, text("/")))
    return with_column(table, "id", ids).add_column(2, "member", members).combine_chunks()


def _not_found(items: pa.Table, rows: Positions) -> list[Failure]:
    """Return that rows of a table name a member that their file does not have."""
    return [
        Failure(id=item.id, source=item.source, stage="find", error=f"the file holds no item {printable(item.member)!r}")
        for item in items_at(items, rows)
    ]


class _Untold:
    """A reporter that leaves failures to be told later: of a retry, only some are its own."""

    def __init__(self, inner: Reporter) -> None:
        self.note = inner.note
        self._inner = inner

    def failed(self, failure: Failure) -> None:
        """Say nothing."""

    def progress(self, total: int, what: str) -> AbstractContextManager[Advance]:
        """Show progress."""
        return self._inner.progress(total, what)

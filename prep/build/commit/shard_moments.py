"""The moments of a dataset's shards: from the journal of a build, from `.prep/moments.arrow`, and else from the shards.

That file remembers them by the SHA-256 of the shards' bytes: it holds for whatever shard has those bytes, so it can be written before or
after a build's commit. It is safe to delete: what is missing is worked out from the shards.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from manifests.errors import ArrayFileError
from manifests.files.atomic import replacing
from manifests.format.names import resolve_inside
from manifests.format.npyfile import read_stream
from manifests.format.schema import STATE_FOLDER, parse_shape
from manifests.rows import arrow
from manifests.rows.buffers import Positions, fixed, fixed_array, number_array
from manifests.rows.paths import default_paths
from manifests.rows.table import select, strings
from prep.build.execute.journal import are_counted, binary_array, moment_lengths, read_moments
from prep.build.execute.shards import of_each_kind
from prep.build.stage.stage import WorkArea
from prep.build.state.digests import DIGEST_BYTES, DigestFinder, Digests, digests_of
from prep.build.state.moments import moment_bytes, moments_of
from prep.build.state.sealed import UnsealedError, read_sealed, sealed_writer, sound_table
from prep.errors import OutputError
from prep.parallel.executors import Workers
from prep.progress.report import Reporter
from prep.readers.system_errors import check_shortage
from prep.text import shown

if TYPE_CHECKING:
    import pyarrow as pa

MOMENTS_NAME = "moments.arrow"
"""File in the folder of the state of builds."""

_CHUNK_SHARDS = 256


def _schema() -> pa.Schema:
    pa = arrow.pa
    return pa.schema([("sha256", pa.binary(DIGEST_BYTES)), ("moments", pa.large_binary())])


@dataclass(frozen=True, kw_only=True)
class MomentsChunk:
    """Shards whose moments are to be worked out.

    Attributes:
        root: the dataset's folder.
        paths: of the shards, relative to it.
        sha256s: that they must have: uint8, shape (len(paths), 32).
    """

    root: Path
    paths: Sequence[str]
    sha256s: Digests


def moments_chunk(chunk: MomentsChunk) -> tuple[MomentsChunk, list[bytes | None]]:
    """Read a chunk's shards; return it with the moments of each, None for one that is not what the manifest says."""
    return chunk, [_read(chunk.root, path, sha256.tobytes()) for path, sha256 in zip(chunk.paths, chunk.sha256s, strict=True)]


def _read(root: Path, path: str, sha256: bytes) -> bytes | None:
    try:
        inside = resolve_inside(root, path)
        content = b"" if inside is None else inside.read_bytes()
        return moments_of(read_stream(io.BytesIO(content), path)) if hashlib.sha256(content).digest() == sha256 else None
    except (OSError, ArrayFileError) as error:
        check_shortage(error, path)
        return None


class ShardMoments:
    """The moments of the shards of a dataset's rows."""

    def __init__(self, rows: pa.Table, area: WorkArea, workers: Workers, *, new_rows: int) -> None:
        """Take what a build knows.

        Args:
            rows: of the new dataset.
            area: of the build: its journal, and the dataset in which the other shards lie.
            workers: read the shards of which nothing is known.
            new_rows: of which the build has written the shards.
        """
        self._rows, self._area, self._workers, self._new_rows = rows, area, workers, new_rows
        self._worked_out: list[pa.Table] = []

    def of_rows(self, needed: npt.NDArray[np.bool_], report: Reporter) -> Callable[[], Iterator[pa.ChunkedArray]] | None:
        """Return what gives the moments of some rows; what nothing is known of is worked out from the shards.

        Args:
            needed: bool, shape (n,): of these rows.
            report: shows the bar; is told if a shard is not what its row says, and then None is returned.

        Returns:
            A function that yields moments, in any order, those of a shard as often as a row has it.
        """
        missing = np.unique(self._first[needed & ~self._known()[self._first]])
        wrong = self._work_out(missing, report)
        if wrong:
            report.note(
                f"statistics: left out, as shards are missing or not what the manifest says: {shown(sorted(wrong))}; "
                f"see prep verify {os.fspath(self._area.out)}"
            )
            return None
        times = np.bincount(self._first[needed], minlength=len(self._rows))

        def each() -> Iterator[pa.ChunkedArray]:
            for at, table in self._distinct():
                yield table["moments"].take(number_array(np.repeat(np.arange(len(at)), times[at])))

        return each

    def keep(self) -> None:
        """Remember the moments of all rows of which they are known, and no others, for the next build; nothing if none is new."""
        if not self._new_rows and not self._worked_out:
            return
        path = self._area.out / STATE_FOLDER / MOMENTS_NAME
        # A build is not to fail by what it only remembers.
        with contextlib.suppress(OSError), replacing(path, durable=False) as file, sealed_writer(file, _schema()) as writer:
            for _, table in self._distinct():
                writer.write_table(table)

    @cached_property
    def _digests(self) -> Digests:
        return digests_of(self._rows["sha256"])

    @cached_property
    def _finder(self) -> DigestFinder:
        return DigestFinder(self._digests)

    @cached_property
    def _first(self) -> Positions:
        """The first row that has the shard of each row: int64, shape (n,)."""
        return self._finder.positions(self._digests)

    @cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        """How many bytes of moments the shard of each row has: int64, shape (n,)."""
        return of_each_kind(self._rows, lambda shape, dtype: moment_bytes(parse_shape(shape), dtype) if shape and dtype else -1)

    def _known(self) -> npt.NDArray[np.bool_]:
        """Return of which rows, as `_first` has them, the moments are known: bool, shape (n,)."""
        known = np.zeros(len(self._rows), dtype=np.bool_)
        for at, _ in self._distinct():
            known[at] = True
        return known

    def _distinct(self) -> Iterator[tuple[Positions, pa.Table]]:
        """Yield the moments that are known, each once, some thousands at a time, and the row of each, as `_first` has them."""
        is_new = np.ones(len(self._rows) + 1, dtype=np.bool_)
        is_new[-1] = False  # that of -1
        for table in self._tables():
            at = self._finder.positions(fixed(table["sha256"]))
            _, earliest = np.unique(at, return_index=True)
            keep = np.zeros(len(at), dtype=np.bool_)
            keep[earliest] = is_new[at[earliest]]
            keep &= moment_lengths(table["moments"]) == self._lengths[at]
            is_new[at[keep]] = False
            yield at[keep], select(table, keep)

    def _tables(self) -> Iterator[pa.Table]:
        if self._new_rows:
            yield from self._journal()
        if self._stored is not None:
            for number in range(self._stored.num_record_batches):
                yield arrow.pa.Table.from_batches([self._stored.get_batch(number)])
        yield from self._worked_out

    def _journal(self) -> Iterator[pa.Table]:
        found = 0
        try:
            for table in read_moments(self._area.folder):
                found += len(table)
                yield table
        except (UnsealedError, OSError) as error:
            raise OutputError(f"{error}; build again") from error
        if found < self._new_rows:
            raise OutputError(f"{self._area.folder}: parts of the journal were removed while a build ran; build again")

    @cached_property
    def _stored(self) -> Any:
        """What was remembered, as a `pyarrow.RecordBatchFileReader`; None if there is none, or it is damaged."""
        try:
            reader = read_sealed(self._area.out / STATE_FOLDER / MOMENTS_NAME)
            sound_table(reader, _schema())
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
            are_sound = all(are_counted(arrow.pa.Table.from_batches([batch])["moments"]) for batch in batches)
        except (OSError, UnsealedError, ValueError):
            return None
        return reader if are_sound else None

    def _work_out(self, missing: Positions, report: Reporter) -> list[str]:
        """Work out the moments of some rows' shards; return the paths of those that are not what they must be."""
        if not len(missing):
            return []
        paths = self._rows["path"] if "path" in self._rows.column_names else default_paths(self._rows["id"])
        chunks = (
            MomentsChunk(
                root=Path(os.path.abspath(self._area.out)), paths=strings(paths.take(number_array(part))), sha256s=self._digests[part]
            )
            for part in (missing[start : start + _CHUNK_SHARDS] for start in range(0, len(missing), _CHUNK_SHARDS))
        )
        wrong: list[str] = []
        with report.progress(len(missing), "statistics") as advance:

            def take(done: tuple[MomentsChunk, list[bytes | None]]) -> None:
                chunk, each = done
                good = [number for number, moments in enumerate(each) if moments is not None]
                wrong.extend(path for path, moments in zip(chunk.paths, each, strict=True) if moments is None)
                found = [moments for moments in each if moments is not None]
                lengths = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
                columns = {"sha256": fixed_array(chunk.sha256s[good]), "moments": binary_array(lengths, b"".join(found))}
                self._worked_out.append(arrow.pa.table(columns))
                advance(len(each))

            self._workers.run(moments_chunk, chunks, take)
        return wrong

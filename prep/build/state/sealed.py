"""Arrow IPC files that are what was written or count as nothing: behind a magic and the SHA-256 of the rest, which is a plain IPC file.

What a build remembers and its journal are such files. A damaged one, one of another release and one that a stranger has made
are all told apart from a sound one before anything of them is used.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from manifests.files.regularfile import open_regular, open_state_file
from manifests.rows import arrow

if TYPE_CHECKING:
    import pyarrow as pa

_MAGIC = b"shardfeed state 1\n".ljust(32, b"\0")
_START = 64
"""Where the IPC file begins: its buffers are aligned to as many bytes."""

_BLOCK = 1 << 20


class UnsealedError(Exception):
    """A file that no build of this release has written, or that was damaged since."""


@contextmanager
def sealed_writer(file: BinaryIO, schema: pa.Schema) -> Iterator[Any]:
    """Write a file, from its beginning.

    Args:
        file: open for writing, and empty.
        schema: of what is written.

    Yields:
        A `pyarrow.RecordBatchFileWriter`.

    Raises:
        OSError: the file cannot be written.
    """
    file.write(bytes(_START))
    digesting = _Digesting(file)
    with arrow.ipc.new_file(digesting, schema) as writer:
        yield writer
    file.seek(0)
    file.write(_MAGIC + digesting.digest.digest())


def sealed_bytes(table: pa.Table) -> bytes:
    """Return the content of a file that holds a table."""
    file = io.BytesIO()
    with sealed_writer(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def read_sealed(path: Path, *, checked: bool = True) -> Any:
    """Open a file, mapped into memory.

    Args:
        path: of the file.
        checked: whether to look at all of it; else it may be damaged, and is good for nothing but its schema.

    Returns:
        A `pyarrow.RecordBatchFileReader`.

    Raises:
        UnsealedError: it is damaged, or no build of this release has written it.
        OSError: it cannot be read.
    """
    with open_regular(path, opener=open_state_file) as file:
        if os.fstat(file.fileno()).st_size <= _START:
            raise UnsealedError("empty")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if mapped[: len(_MAGIC)] != _MAGIC:
        raise UnsealedError("of another release")
    view = memoryview(mapped)[_START:]
    if checked:
        digest = hashlib.sha256()
        for start in range(0, len(view), _BLOCK):
            digest.update(view[start : start + _BLOCK])
        if digest.digest() != mapped[len(_MAGIC) : _START]:
            raise UnsealedError("damaged")
    try:
        return arrow.ipc.open_file(arrow.pa.py_buffer(view))
    except arrow.pa.ArrowException as error:
        raise UnsealedError(str(error)) from error


def sound_table(reader: Any, schema: pa.Schema) -> pa.Table:
    """Return what a file holds, every offset and index of it checked.

    Args:
        reader: as `read_sealed` returns.
        schema: that it must have; its metadata may be another.

    Raises:
        UnsealedError: it is of another schema, or no writer of Arrow's makes such a file.
    """
    try:
        table = reader.read_all()
        if not table.schema.equals(schema):
            raise UnsealedError("of another schema")
        table.validate(full=True)
        if any(map(_has_nulls, table.columns)):
            raise UnsealedError("values are missing")
    except (arrow.pa.ArrowException, OSError) as error:  # Arrow's OSErrors are of no system call
        raise UnsealedError(str(error)) from error
    return table


def _has_nulls(column: pa.ChunkedArray) -> bool:
    dictionaries = column.chunks if arrow.pa.types.is_dictionary(column.type) else []
    return bool(column.null_count) or any(chunk.dictionary.null_count for chunk in dictionaries)


class _Digesting(io.RawIOBase):
    """A file to write to, and the SHA-256 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = 0
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self._file.write(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

"""Reading `.npy` files that are not trusted: nothing is unpickled, and sizes are checked before memory is allocated.

The format is described in NumPy's `numpy.lib.format`, whose own functions parse the header here.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from manifests.errors import ArrayFileError
from manifests.files.regularfile import open_regular
from manifests.format.schema import is_possible_shape
from manifests.text import without_addresses

NpyStream = BufferedIOBase
"""What a header or an array can be read from: an open file, bytes in memory, a member of a ZIP archive."""

AnyArray = npt.NDArray[np.generic]

NUMERIC_KINDS = "biufc"
"""The dtype kinds that a shard may have: bool, signed and unsigned integer, float, complex."""

LONGEST_HEADER = 1 << 17
"""Bytes; more than any header that NumPy reads."""

_LONGEST_REASON = 200
_BLOCK_BYTES = 1 << 20

_PARSING = threading.RLock()
_TRIES = 5

_HEADER_READERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
    # Version 3 differs only in that field names may be UTF-8; such dtypes are refused.
    (3, 0): npy_format.read_array_header_2_0,
}


@dataclass(frozen=True)
class NpyHeader:
    """The header of a `.npy` file.

    Attributes:
        shape: of the array.
        dtype: of the array, with its byte order.
        fortran_order: whether the first axis varies fastest in the file.
        offset: bytes before the first element.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran_order: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Size of the elements in bytes, without the header."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: NpyStream, name: str) -> NpyHeader:
    """Parse the header of an open file, and leave the file at the end of the header.

    Args:
        file: opened for reading bytes, at its start.
        name: of the file, for messages.

    Raises:
        ArrayFileError: there is no `.npy` header, its version is unknown, or its dtype is not numeric (objects, text, records).
    """
    try:
        version, parsed = _parsed(file)
    except Exception as error:
        # NumPy parses the header as Python source, which can fail in any way.
        # The first line of its message says what is wrong; the next ones advise to trust the file.
        reason = without_addresses(str(error).partition("\n")[0])[:_LONGEST_REASON] or type(error).__name__
        raise ArrayFileError(f"{name}: not a .npy file: {reason}") from error
    if parsed is None:
        raise ArrayFileError(f"{name}: .npy version {version} is not known; expected 1.0, 2.0 or 3.0")
    shape, fortran_order, dtype = parsed
    if dtype.hasobject:
        raise ArrayFileError(f"{name}: holds Python objects (dtype {dtype}), which only unpickling could read; expected numbers")
    if dtype.kind not in NUMERIC_KINDS:
        raise ArrayFileError(f"{name}: dtype {dtype} is not numeric")
    if not (all(type(axis) is int and axis >= 0 for axis in shape) and is_possible_shape(shape, dtype.itemsize)):
        raise ArrayFileError(f"{name}: the shape in its header is one that no array can have")
    return NpyHeader(tuple(shape), dtype, fortran_order, file.tell())


def _parsed(file: NpyStream) -> tuple[tuple[int, int], Any]:
    """Return the version of a header, and its fields as NumPy parses them; None if NumPy does not know the version.

    NumPy parses a header as Python source. CPython before 3.11.9 and 3.12.3 counts the parser's recursion depth for all threads
    together, and may raise a SystemError for a valid header (CPython issue 106905). So one thread parses at a time, and retries
    in case other code was parsing.
    """
    start = file.tell()
    for _ in range(_TRIES - 1):
        with contextlib.suppress(SystemError):
            return _parsed_once(file)
        file.seek(start)
    return _parsed_once(file)


def _parsed_once(file: NpyStream) -> tuple[tuple[int, int], Any]:
    with _PARSING:
        version = npy_format.read_magic(file)
        parse = _HEADER_READERS.get(version)
        if parse is None:
            return version, None
        start, size = file.tell(), int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
        if size > LONGEST_HEADER:  # NumPy would read so many bytes before it refuses them
            raise ValueError(f"its header claims {size:,} bytes; no header has more than {LONGEST_HEADER:,}")
        file.seek(start)
        return version, parse(file)


def read_file_header(path: Path) -> NpyHeader:
    """Parse a file's header and check the file's size against it.

    Raises:
        ArrayFileError: the file is missing or damaged, or its size is not the one that its header says.
    """
    with _opened(path) as file:
        header = read_header(file, str(path))
        _check_size(file, header, str(path))
        return header


def read_array(path: Path) -> AnyArray:
    """Read a file's array, C-contiguous and in the file's dtype.

    Raises:
        ArrayFileError: the file is missing, unsafe, truncated or longer than its header says.
    """
    with _opened(path) as file:
        return read_stream(file, str(path))


def read_row(path: Path, row: int) -> AnyArray:
    """Read one row of a pack: element `row` of the first axis.

    Raises:
        ArrayFileError: as for `read_array`, or the pack has no such row.
    """
    with _opened(path) as file:
        header = read_header(file, str(path))
        _check_size(file, header, str(path))
        check_row(header, row, str(path))
        count = math.prod(header.shape[1:])
        file.seek(header.offset + row * count * header.dtype.itemsize)
        return _read_elements(file, header.dtype, count, str(path)).reshape(header.shape[1:])


def check_row(header: NpyHeader, row: int, name: str) -> None:
    """Raise an error unless a pack with this header has this row.

    Args:
        header: of the pack.
        row: position on the first axis.
        name: of the file, for messages.

    Raises:
        ArrayFileError: there is no such row, or rows are not contiguous.
    """
    if not header.shape or not 0 <= row < header.shape[0]:
        raise ArrayFileError(f"{name}: has no row {row}; its shape is {header.shape}")
    if header.fortran_order:
        raise ArrayFileError(f"{name}: is in Fortran order, in which rows do not lie in one piece; expected C order for a pack")


def read_stream(file: NpyStream, name: str, *, size: int | None = None) -> AnyArray:
    """Read the array of a seekable open file (see `read_array`), in memory for one such array.

    Args:
        file: at its start.
        name: of the file, for messages.
        size: of the file in bytes; None to find it out by seeking to its end, for which an archive has to unpack it.
    """
    header = read_header(file, name)
    if size is None:
        _check_size(file, header, name)
    else:
        check_size(size, header, name)
    flat = _read_elements(file, header.dtype, math.prod(header.shape), name)
    if header.fortran_order and len(header.shape) > 1:
        return np.ascontiguousarray(flat.reshape(header.shape[::-1]).T)
    return flat.reshape(header.shape)


def _opened(path: Path) -> NpyStream:
    try:
        return open_regular(path)
    except FileNotFoundError as error:
        raise ArrayFileError(f"{path}: no such file") from error
    except OSError as error:
        raise ArrayFileError(f"{path}: cannot be opened: {error.strerror}") from error


def _check_size(file: NpyStream, header: NpyHeader, name: str) -> None:
    """Check a file's size against its header before anything is allocated."""
    size = file.seek(0, os.SEEK_END)
    file.seek(header.offset)
    check_size(size, header, name)


def check_size(size: int, header: NpyHeader, name: str) -> None:
    """Check a file's size in bytes against its header.

    Args:
        size: of the file.
        header: of the file.
        name: of the file, for messages.

    Raises:
        ArrayFileError: the file is shorter or longer.
    """
    expected = header.offset + header.nbytes
    if size != expected:
        state = "truncated" if size < expected else "longer than its header says"
        raise ArrayFileError(f"{name}: {state}: expected {expected} bytes for shape {header.shape} {header.dtype}, found {size}")


def _read_elements(file: NpyStream, dtype: np.dtype[np.generic], count: int, name: str) -> AnyArray:
    array = np.empty(count, dtype)
    rest = array.view(np.uint8).data if count else memoryview(b"")
    while rest:
        found = file.readinto(rest[:_BLOCK_BYTES])  # of all at once an archive would first make a copy
        if not found:
            raise ArrayFileError(f"{name}: shrank while it was read")
        rest = rest[found:]
    return array

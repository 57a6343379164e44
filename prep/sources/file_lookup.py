"""Which raw file a table's value means, among millions of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import array_of_bytes, number_array, positions_of
from prep.sources.files import without_raw_suffix

if TYPE_CHECKING:
    import pyarrow as pa

NO_FILE, SEVERAL_FILES = -1, -2


def _name(path: str) -> str:
    return path.rpartition("/")[2]


_WAYS: tuple[Callable[[str], str], ...] = (str, without_raw_suffix, _name, lambda path: without_raw_suffix(_name(path)))
"""How a value can name a file: by its path, its path without ending, its name, or its name without ending."""


def find_files(values: pa.ChunkedArray, paths: Sequence[str]) -> tuple[npt.NDArray[np.int64], dict[str, list[str]]]:
    """Find the file that each value means; the first of the ways to name files by which any file is found counts.

    Args:
        values: strings; one may begin with `./`.
        paths: of the files, all different; they need not be UTF-8.

    Returns:
        The position of each value's file, `NO_FILE` or `SEVERAL_FILES`: int64, shape (len(values),). And value, without `./` -> the
        paths of the several files that it could mean.
    """
    sought = _texts(values)
    found = np.full(len(sought), NO_FILE, dtype=np.int64)
    several: dict[str, list[str]] = {}
    for way in _WAYS:
        left = np.flatnonzero(found == NO_FILE)
        if not len(left):
            break
        wanted = sought if len(left) == len(sought) else sought.take(number_array(left))
        meant_by = positions_of(_names(way, paths), wanted)
        files = np.flatnonzero(meant_by >= 0)
        if not len(files):
            continue
        meant_by = meant_by[files]
        is_shared = np.bincount(meant_by, minlength=len(left)) > 1
        found[left[meant_by]] = files
        found[left[is_shared]] = SEVERAL_FILES
        shared = is_shared[meant_by]
        for file, number in zip(files[shared].tolist(), meant_by[shared].tolist(), strict=True):
            several.setdefault(wanted[number].as_py().decode(), []).append(paths[file])
        others = np.flatnonzero(found[left] == NO_FILE)  # some may be equal to one before, which alone was found
        if len(others):
            found[left[others]] = found[left[positions_of(wanted.take(number_array(others)), wanted)]]
    return found, several


def _texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values without `./` as bytes."""
    pa, pc = arrow.pa, arrow.pc
    values = values.cast(pa.large_string())
    if pc.any(pc.starts_with(values, "./")).as_py():
        values = pc.replace_substring_regex(values, r"^\./", "")
    return values.cast(pa.large_binary())


def _names(way: Callable[[str], str], paths: Sequence[str]) -> pa.ChunkedArray:
    """Return what names the files in one way, as bytes: those that are no UTF-8 differ from all that a table can hold."""
    kind = arrow.pa.large_binary()
    blocks = []
    for start in range(0, len(paths), arrow.ROWS_AT_ONCE):
        names = [way(path).encode(errors="surrogatepass") for path in paths[start : start + arrow.ROWS_AT_ONCE]]
        lengths = np.fromiter(map(len, names), dtype=np.int64, count=len(names))
        blocks.append(arrow.pa.Array.from_buffers(kind, len(names), array_of_bytes(lengths, b"".join(names)).buffers()))
    return arrow.pa.chunked_array(blocks, type=kind)

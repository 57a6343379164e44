"""Whole `.npy` files in memory as arrays: files that begin with the same bytes are of one layout, and a header is parsed once."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from manifests.errors import ArrayFileError
from manifests.format.npyfile import AnyArray, NpyHeader, read_header

_MOST_KEPT = 4096
"""Headers that are kept parsed; samples of several shapes rarely have more of them, and each is some 100 bytes."""


class Layouts:
    """Arrays of one dtype, whatever their shapes, byte order and order of elements."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        """Know no header yet; `dtype` is in native byte order."""
        self._dtype = dtype
        self._headers: dict[bytes, NpyHeader] = {}

    def array(self, file: npt.NDArray[np.uint8]) -> AnyArray | None:
        """Return the array that a file holds.

        Args:
            file: uint8, shape (k,): all of its bytes. The array looks into it if it can.

        Returns:
            C-contiguous, aligned, of the dtype; None if the file is anything but a sound one of such an array.
        """
        header = self._header(file)
        if header is None or header.offset + header.nbytes != len(file):
            return None
        order: Literal["F", "C"] = "F" if header.fortran_order else "C"
        array: AnyArray = np.ndarray(header.shape, header.dtype, file.data, header.offset, order=order)
        array = array.astype(self._dtype, order="C", copy=False)
        return array if array.flags.aligned else array.copy()

    def _header(self, file: npt.NDArray[np.uint8]) -> NpyHeader | None:
        # The length of the header's text stands behind six bytes that are the same in all files, and two of the version.
        width = 2 if file[6:7].tobytes() == b"\1" else 4
        start = file[: 8 + width + int.from_bytes(file[8 : 8 + width].tobytes(), "little")].tobytes()
        header = self._headers.get(start)
        if header is None:
            try:
                header = read_header(BytesIO(start), "")
            except ArrayFileError:
                return None
            if header.dtype.newbyteorder("=") != self._dtype:
                return None
            if len(self._headers) >= _MOST_KEPT:
                self._headers.clear()
            self._headers[start] = header
        return header

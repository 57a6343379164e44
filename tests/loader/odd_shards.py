"""Shards written otherwise than `np.save` writes them: sound ones in another layout, and damaged ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format


def plain(array: np.ndarray, file: Path) -> None:
    np.save(file, array)


def big_endian(array: np.ndarray, file: Path) -> None:
    np.save(file, array.astype(array.dtype.newbyteorder(">")))


def fortran(array: np.ndarray, file: Path) -> None:
    np.save(file, np.asarray(array, order="F"))


def padded(array: np.ndarray, file: Path) -> None:
    """A sound header that is longer than NumPy's."""
    header = repr(npy_format.header_data_from_array_1_0(array)).encode().ljust(373) + b"\n"
    file.write_bytes(npy_format.magic(1, 0) + len(header).to_bytes(2, "little") + header + array.tobytes())


def version_2(array: np.ndarray, file: Path) -> None:
    with open(file, "wb") as stream:
        npy_format.write_array(stream, array, version=(2, 0))


class Payload:
    """Makes a folder named `ran` when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder / "ran"),)


def break_missing(file: Path) -> None:
    file.unlink()


def break_empty(file: Path) -> None:
    file.write_bytes(b"")


def break_truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def break_header_only(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:128])


def break_longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def break_no_npy(file: Path) -> None:
    file.write_bytes(b"\x89PNG" + bytes(200))


def break_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def break_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def break_object(file: Path) -> None:
    np.save(file, np.array([Payload(file.parent)], dtype=object), allow_pickle=True)


def break_text(file: Path) -> None:
    np.save(file, np.array(["text"]))


def break_shape(file: Path) -> None:
    np.save(file, np.zeros((3, 4), np.float32))


def break_dtype(file: Path) -> None:
    np.save(file, np.zeros((4, 3), np.float64))


def break_same_size(file: Path) -> None:
    np.save(file, np.zeros((4, 3), np.int32))


def break_dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere.npy")


def break_zeros(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def break_outside(file: Path) -> None:
    """Put the file beside the dataset's folder, with a link to it."""
    outside = file.parents[2] / file.name
    file.rename(outside)
    file.symlink_to(outside)


def break_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)

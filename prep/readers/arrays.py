"""Reading `.npy` and `.npz` files. Nothing is ever unpickled."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, ClassVar, cast

from manifests.errors import ArrayFileError
from manifests.files.regularfile import open_regular
from manifests.format.npyfile import AnyArray, read_array, read_stream
from prep.errors import ItemError
from prep.readers.limits import MAX_MEMBER_BYTES
from prep.readers.parameters import TEXT, ReaderOptions, param
from prep.readers.reader import Reader, Reading, Wanted


def read_raw_array(path: Path, key: str | None) -> AnyArray:
    """Read the array of a file.

    Args:
        path: of a `.npy` or `.npz` file.
        key: name of the array within an `.npz`; None takes the only one.

    Returns:
        In the file's own shape and dtype, C-contiguous.

    Raises:
        ItemError: the file is damaged or unsafe, or its arrays leave open which one is meant.
    """
    try:
        return _read_npz(path, key) if path.suffix.lower() == ".npz" else read_array(path)
    except ArrayFileError as error:
        raise ItemError(str(error).removeprefix(f"{path}: ")) from error


def _read_npz(path: Path, key: str | None) -> AnyArray:
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            member = archive.getinfo(_member(archive, key))
            _check_claim(member)
            with cast("BufferedIOBase", archive.open(member)) as stream:  # typeshed knows it as IO
                return read_stream(stream, member.filename, size=member.file_size)
    except (ItemError, ArrayFileError):
        raise
    except Exception as error:
        # zipfile and the decompressors below it raise almost anything on damage, unknown compression and encryption.
        raise ItemError(f"cannot be read as .npz: {type(error).__name__}: {error}") from error


def _check_claim(member: zipfile.ZipInfo) -> None:
    if member.file_size > MAX_MEMBER_BYTES:
        raise ItemError(f"array {member.filename!r} claims {member.file_size:,} bytes; at most {MAX_MEMBER_BYTES:,} are unpacked")


def _member(archive: zipfile.ZipFile, key: str | None) -> str:
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    keys = ", ".join(repr(name.removesuffix(".npy")) for name in names) or "none"
    if key is not None:
        if f"{key}.npy" not in names:
            raise ItemError(f"has no array {key!r}; its arrays are {keys}")
        return f"{key}.npy"
    if len(names) != 1:
        raise ItemError(f"holds {len(names)} arrays ({keys}); choose one with --npz-key")
    return names[0]


@dataclass(frozen=True, kw_only=True)
class ArrayOptions(ReaderOptions):
    """Options of arrays.

    Attributes:
        npz_key: name of the array within an `.npz` file; None takes the only one.
    """

    npz_key: str | None = param(TEXT, "which array of .npz files to take", None)

    def canonical(self) -> dict[str, Any]:
        """Return the key. `channels` stands in every recipe since the first release: without it all would be built again."""
        return {"channels": None, "npz_key": self.npz_key}


class ArrayReader(Reader):
    """`.npy` and `.npz` files, as they are."""

    name: ClassVar[str] = "arrays"
    singular: ClassVar[str] = "array"
    files: ClassVar[str] = ".npy or .npz files"
    suffixes: ClassVar[frozenset[str]] = frozenset({".npy", ".npz"})
    Options: ClassVar[type[ReaderOptions]] = ArrayOptions

    def read(self, path: str, member: str, wanted: Wanted) -> Reading:  # noqa: ARG002  # a file is one array
        """Return the array of `read_raw_array`."""
        return Reading(array=read_raw_array(Path(path), getattr(wanted.options, "npz_key", None)))

"""Arrays from strangers: `.npy` and `.npz` read as they are, never unpickled, and nothing worse than an `ItemError`."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.errors import ItemError
from prep.readers import arrays
from prep.readers.arrays import read_raw_array

VALUES = np.arange(24).reshape(2, 3, 4)


def npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def npz(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def check_read(path: Path, expected: Any, key: str | None = None) -> None:
    found = read_raw_array(path, key)
    assert found.shape == expected.shape
    assert found.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)


@pytest.fixture
def pickled(tmp_path: Path) -> Any:
    """A pickle that makes a file when it is loaded, and where that file would lie."""
    marker = tmp_path / "was-unpickled"

    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, int]]:
            return os.mkdir, (str(marker), 0o700)

    pickle.loads(pickle.dumps(Trap()))  # noqa: S301  # our own
    marker.rmdir()
    return Trap(), marker


ARRAYS = [
    VALUES.astype(dtype) for dtype in ("bool", "uint8", "int16", "float16", "float32", "float64", "complex64", "<u2", ">u2", ">f8", ">c16")
] + [np.array(3.5), np.empty((0, 4)), np.asfortranarray(VALUES), np.asfortranarray(VALUES.astype(">i4")), VALUES[:, ::2], VALUES.T]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{array.shape}")
@pytest.mark.parametrize("ending", [".npy", ".NPY", ".npz", ".NpZ"])
def test_an_array_is_read_as_it_is(tmp_path: Path, ending: str, array: Any) -> None:
    path = tmp_path / f"a{ending}"
    if ending.lower() == ".npy":
        path.write_bytes(npy(array))
    else:
        npz(path, {"anything.npy": npy(array)})
    check_read(path, array)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saves_is_read(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "a.npz", x=VALUES, y=VALUES + 1)
    check_read(tmp_path / "a.npz", VALUES, "x")
    check_read(tmp_path / "a.npz", VALUES + 1, "y")


def test_the_only_array_needs_no_key(tmp_path: Path) -> None:
    check_read(npz(tmp_path / "a.npz", {"readme.txt": b"", "x.npy": npy(VALUES)}), VALUES)


@pytest.mark.parametrize(
    ("names", "key", "why"),
    [
        (["x.npy", "y.npy"], None, r"holds 2 arrays \('x', 'y'\); choose one with --npz-key"),
        ([], None, r"holds 0 arrays \(none\)"),
        (["readme.txt"], None, r"holds 0 arrays \(none\)"),
        (["x.npy", "y.npy"], "z", "has no array 'z'; its arrays are 'x', 'y'"),
        ([], "z", "has no array 'z'; its arrays are none"),
    ],
)
def test_a_key_must_name_one_array(tmp_path: Path, names: list[str], key: str | None, why: str) -> None:
    path = npz(tmp_path / "a.npz", {name: npy(VALUES) for name in names})
    with pytest.raises(ItemError, match=why):
        read_raw_array(path, key)


def test_a_key_means_nothing_to_a_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    check_read(tmp_path / "a.npy", VALUES, "x")


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_objects_are_never_unpickled(tmp_path: Path, ending: str, pickled: Any) -> None:
    trap, marker = pickled
    content = npy(np.array([trap], dtype=object), allow_pickle=True)
    path = tmp_path / f"a{ending}"
    if ending == ".npy":
        path.write_bytes(content)
    else:
        npz(path, {"x.npy": content})
    with pytest.raises(ItemError, match="holds Python objects"):
        read_raw_array(path, None)
    assert not marker.exists()


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_a_bare_pickle_is_no_array(tmp_path: Path, ending: str, pickled: Any) -> None:
    trap, marker = pickled
    path = tmp_path / f"a{ending}"
    path.write_bytes(pickle.dumps(trap))
    with pytest.raises(ItemError):
        read_raw_array(path, None)
    assert not marker.exists()


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([b"bytes"]), np.array(["2020-01-01"], "M8[D]"), np.zeros(2, "i4,f4")])
def test_only_numbers_are_read(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ItemError, match="not numeric"):
        read_raw_array(tmp_path / "a.npy", None)


def damaged(path: Path, change: Callable[[bytearray], object]) -> Path:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "not a .npy file"), (b"text", "not a .npy file"), (npy(VALUES)[:-1], "truncated"), (npy(VALUES) + b"\0", "longer than")],
)
def test_a_damaged_npy_is_a_bad_item(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ItemError, match=why) as caught:
        read_raw_array(tmp_path / "a.npy", None)
    assert str(tmp_path) not in str(caught.value)  # the failure names its source itself
    npz(tmp_path / "a.npz", {"x.npy": content})
    with pytest.raises(ItemError, match=rf"x\.npy: {why}"):
        read_raw_array(tmp_path / "a.npz", None)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", npy(VALUES)], ids=["empty", "text", "stub", "npy"])
def test_what_is_no_zip_is_a_bad_item(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ItemError, match=r"cannot be read as \.npz"):
        read_raw_array(tmp_path / "a.npz", None)


def test_a_file_that_is_not_there_is_a_bad_item(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ItemError, match=r"(?i)no such file"):
            read_raw_array(tmp_path / name, None)


def test_an_encrypted_npz_is_a_bad_item(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", {"x.npy": npy(VALUES)}, zipfile.ZIP_STORED)

    def set_encrypted_flag(content: bytearray) -> None:
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(mark) + offset] |= 1

    with pytest.raises(ItemError, match="encrypted"):
        read_raw_array(damaged(path, set_encrypted_flag), None)


def test_a_compression_that_is_not_known_is_a_bad_item(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", {"x.npy": npy(VALUES)}, zipfile.ZIP_STORED)

    def set_method(content: bytearray) -> None:
        for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            content[content.index(mark) + offset] = 99

    with pytest.raises(ItemError, match="NotImplementedError"):
        read_raw_array(damaged(path, set_method), None)


def test_a_wrong_checksum_is_a_bad_item(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", {"x.npy": npy(VALUES)}, zipfile.ZIP_STORED)

    def flip(content: bytearray) -> None:
        content[len("x.npy") + 30 + 200] ^= 1

    with pytest.raises(ItemError, match="CRC"):
        read_raw_array(damaged(path, flip), None)


def test_a_member_that_claims_too_much_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(tmp_path / "a.npz", {"x.npy": npy(VALUES)})
    size = len(npy(VALUES))
    claim = struct.pack("<I", 0xFFFF_FFF0)
    damaged(path, lambda content: content.__setitem__(slice(content.index(b"PK\x01\x02") + 24, content.index(b"PK\x01\x02") + 28), claim))
    monkeypatch.setattr(arrays, "MAX_MEMBER_BYTES", 1 << 31)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("is unpacked"))
    with pytest.raises(ItemError, match=r"array 'x.npy' claims 4,294,967,280 bytes; at most 2,147,483,648 are unpacked"):
        read_raw_array(path, None)
    assert size < 1000


def test_an_array_whose_header_claims_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = npy(np.zeros(1)).replace(b"(1,)", b"(1000000000000000,)", 1)
    for name in ("a.npy", "a.npz"):
        path = tmp_path / name
        if name.endswith("y"):
            path.write_bytes(header)
        else:
            npz(path, {"x.npy": header})
        with pytest.raises(ItemError):
            read_raw_array(path, None)


@settings(max_examples=200)
@given(
    compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_a_damaged_npz_is_read_or_is_a_bad_item(
    tmp_path_factory: pytest.TempPathFactory, compression: int, flips: list[tuple[float, int]]
) -> None:
    noise = np.random.default_rng(0).integers(0, 20, 300)
    path = npz(tmp_path_factory.getbasetemp() / "damaged.npz", {"été.npy": npy(noise)}, compression)

    def flip(content: bytearray) -> None:
        for where, bits in flips:
            content[int(where * len(content))] ^= bits

    damaged(path, flip)
    with contextlib.suppress(ItemError):  # and no other error
        np.testing.assert_array_equal(read_raw_array(path, None), noise)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_npz_takes_no_more_than_its_array(tmp_path: Path, compression: int) -> None:
    array = np.zeros(20_000_000, dtype=np.uint8)
    path = npz(tmp_path / "a.npz", {"x.npy": npy(array)}, compression)
    tracemalloc.start()
    try:
        assert read_raw_array(path, None).nbytes == array.nbytes
        assert tracemalloc.get_traced_memory()[1] < 1.3 * array.nbytes
    finally:
        tracemalloc.stop()

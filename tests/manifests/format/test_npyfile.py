"""`.npy` files from strangers: read if they are what they say, refused with one sentence otherwise, never unpickled."""

from __future__ import annotations

import io
import os
import pickle
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.lib import format as npy_format

from manifests.errors import ArrayFileError
from manifests.format import npyfile
from manifests.format.npyfile import NpyHeader, check_row, read_array, read_file_header, read_header, read_row, read_stream

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

numeric = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="="),
    npst.unsigned_integer_dtypes(endianness="="),
    npst.floating_dtypes(endianness="="),
    npst.complex_number_dtypes(endianness="="),
    npst.integer_dtypes(endianness=">", sizes=(16, 32, 64)),
    npst.floating_dtypes(endianness=">", sizes=(16, 32, 64)),
)
arrays = npst.arrays(numeric, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


def header_bytes(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    """Return a file's beginning with this header text, well-formed or not."""
    encoded = text.encode("latin-1")
    return b"\x93NUMPY" + bytes(version) + len(encoded).to_bytes(2 if version == (1, 0) else 4, "little") + encoded


def header_text(descr: str = "'<f4'", fortran_order: str = "False", shape: str = "(1,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}\n"


def save(path: Path, array: np.ndarray[Any, Any], version: tuple[int, int] | None = None) -> Path:
    with warnings.catch_warnings(), open(path, "wb") as file:
        warnings.simplefilter("ignore", UserWarning)  # NumPy's on versions 2 and 3
        npy_format.write_array(file, array, version=version, allow_pickle=False)
    return path


def check_same(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    """Check shape, dtype with its byte order, layout and bits (so that NaN equals itself)."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert found.dtype.str == expected.dtype.str
    assert found.flags.c_contiguous
    assert found.tobytes() == expected.tobytes()


def check_refused(path: Path, match: str) -> None:
    """Check that every way to read the file refuses it in one line that names it."""
    for read in (read_array, read_file_header, lambda p: read_row(p, 0)):
        with pytest.raises(ArrayFileError, match=match) as caught:
            read(path)  # type: ignore[operator]
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@in_one_folder
@given(arrays, st.booleans(), st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_any_numeric_array_survives_a_round_trip(
    tmp_path: Path,
    array: np.ndarray[Any, Any],
    fortran: bool,
    version: tuple[int, int],
) -> None:
    path = save(tmp_path / "a.npy", np.asfortranarray(array) if fortran and array.ndim else array, version)
    check_same(read_array(path), array)
    check_same(read_stream(io.BytesIO(path.read_bytes()), "bytes"), array)
    header = read_file_header(path)
    assert (header.shape, header.dtype, header.nbytes) == (array.shape, array.dtype, array.nbytes)
    assert header.offset + header.nbytes == path.stat().st_size


@in_one_folder
@given(npst.arrays(numeric, npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)))
def test_each_row_of_a_pack(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    path = save(tmp_path / "pack.npy", array)
    for row in range(len(array)):
        check_same(read_row(path, row), np.asarray(array[row], dtype=array.dtype))


@pytest.mark.parametrize(
    "array",
    [
        np.float32(3.5),
        np.zeros((0,), np.uint8),
        np.zeros((3, 0, 2), np.int64),
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4)),
        np.array([True, False]),
        np.array([1 + 2j], dtype=np.complex64),
        np.array([np.nan, -0.0, np.inf]),
        np.arange(3, dtype=np.longdouble),
    ],
    ids=["0-d", "empty", "empty axis", "big-endian", "Fortran", "bool", "complex", "nan", "longdouble"],
)
def test_kinds_of_arrays(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    np.save(tmp_path / "a.npy", array)
    check_same(read_array(tmp_path / "a.npy"), np.asarray(array, order="C"))


def test_the_header_is_left_behind_with_the_file_at_the_first_element() -> None:
    file = io.BytesIO()
    np.save(file, np.asfortranarray(np.zeros((2, 3), ">f8")))
    file.seek(0)
    header = read_header(file, "bytes")
    assert header == NpyHeader(shape=(2, 3), dtype=np.dtype(">f8"), fortran_order=True, offset=128)
    assert file.tell() == 128
    assert header.nbytes == 48


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (self.marker,)  # type: ignore[return-value]


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    marker, path = tmp_path / "unpickled", tmp_path / "a.npy"
    np.save(path, np.array([Bomb(marker)], dtype=object), allow_pickle=True)
    check_refused(path, r"a\.npy: holds Python objects .* only unpickling could read; expected numbers")
    assert not marker.exists()
    np.load(path, allow_pickle=True)
    assert marker.exists(), "the file does what this test fears"


def test_a_bare_pickle_is_never_unpickled(tmp_path: Path) -> None:
    marker, path = tmp_path / "unpickled", tmp_path / "a.npy"
    path.write_bytes(pickle.dumps(Bomb(marker)))
    check_refused(path, "not a .npy file")
    assert not marker.exists()


@pytest.mark.parametrize(
    "array",
    [
        np.array(["text"]),
        np.array([b"bytes"]),
        np.zeros(2, dtype=[("x", "f4"), ("y", "i4")]),
        np.zeros(2, dtype="V8"),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.zeros(2, dtype="timedelta64[s]"),
    ],
    ids=["text", "bytes", "record", "void", "datetime", "timedelta"],
)
def test_other_dtypes_are_refused(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=False)
    check_refused(tmp_path / "a.npy", "dtype .* is not numeric")


WHOLE = header_bytes(header_text(shape="(2, 3)")) + bytes(24)


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(WHOLE[:size])
    check_refused(path, "not a .npy file" if size < len(WHOLE) - 24 else f"truncated: expected {len(WHOLE)} bytes .*, found {size}")


def test_a_whole_file_is_not_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(WHOLE)
    check_same(read_array(tmp_path / "a.npy"), np.zeros((2, 3), "<f4"))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not a .npy file"),
        (bytes(500), "not a .npy file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a .npy file"),
        (b"PK\x03\x04" + bytes(100), "not a .npy file"),
        (WHOLE + b"\0", "longer than its header says: expected .* bytes for shape \\(2, 3\\) float32, found"),
        (b"\x93NUMPY\x04\x00" + WHOLE[8:], r"version \(4, 0\) is not known; expected 1.0, 2.0 or 3.0"),
        (b"\x93NUMPY\x01\x01" + WHOLE[8:], r"version \(1, 1\) is not known"),
        (header_bytes("no dictionary"), "not a .npy file"),
        (header_bytes("{}"), "not a .npy file"),
        (header_bytes(header_text(shape="3")), "not a .npy file"),
        (header_bytes(header_text(shape="(1.5,)")), "not a .npy file"),
        (header_bytes(header_text(descr="'no such dtype'")), "not a .npy file"),
        (header_bytes(header_text(descr="('<f4',)")), "not a .npy file"),
        (header_bytes(header_text(descr="'i4,('")), "not a .npy file"),
        (header_bytes(header_text(descr="('<f4', (2,))")), "is not numeric"),
        (header_bytes(header_text(fortran_order="3")), "not a .npy file"),
        (header_bytes(header_text() + " " * 20_000), "not a .npy file"),  # NumPy advises to trust such a file
        (header_bytes("-" * 8_000 + "1"), "not a .npy file: ."),
        (header_bytes("+".join("1" * 4_000)), "not a .npy file"),
    ],
)
def test_what_is_no_array_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    check_refused(tmp_path / "a.npy", match)


@pytest.mark.parametrize(
    "shape",
    [
        "(-1,)",
        "(True,)",
        "(2, -3)",
        f"({2**63},)",
        f"({2**62},)",
        f"(0, {2**63})",
        f"(0, {10**18}, {10**18})",
        "(1" + "0" * 4000 + ", 1" + "0" * 4000 + ")",
        "(0x" + "f" * 8000 + ",)",
        "(" + "1," * 65 + ")",
    ],
)
def test_a_shape_that_no_array_can_have_is_refused(tmp_path: Path, shape: str) -> None:
    (tmp_path / "a.npy").write_bytes(header_bytes(header_text(shape=shape)) + bytes(4))
    check_refused(tmp_path / "a.npy", "one that no array can have")


@pytest.mark.parametrize("shape", [(10**15,), (10**5,) * 3, (1, 10**15), (2**61 - 1,)])
def test_a_huge_shape_is_refused_before_anything_is_allocated(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "a.npy").write_bytes(header_bytes(header_text(shape=repr(shape))) + bytes(100))
    tracemalloc.start()
    try:
        check_refused(tmp_path / "a.npy", "truncated")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


@in_one_folder
@given(
    st.one_of(st.text(st.characters(max_codepoint=255), max_size=80), st.builds(header_text, *[st.text("'<f4(),[]1-x:0", max_size=12)] * 3))
)
def test_any_header_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(header_bytes(text) + bytes(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Python and NumPy say of odd literals
        try:
            array = read_array(path)
        except ArrayFileError as error:
            assert str(path) in str(error)  # noqa: PT017  # either end is right
        else:
            assert array.nbytes == 4


def test_an_array_from_python_2_is_read_as_numpy_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(header_bytes(header_text(shape="(1L,)")) + bytes(4))
    with pytest.warns(UserWarning, match="Python 2"):
        check_same(read_array(tmp_path / "a.npy"), np.zeros(1, "<f4"))


@pytest.mark.parametrize("row", [-1, 2, 10**17])
def test_a_pack_has_no_row_beyond_its_ends(tmp_path: Path, row: int) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    with pytest.raises(ArrayFileError, match=rf"a\.npy: has no row {row}; its shape is \(2, 3\)"):
        read_row(tmp_path / "a.npy", row)


def test_a_single_number_has_no_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.float32(1))
    with pytest.raises(ArrayFileError, match="has no row 0"):
        read_row(tmp_path / "a.npy", 0)


def test_a_pack_in_fortran_order_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(np.zeros((2, 3))))
    with pytest.raises(ArrayFileError, match="is in Fortran order"):
        read_row(tmp_path / "a.npy", 0)


def test_a_row_of_no_elements(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 0, 3), np.uint8))
    check_same(read_row(tmp_path / "a.npy", 1), np.zeros((0, 3), np.uint8))


def test_a_header_can_be_held_against_a_row_without_a_file() -> None:
    header = NpyHeader(shape=(2, 3), dtype=np.dtype("u1"), fortran_order=False, offset=128)
    check_row(header, 1, "pack")
    with pytest.raises(ArrayFileError, match="pack: has no row 2"):
        check_row(header, 2, "pack")


def test_a_missing_file(tmp_path: Path) -> None:
    check_refused(tmp_path / "a.npy", "no such file")


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.npy").mkdir()
    check_refused(tmp_path / "a.npy", "cannot be opened: Is a directory")


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    check_refused(tmp_path / "a" / "b.npy", "cannot be opened: Not a directory")


class Shrinking(io.BytesIO):
    """Says it is whole and then is not, as a file that is cut while it is read."""

    def readinto(self, buffer: Any, /) -> int:
        return super().readinto(memoryview(buffer)[:-1])


def test_a_file_that_shrinks_while_it_is_read() -> None:
    with pytest.raises(ArrayFileError, match="bytes: shrank while it was read"):
        read_stream(Shrinking(WHOLE), "bytes")


def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe.npy"
    os.mkfifo(path)
    with pytest.raises(ArrayFileError, match="no regular file"):
        read_array(path)


def test_an_array_without_axes_stays_one_whatever_its_header_says_of_the_order(tmp_path: Path) -> None:
    path = tmp_path / "scalar.npy"
    header = io.BytesIO()
    npy_format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": True, "shape": ()})
    path.write_bytes(header.getvalue() + np.float64(7).tobytes())
    assert read_array(path).shape == ()
    assert read_array(path) == 7


def test_a_header_is_parsed_again_where_another_thread_got_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    parse, calls = npyfile._HEADER_READERS[1, 0], []

    def parse_late(file: Any) -> Any:
        calls.append(file.tell())
        found = parse(file)
        if len(calls) < 3:
            raise SystemError("AST constructor recursion depth mismatch (before=54, after=48)")
        return found

    monkeypatch.setitem(npyfile._HEADER_READERS, (1, 0), parse_late)
    assert read_array(tmp_path / "a.npy").tolist() == [0, 1, 2]
    assert calls == [8, 8, 8]
    calls[:] = []
    monkeypatch.setattr(npyfile, "_TRIES", 2)
    with pytest.raises(ArrayFileError, match="recursion depth"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize("version", [(2, 0), (3, 0)])
def test_a_header_that_claims_more_than_any_has_costs_nothing(tmp_path: Path, version: tuple[int, int]) -> None:
    path = tmp_path / "sparse.npy"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY" + bytes(version) + (100_000_000).to_bytes(4, "little") + b"{'descr': '<f4', ")
        file.truncate(200_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(
            ArrayFileError, match=r"sparse\.npy: not a \.npy file: its header claims 100,000,000 bytes; no header has more than"
        ):
            read_array(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_what_is_wrong_with_a_header_is_said_alike_each_time() -> None:
    file = io.BytesIO(header_bytes(header_text(shape="(oops,)")) + bytes(4))
    with pytest.raises(ArrayFileError, match=r"malformed node or string on line 1: <ast\.Name object>$"):
        read_header(file, "bytes")

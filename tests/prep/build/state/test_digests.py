"""Digests as bytes: found among others, and written and read as a manifest has them."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from manifests.rows.buffers import string_array
from prep.build.state.digests import DigestFinder, digests_of, hex_column


def rows_of(*digests: bytes) -> np.ndarray:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)


def digest(number: int) -> bytes:
    return hashlib.sha256(bytes([number])).digest()


@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(0, 15), max_size=20))
def test_a_digest_is_found_where_it_stands(among: list[int], sought: list[int]) -> None:
    found = DigestFinder(rows_of(*map(digest, among))).positions(rows_of(*map(digest, sought)))
    for number, position in zip(sought, found.tolist(), strict=True):
        assert position == (among.index(number) if number in among else -1)


def test_digests_that_begin_alike_are_told_apart() -> None:
    alike = [b"8 bytes." + bytes([number] * 24) for number in range(5)]
    others = [b"8 bytes." + bytes([9] * 24), bytes(32), bytes([255] * 32)]
    assert DigestFinder(rows_of(*alike)).positions(rows_of(*reversed(alike), *others)).tolist() == [4, 3, 2, 1, 0, -1, -1, -1]


def digests_in(texts: list[str]) -> list[bytes]:
    column = pa.chunked_array([string_array(texts[:2]), string_array(texts[2:])])
    return [row.tobytes() for row in digests_of(column)]


def test_a_column_of_digests_comes_back() -> None:
    digests = [digest(number) for number in range(5)]
    column = hex_column(rows_of(*digests))
    assert column.to_pylist() == [one.hex() for one in digests]
    assert digests_in(column.to_pylist()) == digests
    assert digests_in([]) == []


def test_what_is_no_digest_is_none() -> None:
    good = digest(1).hex()
    for bad in ("", good[:-1], good.upper(), f" {good[1:]}", f"{good[:-2]} x", "é" * 64, good[:-2] + "  "):
        assert digests_in([good, bad, good]) == [digest(1), bytes(32), digest(1)]

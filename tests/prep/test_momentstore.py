"""What is remembered of shards comes back, or nothing does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prep.moments import moments_of
from prep.momentstore import keep_moments, load_moments

KNOWN = {"ab" * 32: moments_of(np.arange(6.0).reshape(2, 3)), "00" * 32: "", "cd" * 32: moments_of(np.zeros(()))}


def test_moments_come_back(tmp_path: Path) -> None:
    keep_moments(KNOWN, tmp_path)
    assert load_moments(tmp_path) == KNOWN
    keep_moments({}, tmp_path)
    assert load_moments(tmp_path) == {}


def test_equal_moments_give_equal_bytes(tmp_path: Path) -> None:
    for name, known in (("a", KNOWN), ("b", dict(reversed(KNOWN.items())))):
        (tmp_path / name).mkdir()
        keep_moments(known, tmp_path / name)
    assert (tmp_path / "a" / "moments").read_bytes() == (tmp_path / "b" / "moments").read_bytes()


def test_nothing_is_remembered_where_there_is_no_folder(tmp_path: Path) -> None:
    keep_moments(KNOWN, tmp_path / "absent")
    assert load_moments(tmp_path / "absent") == {}


@pytest.mark.parametrize("at", range(0, 700, 17))
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, at: int) -> None:
    keep_moments(KNOWN, tmp_path)
    path = tmp_path / "moments"
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 0x5A
    path.write_bytes(content)
    assert load_moments(tmp_path) == {}
    path.write_bytes(content[:at])
    assert load_moments(tmp_path) == {}

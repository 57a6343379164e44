"""What is remembered of shards comes back, or nothing does."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from prep.errors import OutputError
from prep.moments import moments_of
from prep.momentsource import MomentBlock
from prep.momentstore import StoredMoments, keep_moments

ARRAYS = [np.arange(6.0).reshape(2, 3), np.zeros(3, np.complex64), np.zeros(()), np.ones((4, 3))]


def block_of(*arrays: np.ndarray) -> MomentBlock:
    each = [moments_of(array) for array in arrays]
    digests = b"".join(hashlib.sha256(array.tobytes()).digest() for array in arrays)
    return MomentBlock(
        digests=np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32), lengths=np.array(list(map(len, each))), moments=b"".join(each)
    )


BLOCKS = [block_of(*ARRAYS[:3]), block_of(*ARRAYS[3:])]


def read(stored: StoredMoments, *which: int) -> list[bytes]:
    """Return the moments of some shards, each for itself."""
    each = []
    for block in stored.read(np.array(which, dtype=np.int64)):
        ends = np.cumsum(block.lengths).tolist()
        each += [block.moments[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return each


def test_moments_come_back_in_any_order(tmp_path: Path) -> None:
    keep_moments(BLOCKS, tmp_path)
    stored = StoredMoments(tmp_path)
    np.testing.assert_array_equal(stored.digests, np.concatenate([block.digests for block in BLOCKS]))
    for which in ([0, 1, 2, 3], [3, 0, 3, 2], [1], []):
        assert read(stored, *which) == [moments_of(ARRAYS[number]) for number in which]
    keep_moments([], tmp_path)
    assert len(StoredMoments(tmp_path).digests) == 0


def test_more_blocks_than_are_held_come_back(tmp_path: Path) -> None:
    arrays = [np.full((2, 3), number) for number in range(40)]
    keep_moments([block_of(array) for array in arrays], tmp_path)
    which = [*range(40), *range(39, -1, -1)]
    assert read(StoredMoments(tmp_path), *which) == [moments_of(arrays[number]) for number in which]


def test_equal_moments_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        keep_moments(iter(BLOCKS), tmp_path / name)
    assert (tmp_path / "a" / "moments").read_bytes() == (tmp_path / "b" / "moments").read_bytes()


def test_nothing_is_remembered_where_there_is_no_folder(tmp_path: Path) -> None:
    keep_moments(BLOCKS, tmp_path / "absent")
    assert len(StoredMoments(tmp_path / "absent").digests) == 0


@pytest.mark.parametrize("at", range(0, 700, 17))
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, at: int) -> None:
    keep_moments(BLOCKS, tmp_path)
    path = tmp_path / "moments"
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 0x5A
    path.write_bytes(content)
    assert len(StoredMoments(tmp_path).digests) == 0
    path.write_bytes(content[:at])
    assert len(StoredMoments(tmp_path).digests) == 0


def test_a_file_that_goes_while_it_is_needed_is_told(tmp_path: Path) -> None:
    keep_moments(BLOCKS, tmp_path)
    stored = StoredMoments(tmp_path)
    (tmp_path / "moments").unlink()
    with pytest.raises(OutputError, match="build again"):
        read(stored, 0)


def test_a_pipe_in_their_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "moments")
    assert len(StoredMoments(tmp_path).digests) == 0

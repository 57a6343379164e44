"""What is remembered of raw files: given back as it was, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy_format

from manifests.strings import PackedStrings
from prep.known import Known, facts_row
from prep.records import Records
from prep.sources.facts import ImageFacts

FACTS = ImageFacts(height=2, width=3, gray=False, depth="uint8", alpha=True, animated=False)
FACTS_ROWS = 2


@pytest.fixture
def known() -> Known:
    """Something of each kind: headers, contents and fingerprints of three files, of one of which little is known."""
    names = PackedStrings(["a.png", "b/c.png", "d.png"])
    records = Records(names, names, names, sizes=np.array([1, 2, 3]), times=np.array([4, 5, 6]))
    found = Known.nothing(records).with_prints("r" * 64, np.arange(3), np.array(["0" * 32, "1" * 32, ""], dtype="S32"))
    for position in range(FACTS_ROWS):
        found.facts[position] = facts_row(FACTS)
        found.digests[position] = position + 1
    return found


@pytest.fixture
def path(known: Known, tmp_path: Path) -> Path:
    known.save(tmp_path / "known")
    return tmp_path / "known"


def test_what_is_kept_comes_back(known: Known, path: Path) -> None:
    loaded = Known.load(path)
    assert loaded is not None
    assert loaded.equals(known)
    assert list(loaded.sources) == list(known.sources)


def test_nothing_comes_of_no_file(tmp_path: Path) -> None:
    assert Known.load(tmp_path / "known") is None


def test_one_flipped_bit_anywhere_and_nothing_is_believed(path: Path) -> None:
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        assert Known.load(path) is None, position


def test_nor_is_what_was_cut_short(path: Path) -> None:
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert Known.load(path) is None, length


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("sizes", np.zeros(4, dtype=np.int64)),
        ("times", np.zeros(3, dtype=np.int32)),
        ("facts", np.zeros(3, dtype=np.int64)),
        ("digests", np.zeros((3, 31), dtype=np.uint8)),
        ("prints", np.zeros(2, dtype="S32")),
    ],
)
def test_nor_what_does_not_belong_together_though_its_digest_is_right(name: str, array: np.ndarray, known: Known, path: Path) -> None:
    object.__setattr__(known, name, array)
    if name == "digests":
        array[:] = 1  # else they are left out
    known.save(path)
    assert Known.load(path) is None


def test_nor_an_array_that_would_go_on_behind_the_files_end(known: Known, path: Path) -> None:
    content = path.read_bytes()[:-32]
    header = b"'shape': (3,)"
    assert header in content
    longer = content.replace(header, b"'shape': (9,)")
    path.write_bytes(longer + hashlib.sha256(longer).digest())
    assert Known.load(path) is None


def test_nor_objects(path: Path) -> None:
    first, _, rest = path.read_bytes()[:-32].partition(b"\n")
    head = json.loads(first)
    with path.open("wb") as file:
        file.write(json.dumps(head | {"arrays": ["sizes"]}).encode() + b"\n")
        file.write(b"\0" * (-file.tell() % 64))
        npy_format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (3,)})
        file.write(rest)
    content = path.read_bytes()
    path.write_bytes(content + hashlib.sha256(content).digest())
    assert Known.load(path) is None


def test_a_pipe_in_its_place_is_not_waited_for(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
    assert Known.load(path) is None

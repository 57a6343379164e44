"""Memory of a whole build's main process: ten million records must fit in 4 GB, and a few objects for each would not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import prep

MOST_BYTES = 300
"""Of peak memory for each further record. An entry of a dictionary by ID takes 175 bytes, and its value comes on top."""

MOST_BYTES_AGAIN = 560
"""The same of a build after one in a hundred changed. At these numbers of records, blocks of rows still grow: from 200,000 to 400,000 it is
405, of which 80 are pages of the cache of the old manifest, which the system can take back."""

FEW, MANY = 70_000, 140_000
"""Beyond most blocks of rows that are handled together, whose memory does not grow."""

SCRIPT = """
import resource
import sys
from pathlib import Path

from prep import BuildOptions, build_shards
from prep.splits import parse_splits

options = BuildOptions(workers=2, splits=parse_splits("train=0.8,val=0.1,test=0.1", 0))
if __name__ == "__main__":
    summary = build_shards(sys.argv[1], sys.argv[2], options)
    assert [summary.added, summary.rebuilt, summary.kept] == list(map(int, sys.argv[3:])), summary
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def write_arrays(source: Path, count: int) -> None:
    """Write small arrays of three channels."""
    header = b"".join(npy_pieces())
    for number in range(count):
        if number < 100:
            (source / f"class-{number:02d}").mkdir(parents=True)
        (source / f"class-{number % 100:02d}" / f"image-{number:08d}.npy").write_bytes(header + number.to_bytes(12, "little"))


def change_some(source: Path) -> int:
    """Give one array in a hundred other values; return how many."""
    changed = sorted(source.rglob("*.npy"))[::100]
    for path in changed:
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
    return len(changed)


def peak_of_a_build(source: Path, out: Path, *expected: int) -> int:
    """Build a dataset; return the most bytes that the main process held.

    Args:
        source: of the arrays.
        out: of the dataset.
        expected: how many are added, rebuilt and kept.
    """
    # At ten million, arrays are so large that the system takes back each one that goes; so let it be here.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", SCRIPT, str(source), str(out), *map(str, expected)]
    root = Path(prep.__file__).parents[1]
    return int(subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, text=True).stdout)


def npy_pieces() -> tuple[bytes, bytes]:
    """Return what an array of two by two pixels and three channels begins with."""
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), }".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little"), text.encode()


@pytest.mark.slow
def test_a_further_record_takes_few_bytes(tmp_path: Path) -> None:
    peaks, peaks_again = [], []
    for count in (FEW, MANY):
        source, out = tmp_path / f"raw-{count}", tmp_path / f"data-{count}"
        write_arrays(source, count)
        peaks.append(peak_of_a_build(source, out, count, 0, 0))
        changed = change_some(source)
        peaks_again.append(peak_of_a_build(source, out, 0, changed, count - changed))
    bytes_each, bytes_each_again = ((many - few) / (MANY - FEW) for few, many in (peaks, peaks_again))
    assert bytes_each <= MOST_BYTES
    assert bytes_each_again <= MOST_BYTES_AGAIN

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

FEW, MANY = 40_000, 80_000
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
    assert summary.added == int(sys.argv[3]), summary
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak_of_a_build(folder: Path, count: int) -> int:
    """Build a dataset of small arrays of three channels; return the most bytes that the main process held."""
    header, source = b"".join(npy_pieces()), folder / f"raw-{count}"
    for number in range(count):
        if number < 100:
            (source / f"class-{number:02d}").mkdir(parents=True)
        (source / f"class-{number % 100:02d}" / f"image-{number:08d}.npy").write_bytes(header + number.to_bytes(12, "little"))
    # At ten million, arrays are so large that the system takes back each one that goes; so let it be here.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", SCRIPT, str(source), str(folder / f"data-{count}"), str(count)]
    root = Path(prep.__file__).parents[1]
    return int(subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, text=True).stdout)


def npy_pieces() -> tuple[bytes, bytes]:
    """Return what an array of two by two pixels and three channels begins with."""
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), }".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little"), text.encode()


@pytest.mark.slow
def test_a_further_record_takes_few_bytes(tmp_path: Path) -> None:
    few, many = (peak_of_a_build(tmp_path, count) for count in (FEW, MANY))
    assert (many - few) / (MANY - FEW) <= MOST_BYTES

"""Memory of listing and planning: ten million records must fit in 4 GB, with all that stands beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import prep

MOST_BYTES = 750
"""Of peak memory for each record at this number, at which blocks and buffers still count; the more records, the fewer bytes each."""

SCRIPT = """
import resource
import sys
from pathlib import Path

import numpy as np

from manifests.manifest import Manifest
from manifests.metadata import Metadata
from manifests.table import TableBuilder
from prep import fingerprints, plan, present
from prep.known import Known
from prep.sources.folder import list_folder
from prep.survey import Survey

count = int(sys.argv[1])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = peak()
paths = [f"class-{number % 100:02d}/image-{number:08d}.png" for number in range(count)]
paths.sort()
stats = np.stack([np.arange(count), np.full(count, 10**18)], axis=1)
records = list_folder(Path("raw"), paths, "images", allow_empty_labels=False, stats=stats).records
del paths, stats
known = Known.nothing(records).of(records)
Survey(records.ids, known.facts).notes()
prints = fingerprints.stat_prints(records, "recipe", known.prints_for("recipe", np.arange(count)))
other = fingerprints.content_prints(known.digests, "recipe")
builder = TableBuilder(["id", "label", "source", "fingerprint"])
for start in range(0, count, 65536):
    taken = records[start : start + 65536]
    columns = {
        "id": [record.id for record in taken],
        "label": [record.label for record in taken],
        "source": [record.source for record in taken],
        "fingerprint": [item.decode() for item in prints[start : start + 65536].tolist()],
    }
    builder.add(columns)
old = Manifest(builder.table(), Path("data"), Metadata())
del builder, taken, columns
present._listed = lambda folder: {f"image-{number:08d}.npy": 1 for number in range(int(folder[-2:]), count, 100)}
made = plan.make_plan(records, plan.Prospect(wanted=prints, other=other, by_content=False), "recipe", old, "recipe")
assert len(made.keep) == count, (len(made.add), len(made.rebuild))
print((peak() - before) / count)
"""


@pytest.mark.parametrize("count", [200_000])
def test_a_record_takes_few_bytes(count: int) -> None:
    command = [sys.executable, "-c", SCRIPT, str(count)]
    done = subprocess.run(command, cwd=Path(prep.__file__).parents[1], check=True, capture_output=True, text=True)
    assert float(done.stdout) <= MOST_BYTES

"""Worker processes where they are meant to pay off: a transform costs more than the reading."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from calibrated_transform import compute_for
from pipelines import Open
from sequence_pipelines import manifest_sequence

from loader import ManifestSequence
from manifests import Manifest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("transform" not in inspect.signature(ManifestSequence).parameters, reason="ManifestSequence takes no transform"),
]

SECONDS = 0.001


def test_iterating_with_two_workers_against_one_with_a_transform(
    dataset: Manifest, part: Manifest, shards: Any, scale: Any, compare_walks: Callable[..., float]
) -> None:
    # With two workers batches end in pairs, so an even number of them after the first gives nobody a batch that was made before.
    batches = 41 if scale.measured else 3
    transform = compute_for(SECONDS if scale.measured else SECONDS / 10, dataset.load(dataset.ids[0]))

    def workers(count: int) -> Open:
        options = {"batch_size": shards.batch_size, "workers": count, "use_multiprocessing": True, "transform": transform}
        return lambda: manifest_sequence(part, **options)

    what = "iterating, transform of 1 ms a sample, 2 worker processes"
    ratio = compare_walks(what, "the same with 1 worker process", workers(2), workers(1), batches)
    # Two workers that wait for each other, or for the parent, come out at 1.
    assert not ratio < 1.2

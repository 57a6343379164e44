"""`ManifestSequence` as a pipeline to hold against others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines import Begin, Open

from loader import ManifestSequence
from manifests import Manifest


def manifest_sequences(part: Manifest, batch_size: int) -> dict[str, Open]:
    """Return our own settings."""
    return {
        "inline": lambda: manifest_sequence(part, batch_size=batch_size),
        "2 threads": lambda: manifest_sequence(part, batch_size=batch_size, workers=2),
        "1 worker process": lambda: manifest_sequence(part, batch_size=batch_size, workers=1, use_multiprocessing=True),
        "2 worker processes": lambda: manifest_sequence(part, batch_size=batch_size, workers=2, use_multiprocessing=True),
    }


@contextmanager
def manifest_sequence(part: Manifest, **options: Any) -> Iterator[Begin]:
    """Open a sequence whose passes can be walked."""
    with ManifestSequence(part, shuffle=True, **options) as sequence:

        def begin() -> Iterator[Any]:
            sequence.on_epoch_begin()
            try:
                yield from sequence
            finally:
                sequence.close()  # else workers would read ahead for the next pass
                sequence.on_epoch_end()

        yield begin

"""What a feed's figures say about what to change."""

from __future__ import annotations

from loader.doctor.stats import Stats

_ENOUGH_SECONDS = 1.0
"""Less than that says nothing: the first batches are slow everywhere."""


def advice(stats: Stats, *, asks_ahead: bool) -> str | None:
    """Return a sentence if training had to wait for data, and what would help.

    Args:
        stats: of a training.
        asks_ahead: whether batches are asked for before they are needed, as TensorFlow does: then it is only when nothing else
            but waiting happens that training waits too.
    """
    seconds = stats.waiting_seconds + stats.training_seconds
    if stats.waiting_share < (0.8 if asks_ahead else 0.1) or seconds < _ENOUGH_SECONDS:
        return None
    spent = {"reading": stats.read_seconds, "transforming": stats.transform_seconds, "handing over": stats.hand_over_seconds}
    most = max(spent, key=lambda stage: spent[stage])
    remedy = {
        "reading": "build smaller shards (a smaller dtype or shape), or keep them on a faster disk",
        "transforming": "do in `prep` what is the same each time, or transform whole batches",
        "handing over": "let transforms return NumPy arrays of few large pieces",
    }[most]
    return (
        f"the feed limited training: {stats.waiting_share:.0%} of the time went into waiting for data "
        f"({stats.samples_per_second:,.0f} samples/s), most of its work was {most}; "
        f"try more workers (workers=, use_multiprocessing=True), else {remedy}"
    )

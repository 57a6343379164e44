"""The IDs of several samples that one raw item becomes, and the way back."""

from __future__ import annotations

import re
from collections.abc import Collection

SAMPLE_OF_SEVERAL = re.compile(r"(.+)-([0-9]{4,})", re.DOTALL)
"""What the ID of a sample that is one of several looks like: the raw item's, and its number."""

_DIGITS = 4


def sample_ids(record_id: str, count: int) -> list[str]:
    """Return `<id>-0000`, `<id>-0001`, ...: sorted, as all have as many digits as the last needs, at least four."""
    digits = max(_DIGITS, len(str(count - 1)))
    return [f"{record_id}-{number:0{digits}}" for number in range(count)]


def record_id_of(sample_id: str) -> str:
    """Return the ID of the raw item that a sample would be one of several of; the ID itself if it has no number."""
    match = SAMPLE_OF_SEVERAL.fullmatch(sample_id)
    return match[1] if match else sample_id


def ambiguous_ids(record_ids: Collection[str]) -> list[str]:
    """Return the IDs that could also be a sample's of another raw item: `a-0000` beside `a`."""
    known = set(record_ids)
    return sorted(id_ for id_ in known if SAMPLE_OF_SEVERAL.fullmatch(id_) and record_id_of(id_) in known)

"""The IDs of several samples that one raw item becomes, and the way back."""

from __future__ import annotations

import re
from collections.abc import Collection

_SUFFIX = re.compile(r"-[0-9]{4,}$")
_DIGITS = 4


def sample_ids(record_id: str, count: int) -> list[str]:
    """Return `<id>-0000`, `<id>-0001`, ...: sorted, as all have as many digits as the last needs, at least four."""
    digits = max(_DIGITS, len(str(count - 1)))
    return [f"{record_id}-{number:0{digits}}" for number in range(count)]


def record_id_of(sample_id: str) -> str:
    """Return the ID of the raw item that a sample is one of several of."""
    return _SUFFIX.sub("", sample_id)


def ambiguous_ids(record_ids: Collection[str]) -> list[str]:
    """Return the IDs that could also be a sample's of another raw item: `a-0000` beside `a`."""
    known = set(record_ids)
    return sorted(id_ for id_ in known if _SUFFIX.search(id_) and record_id_of(id_) in known)

"""The IDs of several samples that one raw item becomes, and the way back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from manifests.rows import arrow
from manifests.rows.buffers import mask_array, positions_of

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_OF_SEVERAL = re.compile(r"(.+)-([0-9]{4,})", re.DOTALL)
"""What the ID of a sample that is one of several looks like: the raw item's, and its number."""

_NUMBER = "-[0-9]{4,}$"
_NUMBERED = f"(?s).{_NUMBER}"
_DIGITS = 4


def sample_ids(record_id: str, count: int) -> list[str]:
    """Return `<id>-0000`, `<id>-0001`, ...: sorted, as all have as many digits as the last needs, at least four."""
    digits = max(_DIGITS, len(str(count - 1)))
    return [f"{record_id}-{number:0{digits}}" for number in range(count)]


def record_id_of(sample_id: str) -> str:
    """Return the ID of the raw item that a sample would be one of several of; the ID itself if it has no number."""
    match = SAMPLE_OF_SEVERAL.fullmatch(sample_id)
    return match[1] if match else sample_id


def record_ids_of(sample_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return `record_id_of` of each ID."""
    return arrow.pc.replace_substring_regex(sample_ids, f"(?s)^(.+){_NUMBER}", r"\1")


def ambiguous_ids(item_ids: pa.ChunkedArray) -> list[str]:
    """Return the IDs that could also be a sample's of another raw item: `a-0000` beside `a`; sorted."""
    pc = arrow.pc
    numbered = item_ids.filter(pc.match_substring_regex(item_ids, _NUMBERED))
    stems = pc.replace_substring_regex(numbered, _NUMBER, "")
    return sorted(numbered.filter(mask_array(positions_of(stems, item_ids) >= 0)).to_pylist())

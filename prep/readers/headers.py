"""What the headers of many raw items say: of many items, few distinct headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from manifests.rows.buffers import Positions, codes_of, number_array
from manifests.rows.table import blank, strings
from prep.text import shown

if TYPE_CHECKING:
    import pyarrow as pa

Facts = TypeVar("Facts")


class Headers(Generic[Facts]):
    """The headers of all items that have one that is known.

    Attributes:
        names: of the items.
        codes: which of `facts` is the header of each: int32, shape (n,).
        facts: what distinct headers say; None for one that is not known.
    """

    def __init__(self, names: pa.ChunkedArray, headers: pa.ChunkedArray, parse: Callable[[str], Facts]) -> None:
        """Take items of which some have a known header, in their order.

        Args:
            names: their IDs, or their files.
            headers: text of each header, as the reader gave it; empty where it is not known.
            parse: makes of a text what it says; raises a ValueError for a text that is none of this reader's, which counts as unknown.
        """
        codes, texts = codes_of(headers)
        self.facts = [parsed(text, parse) for text in texts]
        is_known = np.array([facts is not None for facts in self.facts] or [False])[codes]
        at = np.flatnonzero(is_known)
        self.names = names if len(at) == len(names) else names.take(number_array(at))
        self.codes = codes[at]

    @classmethod
    def none(cls) -> Headers[Any]:
        """Return the headers of no items."""
        return Headers(blank(0), blank(0), str)

    def __len__(self) -> int:
        """Return how many items have a header that is known."""
        return len(self.codes)

    def where(self, test: Callable[[Facts], bool]) -> npt.NDArray[np.bool_]:
        """Return of each item whether its header passes a test: bool, shape (n,)."""
        passes = [facts is not None and test(facts) for facts in self.facts]
        found: npt.NDArray[np.bool_] = np.array(passes or [False])[self.codes]
        return found

    def by(self, value: Callable[[Facts], str]) -> dict[str, Positions]:
        """Return the values of a function of the headers -> positions of the items (int64), in the order in which values are met."""
        values = np.array(["" if facts is None else value(facts) for facts in self.facts] or [""])[self.codes]
        found = {str(name): np.flatnonzero(values == name) for name in np.unique(values)}
        return dict(sorted(found.items(), key=lambda item: int(item[1][0])))

    def counts(self) -> list[tuple[Facts, int]]:
        """Return the distinct headers and how many items have each; the one met first comes first."""
        found, first, counts = np.unique(self.codes, return_index=True, return_counts=True)
        met = [(self.facts[code], count) for _, code, count in sorted(zip(first.tolist(), found.tolist(), counts.tolist(), strict=True))]
        return [(facts, count) for facts, count in met if facts is not None]

    def without(self, positions: Positions) -> Headers[Facts]:
        """Return the same without some items (int64)."""
        if not len(positions):
            return self
        left = np.delete(np.arange(len(self)), positions)
        other: Headers[Facts] = object.__new__(Headers)
        other.names, other.codes, other.facts = self.names.take(number_array(left)), self.codes[left], self.facts
        return other

    def shown(self, positions: Positions) -> str:
        """Name the first of some items."""
        first = strings(self.names.take(number_array(positions[:4])))
        return shown(first, 3) if len(positions) <= len(first) else shown([*first, *[""] * (len(positions) - len(first))], 3)


def parsed(text: str, parse: Callable[[str], Facts]) -> Facts | None:
    """Return what the text of a header says; None if it is empty or none of this reader's: state on the disk may be a stranger's."""
    try:
        return parse(text) if text else None
    except ValueError:
        return None

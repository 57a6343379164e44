"""What a build did: every raw item that was found is counted exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prep.build.commit.relabelled import Relabelled
from prep.sources.listing import Failure
from prep.text import counted


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """What became of the raw items: `found = added + rebuilt + moved + kept + failed`.

    Attributes:
        out: the dataset's folder.
        found: raw items that the build was about: all of the source, or those that had failed before.
        added: that had no shard before.
        rebuilt: whose shard was out of date.
        moved: that were there under another name, whose shard was copied.
        kept: whose shard was as it should be.
        failed: that could not be used.
        gone: rows that stay though their raw item is no longer there.
        removed: rows dropped for that, with `prune`.
        failures: the failed items, sorted by source.
        relabelled: items that are gone, whose row stays, and that are there with the same bytes under another label.
    """

    out: str
    found: int
    added: int
    rebuilt: int
    moved: int
    kept: int
    failed: int
    gone: int
    removed: int
    failures: Sequence[Failure]
    relabelled: Sequence[Relabelled] = ()

    def __post_init__(self) -> None:
        counted = self.added + self.rebuilt + self.moved + self.kept + self.failed
        if self.found != counted:
            raise AssertionError(f"found {self.found} raw items but counted {counted}: one was dropped or counted twice")

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        also = f" ({len(self.relabelled):,} of which under another label too)" if self.relabelled else ""
        rest = [f"{self.gone:,} gone but kept{also}"] if self.gone else []
        rest += [f"{self.removed:,} removed"] if self.removed else []
        moved = [f"{self.moved:,} moved"] if self.moved else []
        parts = [f"{self.added:,} added", f"{self.rebuilt:,} rebuilt", *moved, f"{self.kept:,} kept", f"{self.failed:,} failed"]
        return f"{self.out}: {counted(self.found, 'raw item')} found = {' + '.join(parts)}" + (f"; {', '.join(rest)}" if rest else "")

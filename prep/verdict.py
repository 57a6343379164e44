"""What `verify` says at its end: the problems, what is good to know, and what could not be checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manifests.checking import Finding
from manifests.manifest import Manifest
from prep.text import counted, shown


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome of holding a dataset against the disk.

    Attributes:
        ids: number of rows.
        deep: whether every byte was read.
        unchecked: IDs without sha256, whose bytes could be held against nothing.
        problems: findings that make the dataset unsound.
        linked: findings of hard links from elsewhere, which are only good to know.
    """

    ids: int
    deep: bool
    unchecked: Sequence[str]
    problems: Sequence[Finding]
    linked: Sequence[Finding]

    @classmethod
    def of(cls, manifest: Manifest, findings: Sequence[Finding], *, deep: bool) -> Verification:
        """Sort findings by what they mean."""
        frame = manifest.frame
        unchecked = frame["id"][frame["sha256"] == ""] if "sha256" in frame.columns else frame["id"]
        return cls(
            ids=len(manifest),
            deep=deep,
            unchecked=list(unchecked) if deep else [],
            problems=[finding for finding in findings if finding.is_problem],
            linked=[finding for finding in findings if not finding.is_problem],
        )

    def notes(self) -> list[str]:
        """Say what is good to know, one sentence each."""
        linked = [finding.id or finding.path for finding in self.linked]
        have = counted(len(linked), "shard has", "shards have")
        return [f"hard links: {have} further names that no row knows, and who writes there changes them: {shown(linked, 3)}"] * bool(linked)

    def text(self) -> str:
        """Return a line for each problem."""
        return "".join(f"{finding}\n" for finding in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        return {
            "ids": self.ids,
            "deep": self.deep,
            "without_sha256": len(self.unchecked),
            "findings": [vars(finding) for finding in self.problems],
            "linked": [vars(finding) for finding in self.linked],
        }

    def __str__(self) -> str:
        how = "every byte" if self.deep else "existence, header and size"
        less = ""
        if self.unchecked:
            less = f", of which {counted(len(self.unchecked), 'has', 'have')} no sha256 to compare with ({shown(list(self.unchecked), 3)})"
        return f"{counted(self.ids, 'ID')} checked by {how}{less}; {counted(len(self.problems), 'problem')}"

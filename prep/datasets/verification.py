"""The result of `prep verify`: problems, notes, and what could not be checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.format.schema import array_column
from manifests.manifest import Manifest
from manifests.rows.table import is_in
from manifests.text import terminal_text
from manifests.verification.shard_checks import Finding
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
        contradictions: findings of equal bytes under two labels; they are among the problems too if they were asked for.
    """

    ids: int
    deep: bool
    unchecked: Sequence[str]
    problems: Sequence[Finding]
    linked: Sequence[Finding]
    contradictions: Sequence[Finding]

    @classmethod
    def of(cls, manifest: Manifest, findings: Sequence[Finding], *, deep: bool, with_contradictions: bool = False) -> Verification:
        """Sort findings by what they mean; equal bytes under two labels are a problem if they were asked for."""
        frame = manifest.frame
        is_unchecked = ~_has_digest(manifest, "sha256")
        for name in manifest.arrays:
            is_unchecked |= manifest.has_array(name) & ~_has_digest(manifest, array_column(name, "sha256"))
        unchecked = frame["id"][is_unchecked]
        return cls(
            ids=len(manifest),
            deep=deep,
            unchecked=list(unchecked) if deep else [],
            problems=[finding for finding in findings if finding.is_problem or (with_contradictions and finding.kind == "label")],
            linked=[finding for finding in findings if finding.kind == "linked"],
            contradictions=[finding for finding in findings if finding.kind == "label"],
        )

    def notes(self) -> list[str]:
        """Say what is good to know, one sentence each."""
        linked = [finding.id or finding.path for finding in self.linked]
        have = counted(len(linked), "shard has", "shards have")
        notes = [f"hard links: {have} other names outside the manifest, and writing to those changes them: {shown(linked, 3)}"] * bool(
            linked
        )
        others = [finding.id or finding.path for finding in self.contradictions if finding not in self.problems]
        if others:
            have = counted(len(others), "ID has", "IDs have")
            notes.append(f"labels: {have} the same bytes as an ID with another label: {shown(others, 10)}; --leaks lists them")
        return notes

    def text(self) -> str:
        """Return a line for each problem."""
        return "".join(f"{terminal_text(str(finding))}\n" for finding in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        return {
            "ids": self.ids,
            "deep": self.deep,
            "without_sha256": len(self.unchecked),
            "findings": [vars(finding) for finding in self.problems],
            "linked": [vars(finding) for finding in self.linked],
            "contradictions": [vars(finding) for finding in self.contradictions],
        }

    def __str__(self) -> str:
        how = "every byte" if self.deep else "existence, header and size"
        less = ""
        if self.unchecked:
            less = f", of which {counted(len(self.unchecked), 'has', 'have')} no sha256 to compare with ({shown(list(self.unchecked), 3)})"
        return f"{counted(self.ids, 'ID')} checked ({how}){less}; {counted(len(self.problems), 'problem')}"


def _has_digest(manifest: Manifest, column: str) -> npt.NDArray[np.bool_]:
    """Return whether each row has a value in a column of SHA-256: bool, shape (n,)."""
    return ~is_in(manifest.column(column), [""]) if column in manifest.columns else np.zeros(len(manifest), dtype=np.bool_)

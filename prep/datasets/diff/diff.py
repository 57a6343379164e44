"""`diff`: how two datasets differ, as text and as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from manifests.storage.store import load_manifest
from manifests.text import terminal_text
from prep.datasets.diff.comparison import Change, Difference, compare
from prep.datasets.diff.content import same_arrays
from prep.text import counted, shown

_SHOWN = 10


def diff_datasets(a: str | Path, b: str | Path, *, deep: bool = False) -> Difference:
    """Say how dataset `b` differs from dataset `a`.

    Args:
        a: a dataset's folder, or its manifest.
        b: likewise.
        deep: read the arrays of IDs that are in both where the manifests have no SHA-256 to compare.

    Raises:
        ManifestError: there is no sound manifest; with `deep`, an array cannot be read.
        OSError: a file cannot be read.
    """
    first, second = load_manifest(a), load_manifest(b)
    return compare(first, second, same_arrays(first, second) if deep else None)


def difference_text(difference: Difference, *, limit: int | None = _SHOWN) -> str:
    """Return a difference as lines: a heading with its count for each kind, and below it the first IDs of it.

    Args:
        difference: to write down.
        limit: IDs to show of each kind; None shows all.
    """
    return "\n".join(map(terminal_text, _lines(difference, limit))) or "no differences"


def _lines(difference: Difference, limit: int | None) -> Iterator[str]:
    yield from _section("added", [f"+ {id_!r}" for id_ in difference.added], limit)
    yield from _section("removed", [f"- {id_!r}" for id_ in difference.removed], limit)
    yield from _section("relabelled", [_written(change) for change in difference.relabelled], limit, "value")
    yield from _section("moved to another split", [_written(change) for change in difference.moved], limit)
    yield from _section("moved to another group", [_written(change) for change in difference.regrouped], limit)
    yield from _section("changed content", [_written(change) for change in difference.changed], limit)
    for column, (old, new) in difference.classes.items():
        yield f"classes of {column!r}: {shown(list(old))} -> {shown(list(new))}"
    for text in difference.recipe:
        yield f"recipe: {text}"
    if difference.uncompared:
        found = counted(len(difference.uncompared), "ID is", "IDs are")
        yield f"not compared: {found} in both without a sha256 or fingerprint to compare; --deep reads their arrays"


def _section(title: str, lines: Sequence[str], limit: int | None, noun: str = "ID") -> Iterator[str]:
    if lines:
        yield f"{title}: {counted(len(lines), noun)}"
        yield from (f"  {line}" for line in lines[:limit])
        if limit is not None and len(lines) > limit:
            yield f"  ... and {len(lines) - limit:,} more; --all shows them"


def _written(change: Change) -> str:
    if change.column == "bytes":
        return f"~ {change.id!r}: its array"
    old, new = (
        f"{text[:12]}..." if change.column.rpartition(".")[2] in {"sha256", "fingerprint"} else repr(text)
        for text in (change.old, change.new)
    )
    return f"~ {change.id!r}: {change.column} {old} -> {new}"

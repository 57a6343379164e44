"""Making text from raw data safe for a message and a CSV file; `manifests.text` makes it safe to print."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """Return text in one line with control characters and undecodable bytes as escapes.

    A file's name can hold line breaks, terminal commands and bytes that are no UTF-8.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in {"Cc", "Cs"} else c for c in text)


def is_text(text: str) -> bool:
    """Return whether UTF-8 can encode a text; a file's name may hold bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(names: list[str], limit: int = 5, count: int | None = None) -> str:
    """Return the first names of a list in quotes, and how many more there are.

    Args:
        names: all of them, or just the first.
        limit: how many to show.
        count: of all; that of `names` if left out.
    """
    count = len(names) if count is None else count
    text = ", ".join(repr(name) for name in names[:limit])
    return f"{text} and {count - limit:,} more" if count > limit else text


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: `1 file`, `1,797 files`, `2 classes`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"

"""Making text from outside safe to print, and the same in every process."""

from __future__ import annotations

import re
import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_ADDRESS = re.compile(r"(<[^<>]*) at 0x[0-9a-fA-F]+>")


def terminal_text(text: str, *, keep: str = "") -> str:
    r"""Return text in one line that a terminal shows as it is, for everything that is printed.

    Escaped, as in `\x1b`, are the Unicode categories Cc (control characters), Cf (invisible ones, which can reverse the order of what
    follows), Zl and Zp (line and paragraph separators), and Cs (bytes that are no UTF-8). Text that is written to a file stays as it is.

    Args:
        text: of anything.
        keep: characters that stay: `"\n"` for a text of several lines, in which whatever comes from outside was made one line already.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(repr(c)[1:-1] if c not in keep and unicodedata.category(c) in _UNSAFE else c for c in text)


def without_addresses(text: str) -> str:
    """Return text without the addresses of objects, as `<Name object at 0x7f...>` has one, which are others in each process."""
    return _ADDRESS.sub(r"\1>", text)

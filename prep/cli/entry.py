"""Where the command `prep` begins: Ctrl-C while Python still imports the rest ends as quietly as later."""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from prep.cli.app import main as run  # noqa: PLC0415  # half a second in which Ctrl-C can come
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted before anything was done\n")
        sys.exit(_INTERRUPTED)
    run()

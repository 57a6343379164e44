"""Where the command `prep` begins: Ctrl-C while Python still imports the rest ends as quietly as later."""

from __future__ import annotations

import os
import sys

_INTERRUPTED = 130
_STDERR = 2


def main() -> None:
    """Run the command line and leave with its exit code."""
    _fill_closed()
    try:
        from prep.cli.app import main as run  # noqa: PLC0415  # half a second in which Ctrl-C can come
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted before anything was done\n")
        sys.exit(_INTERRUPTED)
    run()


def _fill_closed() -> None:
    """Open the null device as stdin, stdout and stderr where they are closed: else the next files that are opened would be these."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(opened, True)  # noqa: FBT003  # its only argument
    os.close(opened)
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as the process

"""Where the command `prep` begins: it checks that no file of the user's stands in for ours before it imports the command line.

With `PYTHONPATH=.` a `prep.py` or `manifests.py` in the current folder would be imported in place of the package, and fail there.
"""

from __future__ import annotations

import os
import sys

from shardfeed.shadowing import check_command

_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def prep() -> None:
    """Run the command line of `prep` and leave with its exit code."""
    _leave_out_script_folder()
    check_command("prep", "manifests")
    from prep.cli.entry import main  # noqa: PLC0415  # after the check

    main()


def _leave_out_script_folder() -> None:
    """Import nothing from the script's folder, which Python puts first unless it is started with `-P`."""
    first = os.path.realpath(sys.path[0])
    if not sys.flags.safe_path and first == os.path.dirname(os.path.realpath(sys.argv[0])) and first != _ROOT:
        del sys.path[0]

"""Where the command `prep` begins: it checks that no file of the user's stands in for ours before it imports the command line.

With `PYTHONPATH=.` a `prep.py` or `manifests.py` in the current folder would be imported in place of the package, and fail there.
"""

from __future__ import annotations

from shardfeed.shadowing import check_command


def prep() -> None:
    """Run the command line of `prep` and leave with its exit code."""
    check_command("prep", "manifests")
    from prep.cli.entry import main  # noqa: PLC0415  # after the check

    main()

"""The command that counts what a dataset holds."""

from __future__ import annotations

from pathlib import Path

import click

from prep.answer import DONE, answer, json_option
from prep.flags import PATH
from prep.inspection import inspect_dataset


@click.command(short_help="Count IDs by split and class; array, sizes, failures.")
@click.argument("out", type=PATH)
@json_option
def inspect(out: Path, *, as_json: bool) -> int:
    """Count what the dataset OUT holds: IDs by split and class, array shape and dtype, bytes, failures.

    \b
    Example:
      prep inspect data/
    """  # noqa: D301  # as above
    inspection = inspect_dataset(out)
    answer(inspection.as_dict(), str(inspection), as_json=as_json)
    return DONE

"""`prep inspect`: summarize a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from prep.cli.flags.data_options import PATH
from prep.cli.output import DONE, answer, json_option
from prep.datasets.inspect import inspect_dataset


@click.command(short_help="Summarize a dataset: IDs by split and class, array, sizes, failures.")
@click.argument("out", type=PATH)
@json_option
def inspect(out: Path, *, as_json: bool) -> int:
    """Summarize the dataset OUT: IDs by split and class, array shape and dtype, bytes, failures.

    \b
    Example:
      prep inspect data/
    """  # noqa: D301  # as above
    inspection = inspect_dataset(out)
    answer(inspection.as_dict(), str(inspection), as_json=as_json)
    return DONE

"""The command that writes a manifest for arrays that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prep.adoption import AdoptOptions
from prep.adoption import adopt as adopt_arrays
from prep.answer import DONE, answer, json_option
from prep.flags import PATH, split_options, splits_of
from prep.sources.table import TableOptions
from prep.text import counted


@click.command(short_help="Write a manifest for .npy files that exist already.")
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--labels", required=True, type=PATH, help="CSV, TSV or Parquet table of IDs and labels, or a JSON object from ID to label.")
@click.option("--id-column", help="Column of the table that names the samples.")
@click.option("--label", "label_columns", multiple=True, help="Column of the table with the label; repeat it for several.")
@click.option("--allow-empty-labels", is_flag=True, help="Take arrays that have no label.")
@split_options
@json_option
def adopt(folder: Path, labels: Path, *, as_json: bool, **values: Any) -> int:
    """Write a manifest for the <ID>.npy files that DIR has already; nothing is copied or changed.

    \b
    Example:
      prep adopt data/ --labels labels.json --split train=0.8,val=0.2
    """  # noqa: D301  # as above
    table = TableOptions(
        id_column=values["id_column"], label_columns=values["label_columns"], allow_empty_labels=values["allow_empty_labels"]
    )
    manifest = adopt_arrays(folder, labels, AdoptOptions(table=table, splits=splits_of(values)))
    result = {"path": str(folder), "ids": len(manifest), "splits": manifest.split_counts(), "classes": list(manifest.classes)}
    answer(result, f"{folder}: {counted(len(manifest), 'ID')}; {manifest.array}", as_json=as_json)
    return DONE

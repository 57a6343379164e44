"""`prep adopt`: write a manifest for arrays that exist already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prep.cli.flags.data_options import PATH, label_kind_of, label_kind_option, split_options, splits_of
from prep.cli.output import DONE, answer, json_option
from prep.datasets.adopt import AdoptOptions
from prep.datasets.adopt import adopt as adopt_arrays
from prep.sources.table_options import TableOptions
from prep.text import counted


@click.command(short_help="Write a manifest for .npy files that exist already.")
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--labels", required=True, type=PATH, help="CSV, TSV or Parquet table of IDs and labels, or a JSON object from ID to label.")
@click.option("--id-column", help="Column of the table with the sample IDs.")
@click.option("--label", "label_columns", multiple=True, help="Column of the table with the label; repeat it for several.")
@label_kind_option
@click.option("--allow-empty-labels", is_flag=True, help="Accept arrays without a label.")
@split_options
@json_option
def adopt(folder: Path, labels: Path, *, as_json: bool, **values: Any) -> int:
    """Write a manifest for the <ID>.npy files that are already in DIR; nothing is copied or changed.

    \b
    Example:
      prep adopt data/ --labels labels.json --split train=0.8,val=0.2
    """  # noqa: D301  # as above
    table = TableOptions(
        id_column=values["id_column"],
        label_columns=values["label_columns"],
        allow_empty_labels=values["allow_empty_labels"],
        label_kind=label_kind_of(values["label_kinds"]),
    )
    manifest = adopt_arrays(folder, labels, AdoptOptions(table=table, splits=splits_of(values)))
    result = {"path": str(folder), "ids": len(manifest), "splits": manifest.split_counts(), "classes": list(manifest.classes)}
    answer(result, f"{folder}: {counted(len(manifest), 'ID')}; {manifest.array}", as_json=as_json)
    return DONE

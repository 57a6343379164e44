"""How a manifest shows itself in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.metadata import ArraySpec

if TYPE_CHECKING:
    import pandas as pd

SHOWN_CLASSES = 20


def manifest_html(root: Path, rows: int, array: ArraySpec | None, table: pd.DataFrame, split_counts: Mapping[str, int]) -> str:
    """Return an HTML fragment: the folder, the array spec, and counts per class and split.

    Args:
        root: the dataset's folder.
        rows: number of IDs.
        array: what the samples have in common, or None if it is not known.
        table: counts, classes by splits.
        split_counts: rows of each split, samples without a label included.
    """
    head = f"<b>Manifest</b> <code>{escape(str(root))}</code>: {rows:,} IDs"
    spec = f"<br>array: <code>{escape(str(array))}</code>" if array else "<br>array: not recorded"
    return f"<div>{head}{spec}{_table(table, rows, split_counts)}</div>"


def _table(table: pd.DataFrame, rows: int, split_counts: Mapping[str, int]) -> str:
    columns = list(map(str, table.columns)) or [*split_counts, "all"]
    header = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = [
        f"<tr><th>{escape(str(name))}</th>{''.join(f'<td>{int(count):,}</td>' for count in counts)}</tr>"
        for name, counts in zip(table.index[:SHOWN_CLASSES], table.to_numpy(), strict=False)
    ]
    if len(table) > SHOWN_CLASSES:
        body.append(f'<tr><td colspan="{len(columns) + 1}">... and {len(table) - SHOWN_CLASSES:,} more classes</td></tr>')
    known = {"all": rows, "(no split)": rows - sum(split_counts.values()), **split_counts}
    totals = "".join(f"<td><b>{known[name]:,}</b></td>" for name in columns)
    corner = "" if table.index.name is None else escape(str(table.index.name))
    return f"<table><thead><tr><th>{corner}</th>{header}</tr></thead><tbody>{''.join(body)}<tr><th>IDs</th>{totals}</tr></tbody></table>"

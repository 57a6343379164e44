"""How a manifest shows itself in a notebook."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from manifests.format.metadata import ArraySpec

if TYPE_CHECKING:
    import pandas as pd

SHOWN_CLASSES = 20


def manifest_html(
    root: Path,
    rows: int,
    array: ArraySpec | None,
    tables: Sequence[pd.DataFrame],
    split_counts: Mapping[str, int],
    *,
    arrays: Mapping[str, ArraySpec | None] = MappingProxyType({}),
) -> str:
    """Return an HTML fragment: the folder, the array spec, and for each label column its counts or numbers per split.

    Args:
        root: the dataset's folder.
        rows: number of IDs.
        array: what the samples have in common, or None if it is not known.
        tables: for each label column counts, classes by splits, or what its numbers are like, by splits.
        split_counts: rows of each split, samples without a label included.
        arrays: name of a further array -> what the samples that have it have in common, likewise.
    """
    head = f"<b>Manifest</b> <code>{escape(str(root))}</code>: {rows:,} IDs"
    specs = {"array": array} | {f"array {name!r}": further for name, further in arrays.items()}
    spec = "".join(f"<br>{escape(name)}: {f'<code>{escape(str(one))}</code>' if one else 'not recorded'}" for name, one in specs.items())
    return f"<div>{head}{spec}{''.join(_table(table, rows, split_counts) for table in tables)}</div>"


def _table(table: pd.DataFrame, rows: int, split_counts: Mapping[str, int]) -> str:
    columns = list(map(str, table.columns)) or [*split_counts, "all"]
    header = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = [
        f"<tr><th>{escape(str(name))}</th>{''.join(f'<td>{_cell(value)}</td>' for value in values)}</tr>"
        for name, values in zip(table.index[:SHOWN_CLASSES], table.to_numpy(), strict=False)
    ]
    if len(table) > SHOWN_CLASSES:
        body.append(f'<tr><td colspan="{len(columns) + 1}">... and {len(table) - SHOWN_CLASSES:,} more classes</td></tr>')
    known = {"all": rows, "(no split)": rows - sum(split_counts.values()), **split_counts}
    totals = "".join(f"<td><b>{known[name]:,}</b></td>" for name in columns)
    corner = "" if table.index.name is None else escape(str(table.index.name))
    return f"<table><thead><tr><th>{corner}</th>{header}</tr></thead><tbody>{''.join(body)}<tr><th>IDs</th>{totals}</tr></tbody></table>"


def _cell(value: float) -> str:
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return "-" if math.isnan(value) else f"{value:.6g}"

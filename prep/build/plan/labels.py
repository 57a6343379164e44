"""What `dataset.json` says of the labels: numbers, or classes in an order that data added later does not change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from manifests.describe.counts import classes_of
from manifests.format.metadata import LabelKind, LabelSpec
from manifests.rows.buffers import mask_array
from manifests.rows.numbers import are_measurements, is_number, numbers_of
from manifests.rows.table import distinct, strings
from prep.errors import SourceError
from prep.sources.items import COLUMN
from prep.sources.listing import Listing
from prep.text import counted, printable

if TYPE_CHECKING:
    import pyarrow as pa


def label_specs(rows: pa.Table, listing: Listing, known: Mapping[str, LabelSpec]) -> dict[str, LabelSpec]:
    """Return what each label column holds, and the order of its classes.

    Args:
        rows: the manifest's.
        listing: of the source, whose labels they have.
        known: what is known so far; its classes keep their index, and new ones come behind them.
    """
    specs = {}
    for column in listing.label_columns:
        if column not in rows.column_names:
            continue
        labels, asked, old = rows[column], listing.label_kinds.get(column), known.get(column, LabelSpec())
        name = listing.label_names.get(column) if len(listing.label_columns) > 1 else None
        if label_kind(labels, known.get(column), asked) == "number":
            specs[column] = LabelSpec(kind="number", column=name)
            continue
        new = tuple(label for label in classes_of(distinct(labels)) if label not in set(old.classes))
        specs[column] = LabelSpec(classes=(*old.classes, *new), kind=asked or (None if old.is_number else old.kind), column=name)
    return specs


def label_kind(column: pa.ChunkedArray, known: LabelSpec | None, asked: LabelKind | None) -> LabelKind:
    """Return whether labels are classes or numbers: as the user says, else as was said before, else as they look.

    A column of numbers stays one whatever is added; classes of which nobody said that they are become numbers once they look so.
    """
    said = asked or (None if known is None else known.kind)
    return said or ("number" if are_measurements(distinct(column)) else "class")


def check_labels(listing: Listing, known: Mapping[str, LabelSpec]) -> list[str]:
    """Refuse labels that are not what their column holds, and return a note for each column of numbers, or of what may be meant as such.

    Args:
        listing: of the source.
        known: what is known of the columns so far.

    Raises:
        SourceError: a column of numbers has labels that are none, all of which are listed; or labels would no longer be classes
            although nobody said so.
    """
    notes: list[str] = []
    items = listing.items
    for name in listing.label_columns:
        column = items["label" if name == "label" else COLUMN + name]
        asked, old, shown = listing.label_kinds.get(name), known.get(name), listing.label_names.get(name, name)
        if label_kind(column, old, asked) == "class":
            notes += [] if asked or (old is not None and old.kind) else _notes_of_classes(shown, column)
            continue
        _check_numbers(items["id"], shown, column)
        if asked is None and old is not None and not old.is_number and old.classes:
            first = next(label for label in distinct(column) if are_measurements([label]))
            raise SourceError(
                f"column {shown!r} held {counted(len(old.classes), 'class', 'classes')} so far, and holds numbers such as {first!r} now; "
                "correct the labels, or pass --label-kind number or --label-kind class to say what they are"
            )
        notes.append(f"labels: column {shown!r} holds numbers, to be fed as they are; --label-kind class would make classes of them")
    return notes


def _notes_of_classes(name: str, column: pa.ChunkedArray) -> list[str]:
    """Return a note if classes may be meant as numbers: integers that are not their own indices, or numbers but for a few."""
    classes = classes_of(distinct(column))
    others = [label for label in classes if not is_number(label)]
    if not others:
        changed = next(((label, index) for index, label in enumerate(classes) if label != str(index)), None)
        if changed is None:
            return []
        what = (
            f"the integers of column {name!r} name {counted(len(classes), 'class', 'classes')}, so that {changed[0]} is class {changed[1]}"
        )
        return [f"labels: {what}; --label-kind number would feed them as they are"]
    if len(others) * 2 < len(classes) and are_measurements(label for label in classes if is_number(label)):
        what = f"column {name!r} holds numbers, but {printable(others[0])!r} is none, so all of them name classes"
        return [f"labels: {what}; correct it, or --label-kind class says that this is meant"]
    return []


def _check_numbers(ids: pa.ChunkedArray, name: str, column: pa.ChunkedArray) -> None:
    no_numbers = mask_array(np.isnan(numbers_of(column)))
    pairs = zip(strings(ids.filter(no_numbers)), strings(column.filter(no_numbers)), strict=True)
    wrong = [(id_, label) for id_, label in pairs if label and not is_number(label)]
    if wrong:
        raise SourceError(
            f"{counted(len(wrong), 'label')} of column {name!r} should be a number; correct them, or pass --label-kind class to make "
            "classes of the labels:",
            [f"ID {printable(id_)!r} has {printable(label)!r}" for id_, label in wrong],
        )

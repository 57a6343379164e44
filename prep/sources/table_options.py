"""Which columns of a table mean what: the options that name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from manifests.format.metadata import LabelKind
from prep.errors import UsageError
from prep.text import shown


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which columns mean what; None where the table must tell.

    Attributes:
        id_column: names the samples.
        path_column: names the raw files.
        label_columns: hold labels, the primary one first.
        allow_empty_labels: whether rows may have no label.
        other_columns: say something else, such as the group, and are taken for neither.
        label_kind: whether labels are names of classes or numbers: `class` or `number` for all label columns, or column -> one of them;
            None, and a column that is not named, for what the labels look like.
    """

    id_column: str | None = None
    path_column: str | None = None
    label_columns: tuple[str, ...] = ()
    allow_empty_labels: bool | None = None
    other_columns: tuple[str, ...] = ()
    label_kind: LabelKind | Mapping[str, LabelKind] | None = None

    def __post_init__(self) -> None:
        kinds = self.label_kind.values() if isinstance(self.label_kind, Mapping) else [self.label_kind] if self.label_kind else []
        for kind in kinds:
            if kind not in get_args(LabelKind):
                raise UsageError(f"label_kind must be class or number, or a column's name with one of them, got {kind!r}")

    def kinds_of(self, columns: Mapping[str, str]) -> dict[str, LabelKind]:
        """Return which kinds the user said of label columns.

        Args:
            columns: of the labels: name in the source -> name in the manifest.

        Raises:
            UsageError: a column is named that holds no labels.
        """
        if not isinstance(self.label_kind, Mapping):
            return dict.fromkeys(columns.values(), self.label_kind) if self.label_kind else {}
        unknown = [name for name in self.label_kind if name not in columns]
        if unknown:
            raise UsageError(f"--label-kind names {shown(unknown)}; the label columns are {shown(list(columns), 20) or 'none'}")
        return {columns[name]: kind for name, kind in self.label_kind.items()}

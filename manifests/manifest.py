"""`Manifest`: the rows of a dataset with what is needed to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from manifests.classes import classes_of
from manifests.counts import class_split_table, label_counts, split_order
from manifests.errors import ArrayFileError, UnknownNameError
from manifests.html import manifest_html
from manifests.metadata import ArraySpec, Metadata, common_array
from manifests.names import SHARD_FOLDER, default_path, resolve_inside
from manifests.npyfile import AnyArray, read_array, read_row
from manifests.schema import format_shape, parse_shape

Mask = Sequence[bool] | np.ndarray[Any, np.dtype[np.bool_]] | pd.Series


class Manifest:
    """The rows of a dataset: a pandas frame that knows its folder, its classes and how to load an array.

    Manifests are made by `load_manifest` and by filtering one; a filtered manifest keeps the class order of the whole.

    Attributes:
        frame: one row per ID, string columns as written in the file; a RangeIndex. Treat it as read-only and derive
            with `where`, so that the rest stays in step.
        root: the folder that paths are relative to.
        metadata: the content of `dataset.json`, empty when there is none.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        root: Path,
        metadata: Metadata,
        classes: Mapping[str, tuple[str, ...]] | None = None,
        *,
        whole: Manifest | None = None,
    ) -> None:
        """Take rows that `manifests.validation.validate` finds sound.

        Args:
            frame: string columns with at least `id`.
            root: the folder that paths are relative to.
            metadata: of the dataset.
            classes: label column -> class order to keep; what is missing is worked out from the rows.
            whole: the manifest that these rows were filtered from, which then decides every class order.
        """
        self.frame = frame.reset_index(drop=True)
        self.root = root
        self.metadata = metadata
        self._whole = whole
        self._classes = dict(classes or {})
        for column, spec in metadata.labels.items():
            self._classes.setdefault(column, spec.classes)

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.split_counts().items())
        parts = [f"{len(self)} IDs", splits, f"{len(self.classes)} classes" if self.classes else "", str(self.array or "")]
        return f"<Manifest {self.root}: {'; '.join(part for part in parts if part)}>"

    def _repr_html_(self) -> str:
        return manifest_html(self.root, len(self), self.array, self.class_table(), self.split_counts())

    @property
    def ids(self) -> list[str]:
        """The IDs, in row order."""
        return list(self.frame["id"])

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have rows: in the order of the dataset, else train, val, test, then by name."""
        if "split" not in self.frame.columns:
            return ()
        return split_order(self.frame["split"].unique(), self.metadata.splits.get("names", ()))

    def split(self, name: str) -> Manifest:
        """Return the rows of one split.

        Raises:
            UnknownNameError: there is no such split.
        """
        if name not in self.splits:
            known = ", ".join(map(repr, self.splits)) or "none: the manifest has no split column or it is empty"
            raise UnknownNameError(f"no split {name!r}; the splits are {known}")
        return self.where(split=name)

    def split_counts(self) -> dict[str, int]:
        """Return the number of rows of each split, in split order."""
        return {name: int((self.frame["split"] == name).sum()) for name in self.splits}

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the `label` column in index order (see `classes_of_column`); empty if there are no labels."""
        return self.classes_of_column("label") if "label" in self.frame.columns else ()

    def classes_of_column(self, column: str) -> tuple[str, ...]:
        """Return a label column's classes in index order.

        The order is that of `dataset.json`; without one, all-integer labels are ordered as numbers and any others as
        strings, over the whole manifest before any filtering.

        Raises:
            UnknownNameError: there is no such column.
        """
        if self._whole is not None:
            return self._whole.classes_of_column(column)
        if column not in self._classes:
            self._classes[column] = classes_of(self._column(column))
        return self._classes[column]

    def class_counts(self, column: str = "label") -> pd.Series[int]:
        """Count the rows of each class, in class order, classes without rows included.

        Raises:
            UnknownNameError: there is no such column.
        """
        return label_counts(self._column(column), self.classes_of_column(column))

    def class_table(self, column: str = "label") -> pd.DataFrame:
        """Cross classes (rows) with splits (columns)."""
        classes = self.classes_of_column(column) if column in self.frame.columns else ()
        return class_split_table(self.frame, column, classes, self.splits)

    def where(
        self,
        condition: Mask | Callable[[pd.DataFrame], Mask] | None = None,
        /,
        **columns: str | Sequence[str],
    ) -> Manifest:
        """Return the rows that meet every condition, as a manifest with the same classes.

        Args:
            condition: a boolean mask of one value per row (a Series must carry this frame's index), or a function
                from the frame to one: `manifest.where(lambda f: f["age"].astype(int) > 40)`.
            columns: column -> the value to keep, or several: `manifest.where(split="train", label=["cat", "dog"])`.

        Raises:
            UnknownNameError: there is no such column.
            TypeError: a value to keep is no string: `label="3"`, not `label=3`.
            ValueError: the mask does not fit the rows.
        """
        keep = np.ones(len(self), dtype=bool)
        if condition is not None:
            keep &= self._as_mask(condition(self.frame) if callable(condition) else condition)
        for name, wanted in columns.items():
            keep &= self._column(name).isin(_strings(name, wanted)).to_numpy(dtype=bool)
        return Manifest(self.frame[keep], self.root, self.metadata, whole=self if self._whole is None else self._whole)

    def __contains__(self, id_: object) -> bool:
        """Return whether there is such an ID."""
        return id_ in self._positions

    __iter__ = None  # without it Python would try positions as masks; say `manifest.ids`

    def __getitem__(self, mask: Mask) -> Manifest:
        """Return the rows of a boolean mask: `manifest[manifest.frame["label"] == "cat"]`.

        Raises:
            ValueError: the mask does not fit the rows.
        """
        return self.where(mask)

    @cached_property
    def array(self) -> ArraySpec | None:
        """What the samples have in common; None if neither `dataset.json` nor the columns say.

        Rows that were filtered away count too when `dataset.json` says it.
        """
        if self.metadata.array is not None:
            return self.metadata.array
        if not len(self) or not {"shape", "dtype"} <= set(self.frame.columns):
            return None
        if (self.frame["shape"] == "").any() or (self.frame["dtype"] == "").any():
            return None
        return common_array(list(self.frame["shape"].unique()), list(self.frame["dtype"].unique()))

    @cached_property
    def paths(self) -> pd.Series[str]:
        """Each row's shard, relative to `root`.

        Where a row names no path it is `shards/<id>.npy`, or `<id>.npy` when there is no folder `shards` beside the
        manifest: the arrays of a hand-written manifest lie next to it.
        """
        folder = SHARD_FOLDER if (self.root / SHARD_FOLDER).is_dir() else ""
        default = [default_path(id_, folder=folder) for id_ in self.frame["id"]]
        if "path" in self.frame.columns:
            default = [path or other for path, other in zip(self.frame["path"], default, strict=True)]
        return pd.Series(default, index=self.frame.index, name="path", dtype=str)

    def path_of(self, id_: str) -> Path:
        """Return where an ID's shard lies, symbolic links followed; the file may be missing.

        Raises:
            UnknownNameError: there is no such ID.
            ArrayFileError: the path leaves the dataset folder through a symbolic link.
        """
        path = self.paths.iloc[self._position(id_)]
        resolved = resolve_inside(self.root, path)
        if resolved is None:
            raise ArrayFileError(f"shard {path!r} of ID {id_!r} lies outside {self.root} once symbolic links are followed")
        return resolved

    def load(self, id_: str) -> AnyArray:
        """Load an ID's array, in the shard's own shape and dtype. Nothing is ever unpickled.

        Raises:
            UnknownNameError: there is no such ID.
            ArrayFileError: the shard is missing, damaged, unsafe, or not of the shape and dtype that its row says.
        """
        path = self.path_of(id_)
        row = self.frame.iloc[self._position(id_)]
        try:
            array = read_row(path, int(row["row"])) if row.get("row") else read_array(path)
        except ArrayFileError as error:
            raise ArrayFileError(f"shard of ID {id_!r}: {error}") from error
        shape, dtype = row.get("shape"), row.get("dtype")
        if (shape and array.shape != parse_shape(shape)) or (dtype and array.dtype.name != dtype):
            raise ArrayFileError(
                f"shard {path} of ID {id_!r}: expected {shape or 'any shape'} {dtype or 'of any dtype'}, "
                f"found {format_shape(array.shape)} {array.dtype.name}"
            )
        return array

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {id_: position for position, id_ in enumerate(self.frame["id"])}

    def _position(self, id_: str) -> int:
        try:
            return self._positions[id_]
        except KeyError:
            raise UnknownNameError(f"no ID {id_!r} among the {len(self)} rows of {self.root}") from None

    def _column(self, name: str) -> pd.Series[str]:
        if name not in self.frame.columns:
            raise UnknownNameError(f"no column {name!r}; the columns are {', '.join(map(repr, self.frame.columns))}")
        return cast("pd.Series[str]", self.frame[name])

    def _as_mask(self, mask: Mask) -> np.ndarray[Any, np.dtype[np.bool_]]:
        if isinstance(mask, pd.Series) and not mask.index.equals(self.frame.index):
            raise ValueError("the mask's index is not this manifest's; build it from this manifest's own frame")
        # pandas' nullable booleans come from comparing its nullable integers; it refuses them here if any is missing.
        array = mask.to_numpy(dtype=np.bool_) if isinstance(mask, pd.Series) and mask.dtype == "boolean" else np.asarray(mask)
        if array.dtype != np.bool_ or array.shape != (len(self),):
            raise ValueError(f"expected a boolean mask of shape ({len(self)},), got {array.dtype} of shape {array.shape}")
        return array


def _strings(column: str, wanted: object) -> list[str]:
    """Return the values to keep; a number would silently match nothing."""
    values = list(wanted) if isinstance(wanted, Iterable) and not isinstance(wanted, str) else [wanted]
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"the values of column {column!r} are strings, as in the file; got {wanted!r}")
    return list(map(str, values))

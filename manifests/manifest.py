"""`Manifest`: the rows of a dataset with what is needed to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from manifests.classes import classes_of
from manifests.columns import Column, coded, is_in, value_counts, values_of
from manifests.counts import class_split_table, label_counts, split_order
from manifests.errors import ArrayFileError, UnknownNameError
from manifests.html import manifest_html
from manifests.metadata import ArraySpec, Metadata, common_array
from manifests.names import SHARD_FOLDER, resolve_inside
from manifests.npyfile import AnyArray, read_array, read_row
from manifests.schema import format_shape, parse_shape
from manifests.statistics import Normalization, mismatch, normalization_of, refusal
from manifests.strings import PackedStrings
from manifests.table import Files, Table, table_of_frame

if TYPE_CHECKING:
    import pandas as pd

Mask: TypeAlias = "Sequence[bool] | np.ndarray[Any, np.dtype[np.bool_]] | pd.Series"


class Manifest:
    """The rows of a dataset: a pandas frame that knows its folder, its classes and how to load an array.

    Manifests are made by `load_manifest` and by filtering one; a filtered manifest keeps the class order of the whole.

    Attributes:
        root: the folder that paths are relative to.
        metadata: the content of `dataset.json`, empty when there is none.
    """

    def __init__(
        self,
        frame: pd.DataFrame | Table,
        root: Path,
        metadata: Metadata,
        classes: Mapping[str, tuple[str, ...]] | None = None,
        *,
        whole: Manifest | None = None,
    ) -> None:
        """Take rows that `manifests.validation.validate` finds sound.

        Args:
            frame: string columns with at least `id`; in compact form, a frame is made of them when it is first asked for.
            root: the folder that paths are relative to.
            metadata: of the dataset.
            classes: label column -> class order to keep; what is missing is worked out from the rows.
            whole: the manifest that these rows were filtered from, which then decides every class order.
        """
        if isinstance(frame, Table):
            self.table = frame
        else:
            self.frame = frame.reset_index(drop=True)
        self.root = root
        self.metadata = metadata
        self._whole = whole
        self._classes = dict(classes or {})
        for column, spec in metadata.labels.items():
            self._classes.setdefault(column, spec.classes)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per ID, string columns as written in the file; a RangeIndex.

        Treat it as read-only and derive with `where`, so that the rest stays in step. Nothing but this needs a gigabyte
        for a million rows: see `table`.
        """
        return self.table.to_frame()

    @cached_property
    def table(self) -> Table:
        """The same rows in compact arrays, for who handles millions of them at once."""
        return table_of_frame(self.frame)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.split_counts().items())
        parts = [f"{len(self)} IDs", splits, f"{len(self.classes)} classes" if self.classes else "", str(self.array or "")]
        return f"<Manifest {self.root}: {'; '.join(part for part in parts if part)}>"

    def _repr_html_(self) -> str:
        return manifest_html(self.root, len(self), self.array, self.class_table(), self.split_counts())

    @property
    def ids(self) -> list[str]:
        """The IDs, in row order."""
        return values_of(self.table.column("id"))

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have rows: in the order of the dataset, else train, val, test, then by name."""
        return split_order(self._rows_by_split, self.metadata.splits.get("names", ()))

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
        return {name: self._rows_by_split[name] for name in self.splits}

    @property
    def folds(self) -> tuple[str, ...]:
        """The folds that have rows, in their order; empty if there are none."""
        counts = value_counts(self.table.column("fold")) if "fold" in self.table else {}
        return tuple(sorted((name for name in counts if name), key=lambda name: (not name.isdecimal(), len(name), name)))

    def fold(self, number: int) -> tuple[Manifest, Manifest]:
        """Return what to train on and what to validate on in one round of cross-validation.

        The rows of this fold validate and those of all other folds train; rows without a fold, which are held out, are in
        neither. Both keep the class order of the whole.

        Raises:
            UnknownNameError: there is no such fold, or no fold at all.
            TypeError: the number is no integer.
        """
        if isinstance(number, bool) or not isinstance(number, int | np.integer):
            raise TypeError(f"a fold is given by its number, got {number!r}")
        folds = self.folds
        if not folds:
            raise UnknownNameError(f"no fold {number}: the manifest has no column 'fold' or it is empty; draw folds with --folds")
        if str(number) not in folds:
            raise UnknownNameError(f"no fold {number}; the folds are {', '.join(folds)}")
        return self.where(fold=[name for name in folds if name != str(number)]), self.where(fold=str(number))

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the `label` column in index order (see `classes_of_column`); empty if there are no labels."""
        return self.classes_of_column("label") if "label" in self.table else ()

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
            self._classes[column] = classes_of(coded(self._column(column)).distinct)
        return self._classes[column]

    def class_counts(self, column: str = "label") -> pd.Series[int]:
        """Count the rows of each class, in class order, classes without rows included.

        Raises:
            UnknownNameError: there is no such column.
        """
        return label_counts(self._column(column), self.classes_of_column(column))

    def class_table(self, column: str = "label") -> pd.DataFrame:
        """Cross classes (rows) with splits (columns)."""
        classes = self.classes_of_column(column) if column in self.table else ()
        return class_split_table(self.table, column, classes, self.splits)

    def normalization(self) -> Normalization:
        """Return the arguments of a layer that brings the training data to mean 0 and variance 1.

        `keras.layers.Normalization(**manifest.normalization())`. They are those of the dataset's training rows (of all rows
        where it has no splits), whichever rows were picked here, so that validation data are normalised alike: float32 of
        shape (channels,), or scalars where the arrays have no common channels. Keras divides by 1e-7 at least, so a
        channel that is constant in the training data becomes 0 there, and very large where it differs elsewhere.

        Raises:
            ManifestError: `dataset.json` has no statistics, or they are of other rows or other content than the training
                rows now have.
        """
        wrong = self.statistics_mismatch()
        if wrong is not None:
            raise refusal(str(self.root), wrong)
        return normalization_of(self.metadata.statistics, str(self.root))

    def statistics_mismatch(self) -> str | None:
        """Say in what the statistics of `dataset.json` are not those of the dataset's rows; None if they are, or if there are none."""
        return mismatch(self.metadata.statistics, (self if self._whole is None else self._whole).table)

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
            keep &= is_in(self._column(name), _strings(name, wanted))
        part = Manifest(self.table.select(keep), self.root, self.metadata, whole=self if self._whole is None else self._whole)
        if "frame" in self.__dict__:  # it is faster to filter it than to make one anew
            part.frame = self.frame[keep].reset_index(drop=True)
        return part

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
        if not len(self) or not {"shape", "dtype"} <= self.table.columns.keys():
            return None
        shapes, dtypes = (list(coded(self.table.column(name)).distinct) for name in ("shape", "dtype"))
        return common_array(shapes, dtypes)

    @cached_property
    def paths(self) -> pd.Series[str]:
        """Each row's shard, relative to `root`.

        Where a row names no path it is `shards/<id>.npy`, or `<id>.npy` when there is no folder `shards` beside the
        manifest: the arrays of a hand-written manifest lie next to it.
        """
        import pandas as pd  # noqa: PLC0415  # slow to import, and reading and building do without

        return pd.Series(list(self._paths), index=pd.RangeIndex(len(self)), name="path", dtype=str)

    @cached_property
    def _paths(self) -> PackedStrings:
        return self.files().paths

    def files(self) -> Files:
        """Return the same as `paths`, with the IDs and the folders, in compact arrays."""
        return self.table.files(SHARD_FOLDER if (self.root / SHARD_FOLDER).is_dir() else "")

    def path_of(self, id_: str) -> Path:
        """Return where an ID's shard lies, symbolic links followed; the file may be missing.

        Raises:
            UnknownNameError: there is no such ID.
            ArrayFileError: the path leaves the dataset folder through a symbolic link.
        """
        path = self._paths[self._position(id_)]
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
        position = self._position(id_)
        row = {name: self.table.value(name, position) for name in ("row", "shape", "dtype") if name in self.table}
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
        return {id_: position for position, id_ in enumerate(self.ids)}

    @cached_property
    def _rows_by_split(self) -> dict[str, int]:
        return value_counts(self.table.column("split")) if "split" in self.table else {}

    def _position(self, id_: str) -> int:
        try:
            return self._positions[id_]
        except KeyError:
            raise UnknownNameError(f"no ID {id_!r} among the {len(self)} rows of {self.root}") from None

    def _column(self, name: str) -> Column:
        if name not in self.table:
            raise UnknownNameError(f"no column {name!r}; the columns are {', '.join(map(repr, self.table.columns))}")
        return self.table.column(name)

    def _as_mask(self, mask: Mask) -> np.ndarray[Any, np.dtype[np.bool_]]:
        import pandas as pd  # noqa: PLC0415  # as above

        if isinstance(mask, pd.Series) and not mask.index.equals(pd.RangeIndex(len(self))):
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

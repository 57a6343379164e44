"""`Manifest`: the rows of a dataset with what is needed to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from manifests.describe.counts import class_split_table, classes_of, label_counts, number_split_table, split_order
from manifests.describe.notebook_html import manifest_html
from manifests.describe.statistics import Moments, Normalization, mismatch, moments_of_labels, normalization_of, refusal
from manifests.errors import ArrayFileError, ManifestError, UnknownNameError
from manifests.files.filestate import FileState
from manifests.format.metadata import ArraySpec, LabelKind, Metadata, common_array
from manifests.format.names import SHARD_FOLDER, resolve_inside
from manifests.format.npyfile import AnyArray, read_array, read_row
from manifests.format.schema import ARRAY_FIELDS, array_column, array_names, format_shape, parse_shape
from manifests.rows import arrow
from manifests.rows.buffers import mask_array
from manifests.rows.checked import CheckedRows
from manifests.rows.named_arrays import array_rows
from manifests.rows.numbers import are_measurements
from manifests.rows.paths import Files, files_of, paths_of
from manifests.rows.table import distinct, frame_of, is_in, rows_of_frame, select, strings, value_counts

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


Mask: TypeAlias = "Sequence[bool] | np.ndarray[Any, np.dtype[np.bool_]] | pd.Series"


@dataclass(frozen=True)
class Selection:
    """Some rows of a manifest, which are not copied until somebody asks for them: a split of ten million rows opens at once.

    Attributes:
        of: the manifest.
        keep: bool, shape (len(of),): which of its rows.
    """

    of: Manifest
    keep: npt.NDArray[np.bool_]


class Manifest:
    """The rows of a dataset: a pandas frame that knows its folder, its classes and how to load an array.

    Manifests are made by `load_manifest` and by filtering one; a filtered manifest keeps the class order of the whole.

    Attributes:
        root: the folder that paths are relative to.
        metadata: the content of `dataset.json`, empty when there is none.
        source: the file that the rows were loaded from, as it was then; None for rows that were made in memory.
    """

    def __init__(
        self,
        rows: pd.DataFrame | pa.Table | Selection | CheckedRows,
        root: Path,
        metadata: Metadata,
        classes: Mapping[str, tuple[str, ...]] | None = None,
        *,
        whole: Manifest | None = None,
        source: FileState | None = None,
    ) -> None:
        """Take rows that `manifests.format.validation.validate` finds sound.

        Args:
            rows: string columns with at least `id`; or some rows of another manifest; or rows of a cache.
            root: the folder that paths are relative to.
            metadata: of the dataset.
            classes: label column -> class order to keep; what is missing is worked out from the rows.
            whole: the manifest that these rows were filtered from, which then decides every class order.
            source: the file that the rows were loaded from, as it was before.
        """
        self._selection = rows if isinstance(rows, Selection) else None
        self._checked = rows if isinstance(rows, CheckedRows) else None
        if isinstance(rows, arrow.pa.Table):
            self.table = rows
        elif not isinstance(rows, Selection | CheckedRows):
            self.frame = rows.reset_index(drop=True)
        self.root = root
        self.metadata = metadata
        self._whole = whole
        self.source = source
        self._classes = dict(classes or {})
        self._kinds: dict[str, LabelKind] = dict.fromkeys(self._classes, "class")
        for column, spec in metadata.labels.items():
            self._kinds.setdefault(column, "number" if spec.is_number else "class")
            self._classes.setdefault(column, spec.classes)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per ID, string columns as written in the file; a RangeIndex.

        Treat it as read-only and derive with `where`, so that the rest stays in step.
        """
        if self._selection is not None and "frame" in vars(self._selection.of):  # it is faster to filter it than to make one anew
            return self._selection.of.frame[self._selection.keep].reset_index(drop=True)
        return frame_of(self.table)

    @cached_property
    def table(self) -> pa.Table:
        """The same rows as a `pyarrow.Table`: columns of few values are `dictionary<int32, string>`, the others `large_string`."""
        if self._selection is not None:
            return select(self._selection.of.table, self._selection.keep)
        if self._checked is not None:
            return self._checked.table()
        return rows_of_frame(self.frame)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in their order."""
        return tuple(self._schema.names)

    def __len__(self) -> int:
        if self._selection is not None:
            return int(np.count_nonzero(self._selection.keep))
        return len(self.table) if self._checked is None else len(self._checked)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.split_counts().items())
        parts = [f"{len(self)} IDs", splits, f"{len(self.classes)} classes" if self.classes else "", str(self.array or "")]
        return f"<Manifest {self.root}: {'; '.join(part for part in parts if part)}>"

    def _repr_html_(self) -> str:
        columns = self.label_columns or ("label",)
        tables = [self.number_table(name) if self._holds_numbers(name) else self.class_table(name) for name in columns]
        return manifest_html(self.root, len(self), self.array, tables, self.split_counts(), arrays=self.arrays)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column of `table`, without selecting the rows of the others.

        Raises:
            UnknownNameError: there is no such column.
        """
        if name not in self.columns:
            raise UnknownNameError(f"no column {name!r}; the columns are {', '.join(map(repr, self.columns))}")
        if self._selection is not None and "table" not in vars(self):
            return self._selection.of.column(name).filter(mask_array(self._selection.keep))
        return self.table[name] if self._checked is None else self._checked.column(name)

    @property
    def whole(self) -> Manifest:
        """The manifest that these rows were filtered from; itself if it has all rows."""
        return self if self._whole is None else self._whole

    @property
    def _schema(self) -> pa.Schema:
        if self._checked is not None:
            return self._checked.schema
        return self.table.schema if self._selection is None else self._selection.of._schema  # noqa: SLF001  # another of this class

    @property
    def ids(self) -> list[str]:
        """The IDs, in row order."""
        return strings(self.column("id"))

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
        counts = value_counts(self.column("fold")) if "fold" in self.columns else {}
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
    def label_columns(self) -> tuple[str, ...]:
        """The columns that hold labels: `label`, and those that `dataset.json` names besides; empty if there are none."""
        return tuple(name for name in dict.fromkeys(("label", *self.metadata.labels)) if name in self.columns)

    def label_name(self, column: str) -> str:
        """Return what a label column was called in the table that it came from, if `dataset.json` says so, else its own name."""
        spec = self.metadata.labels.get(column)
        return column if spec is None or spec.column is None else spec.column

    def label_kind(self, column: str = "label") -> LabelKind:
        """Return what a label column holds: `class`, or `number` for targets of a regression.

        `dataset.json` says so; of a column that it does not name, labels that are all numbers, of which one at least is no
        integer, such as `3.7`, are numbers, and any others are classes. That is decided over the whole manifest before any
        filtering.

        Raises:
            UnknownNameError: there is no such column.
        """
        if self._whole is not None:
            return self._whole.label_kind(column)
        if column not in self._kinds:
            self._kinds[column] = "number" if are_measurements(distinct(self.column(column))) else "class"
        return self._kinds[column]

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the `label` column in index order (see `classes_of_column`); empty if there are no labels, or if they are numbers."""
        return self.classes_of_column("label") if "label" in self.columns else ()

    def classes_of_column(self, column: str) -> tuple[str, ...]:
        """Return a label column's classes in index order.

        The order is that of `dataset.json`; without one, all-integer labels are ordered as numbers and any others as
        strings, over the whole manifest before any filtering. A column of numbers (see `label_kind`) has no classes.

        Raises:
            UnknownNameError: there is no such column.
        """
        if self._whole is not None:
            return self._whole.classes_of_column(column)
        if column not in self._classes:
            self._classes[column] = () if self.label_kind(column) == "number" else classes_of(distinct(self.column(column)))
        return self._classes[column]

    def class_counts(self, column: str = "label") -> pd.Series[int]:
        """Count the rows of each class, in class order, classes without rows included.

        Raises:
            UnknownNameError: there is no such column.
            ManifestError: the column holds numbers.
        """
        self._check_has_classes(column)
        return label_counts(self.column(column), self.classes_of_column(column))

    def class_table(self, column: str = "label") -> pd.DataFrame:
        """Cross classes (rows) with splits (columns).

        Raises:
            ManifestError: the column holds numbers.
        """
        self._check_has_classes(column)
        classes = self.classes_of_column(column) if column in self.columns else ()
        return class_split_table(self.table, column, classes, self.splits)

    def number_table(self, column: str = "label") -> pd.DataFrame:
        """Cross count, mean, std (of the population), min and max of a column's numbers (rows) with splits (columns).

        What is no finite number does not count.

        Raises:
            UnknownNameError: there is no such column.
        """
        self.column(column)
        return number_split_table(self.table, column, self.splits)

    @overload
    def normalization(self) -> Normalization: ...

    @overload
    def normalization(self, column: str | Sequence[str]) -> Moments: ...

    def normalization(self, column: str | Sequence[str] | None = None) -> Normalization | Moments:
        """Return the arguments of a layer that brings the training data to mean 0 and variance 1.

        `keras.layers.Normalization(**manifest.normalization())`. They are those of the dataset's training rows (of all rows
        where it has no splits), whichever rows were picked here, so that validation data are normalised alike: float32 of
        shape (channels,), or scalars where the arrays have no common channels. Keras divides by 1e-7 at least, so a
        channel that is constant in the training data becomes 0 there, and very large where it differs elsewhere.

        With a label column it is mean and variance of the targets, worked out from the same rows of the manifest:
        `keras.layers.Normalization(axis=None, **manifest.normalization("label"))`, or with `invert=True` as the last layer
        of a model, which then predicts in the label's own unit.

        Args:
            column: None for the arrays; a label column, for float32 scalars; or a list of them, for float32 of shape (columns,).

        Raises:
            UnknownNameError: there is no such column.
            ManifestError: `dataset.json` has no statistics, or they are of other rows or other content than the training
                rows now have; or the column's labels are no numbers.
        """
        if column is not None:
            for name in (names := [column] if isinstance(column, str) else list(column)):
                self.column(name)
            table = self.whole.table
            pairs = [moments_of_labels(table, name, str(self.root)) for name in names]
            found = np.array(pairs, dtype=np.float32).T  # (columns, 2) -> (2, columns)
            mean, variance = found[:, 0] if isinstance(column, str) else found
            return Moments(mean=np.asarray(mean), variance=np.asarray(variance))
        wrong = self.statistics_mismatch()
        if wrong is not None:
            raise refusal(str(self.root), wrong)
        return normalization_of(self.metadata.statistics, str(self.root))

    def statistics_mismatch(self) -> str | None:
        """Say in what the statistics of `dataset.json` are not those of the dataset's rows; None if they are, or if there are none."""
        return mismatch(self.metadata.statistics, self.whole.table)

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
            keep &= is_in(self.column(name), _strings(name, wanted))
        return Manifest(Selection(self, keep), self.root, self.metadata, whole=self.whole, source=self.source)

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
        if not len(self) or not {"shape", "dtype"}.issubset(self.columns):
            return None
        return common_array(distinct(self.column("shape")), distinct(self.column("dtype")))

    @cached_property
    def arrays(self) -> Mapping[str, ArraySpec | None]:
        """The further arrays that samples have, by name: what each has in common; None where neither `dataset.json` nor the columns say.

        Not every sample need have each of them; see `has_array`.
        """
        return {name: self.metadata.arrays.get(name) or self._spec_of(name) for name in array_names(self.columns)}

    def has_array(self, name: str) -> npt.NDArray[np.bool_]:
        """Return whether the sample of each row has a further array: bool, shape (len(self),).

        Raises:
            UnknownNameError: no sample of the dataset has it.
        """
        return ~is_in(self.column(self._array_column(name, "path")), [""])

    def _spec_of(self, name: str) -> ArraySpec | None:
        if not {array_column(name, field) for field in ("shape", "dtype")}.issubset(self.columns):
            return None
        some = array_rows(self.table, name)
        return common_array(distinct(some["shape"]), distinct(some["dtype"])) if len(some) else None

    def _array_column(self, name: str, field: str) -> str:
        if name not in self.arrays:
            known = ", ".join(map(repr, self.arrays)) or "none beside the main one"
            raise UnknownNameError(f"no array {name!r} in {self.root}; the further arrays are {known}")
        return array_column(name, field)

    @cached_property
    def paths(self) -> pd.Series[str]:
        """Each row's shard, relative to `root`.

        Where a row names no path it is `shards/<id>.npy`, or `<id>.npy` when there is no folder `shards` beside the
        manifest: the arrays of a hand-written manifest lie next to it.
        """
        paths: pd.Series[str] = frame_of(arrow.pa.table({"path": self._paths}))["path"]
        return paths

    @cached_property
    def _paths(self) -> pa.ChunkedArray:
        return paths_of(self, self.columns, self._default_folder)

    @property
    def _default_folder(self) -> str:
        return SHARD_FOLDER if (self.root / SHARD_FOLDER).is_dir() else ""

    def files(self) -> Files:
        """Return where the rows' shards are, as Arrow columns; unlike `paths`, it writes no path out that follows from the ID."""
        return files_of(self, self._schema, self._default_folder)

    def path_of(self, id_: str, array: str | None = None) -> Path:
        """Return where an ID's shard lies, symbolic links followed; the file may be missing.

        Args:
            id_: of the sample.
            array: name of a further array; the main one if left out.

        Raises:
            UnknownNameError: there is no such ID, or it has no such array.
            ArrayFileError: the path leaves the dataset folder through a symbolic link.
        """
        path = self._paths[self._position(id_)].as_py() if array is None else self._array_values(id_, array)["path"]
        resolved = resolve_inside(self.root, path)
        if resolved is None:
            raise ArrayFileError(f"shard {path!r} of ID {id_!r} lies outside {self.root} once symbolic links are followed")
        return resolved

    def load(self, id_: str, array: str | None = None) -> AnyArray:
        """Load an ID's array, in the shard's own shape and dtype. Nothing is ever unpickled.

        Args:
            id_: of the sample.
            array: name of a further array, such as `mask`; the main one if left out.

        Raises:
            UnknownNameError: there is no such ID, or it has no such array.
            ArrayFileError: the shard is missing, damaged, unsafe, or not of the shape and dtype that its row says.
        """
        path = self.path_of(id_, array)
        row: dict[str, str]
        if array is None:
            position = self._position(id_)
            row = {name: self.column(name)[position].as_py() for name in ARRAY_FIELDS if name in self.columns}
        else:
            row = self._array_values(id_, array)
        try:
            found = read_row(path, int(row["row"])) if row.get("row") else read_array(path)
        except ArrayFileError as error:
            raise ArrayFileError(f"shard of ID {id_!r}: {error}") from error
        shape, dtype = row.get("shape"), row.get("dtype")
        if (shape and found.shape != parse_shape(shape)) or (dtype and found.dtype.name != dtype):
            raise ArrayFileError(
                f"shard {path} of ID {id_!r}: expected {shape or 'any shape'} {dtype or 'of any dtype'}, "
                f"found {format_shape(found.shape)} {found.dtype.name}"
            )
        return found

    def _array_values(self, id_: str, name: str) -> dict[str, str]:
        """Return what the row of an ID says of a further array, by field."""
        columns = {field: self._array_column(name, field) for field in ARRAY_FIELDS}
        position = self._position(id_)
        values = {field: self.column(column)[position].as_py() for field, column in columns.items() if column in self.columns}
        if not values["path"]:
            raise UnknownNameError(f"ID {id_!r} of {self.root} has no array {name!r}")
        return values

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {id_: position for position, id_ in enumerate(self.ids)}

    @cached_property
    def _rows_by_split(self) -> dict[str, int]:
        return value_counts(self.column("split")) if "split" in self.columns else {}

    def _position(self, id_: str) -> int:
        try:
            return self._positions[id_]
        except KeyError:
            raise UnknownNameError(f"no ID {id_!r} among the {len(self)} rows of {self.root}") from None

    def _holds_numbers(self, column: str) -> bool:
        return column in self.columns and self.label_kind(column) == "number"

    def _check_has_classes(self, column: str) -> None:
        if self._holds_numbers(column):
            raise ManifestError(
                f"{self.root}: column {column!r} holds numbers, not classes; number_table({column!r}) says what they are like, by split"
            )

    def _as_mask(self, mask: Mask) -> np.ndarray[Any, np.dtype[np.bool_]]:
        import pandas as pd  # noqa: PLC0415  # slow to import, and reading and building do without

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

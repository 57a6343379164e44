"""Indexing the rows of a manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from loader.errors import SHOWN_PROBLEMS, LabelError, OptionError, SamplesError, listing
from loader.feed.columns import Strings, coded, column_of, strings
from loader.feed.index.arguments import BALANCED, anything, check_weights_have_labels, checked_names
from loader.feed.index.index import Index
from loader.feed.targets.labels import (
    INDICATORS,
    LabelCodes,
    LabelMode,
    Mode,
    check_label_mode,
    encode_indicators,
    encode_labels,
    encode_numbers,
)
from loader.feed.targets.weights import balanced_weights, check_weights, cumulative
from manifests.describe.counts import classes_of
from manifests.format.metadata import ArraySpec, common_array
from manifests.rows.numbers import numbers_of
from manifests.rows.table import distinct, is_in

if TYPE_CHECKING:
    import pyarrow as pa

    from manifests.manifest import Manifest


def index_of_manifest(
    manifest: Manifest,
    *,
    label_mode: LabelMode,
    label: str | Sequence[str] = "label",
    class_names: Sequence[str] | None = None,
    sample_weight: str | None = None,
    sampling: str | None = None,
) -> Index:
    """Return the index of a manifest's rows, in their order.

    Args:
        manifest: the rows.
        label_mode: how to encode labels; see `loader.feed.targets.labels`.
        label: the column of labels, or several columns that make one y together.
        class_names: the classes in index order; None for those of the manifest.
        sample_weight: the column of weights in the loss.
        sampling: how often each sample is drawn: None for once a pass, `balanced` for each class equally often, or a
            column of weights.

    Raises:
        SamplesError: the manifest has no rows, its rows are in packs, or its samples have several dtypes.
        LabelError: the manifest has no labels and the mode or the sampling needs them, they cannot be encoded in this mode, or
            weights are negative or not finite.
        OptionError: `class_names` are not distinct names, or there is no such column.
    """
    if not len(manifest):
        raise SamplesError(f"the manifest of {manifest.root} has no rows: there is nothing to feed")
    files = manifest.files()
    ids = strings(files.ids)
    paths = replace(ids, prefix=files.prefix.encode(), suffix=b".npy") if files.paths is None else strings(files.paths)
    _check_no_packs(manifest, ids, paths)
    check_label_mode(label_mode)
    columns = ", ".join(map(repr, manifest.columns))
    labels = _label_columns(manifest, label)
    if missing := [name for name in labels if name not in manifest.columns]:
        what = f"the manifest of {manifest.root} has no column {missing[0]!r} (its columns are {columns})"
        if label_mode is not None:
            raise LabelError(f"{what}; pass label_mode=None for batches without labels")
        if sampling == BALANCED:
            raise LabelError(f"{what}, which sampling 'balanced' needs")
        if label != "label":
            raise LabelError(f"{what}, which label={label!r} names")
        labels = ()
    for name, value, words in (("sample_weight", sample_weight, "None"), ("sampling", sampling, "None, 'balanced'")):
        if value is not None and not (
            isinstance(anything(value), str) and (value in manifest.columns or (name, value) == ("sampling", BALANCED))
        ):
            raise OptionError(f"{name} must be {words} or a column of the manifest, which are {columns}; got {value!r}")
    check_weights_have_labels(sample_weight, label_mode)
    names = None if class_names is None else checked_names(class_names)
    encoder = _Encoder(manifest, {name: manifest.column(name) for name in labels}, ids, paths)
    codes, classes = encoder.encoded(label_mode, names)

    @cache
    def weights_of(column: str) -> npt.NDArray[np.float64]:
        values = manifest.column(column)
        weights = numbers_of(values)
        check_weights(f"column {column!r}", weights, column_of(values), ids=ids, paths=paths)
        return weights

    drawn = None
    if sampling is not None:
        weights = encoder.balanced(codes) if sampling == BALANCED else weights_of(sampling)
        drawn = cumulative(weights, f"sampling={sampling!r}")
    array, shapes = _array_of_manifest(manifest)
    return Index(
        root=manifest.root,
        ids=ids,
        paths=paths,
        codes=codes,
        classes=classes,
        array=array,
        varied_shapes=shapes,
        weights=None if sample_weight is None else weights_of(sample_weight).astype(np.float32),
        cumulative=drawn,
    )


def _label_columns(manifest: Manifest, label: object) -> tuple[str, ...]:
    """Return the label columns, which may be given by the names that they had in the source's table."""
    given = (label,) if isinstance(label, str) else tuple(label) if isinstance(label, Sequence) else ()
    named = {manifest.label_name(column): column for column in manifest.label_columns}
    names = tuple(name if name in manifest.columns else named.get(name, name) for name in given if isinstance(name, str))
    if not names or len(names) < len(given) or len(set(names)) < len(names):
        raise OptionError(f"label must be the name of a column, or a list of distinct ones, got {label!r}")
    return names


@dataclass(frozen=True)
class _Encoder:
    """Encodes the label columns of a manifest.

    Attributes:
        manifest: the rows.
        columns: of labels, by name.
        ids: one a row.
        paths: one a row.
    """

    manifest: Manifest
    columns: Mapping[str, pa.ChunkedArray]
    ids: Strings
    paths: Strings

    def encoded(self, label_mode: LabelMode, class_names: tuple[str, ...] | None) -> tuple[LabelCodes | None, tuple[str, ...]]:
        """Return the targets, None if the mode is None, and the classes in index order.

        Raises:
            OptionError: `class_names` are given for several columns, or for numbers.
            LabelError: labels cannot be encoded in this mode.
        """
        names = list(self.columns)
        if label_mode is None:
            return None, class_names or (self.manifest.classes_of_column(names[0]) if len(names) == 1 else ())
        if len(names) > 1:
            return self._several(label_mode, class_names)
        (column,) = self.columns.values()
        is_number = self.manifest.label_kind(names[0]) == "number"
        if label_mode == "float" or (is_number and label_mode == "auto"):
            self._refuse_class_names(class_names)
            return encode_numbers(self.columns, ids=self.ids, paths=self.paths), ()
        mode = "categorical" if label_mode == "auto" else label_mode
        classes = self.manifest.classes_of_column(names[0]) if class_names is None else class_names
        if is_number:
            self._refuse_class_names(class_names)
            if mode != "binary":
                raise LabelError(
                    f"label_mode {mode!r} makes classes, but {self._numbers()}; use label_mode='float', "
                    "or say that they are classes when you build or adopt the dataset: --label-kind class"
                )
            classes = classes_of(distinct(column))
        return encode_labels(coded(column), classes, mode, ids=self.ids, paths=self.paths, name=names[0]), classes

    def balanced(self, codes: LabelCodes | None) -> npt.NDArray[np.float64]:
        """Return weights with which each class is drawn equally often: float64, shape (n,).

        Raises:
            LabelError: there are several columns, the labels are numbers, or a label is not exactly one class.
        """
        what = "sampling 'balanced' draws each class equally often"
        if len(self.columns) > 1:
            raise LabelError(f"{what}, and takes one label column, got {_quoted(self.columns)}; give a column of weights of your own")
        ((name, column),) = self.columns.items()
        if self.manifest.label_kind(name) == "number" or (codes is not None and codes.label_mode == "float"):
            raise LabelError(f"{what}, but {self._numbers()}; give a column of weights of your own")
        return balanced_weights(coded(column), ids=self.ids, paths=self.paths)

    def _several(self, label_mode: Mode | Literal["auto"], class_names: tuple[str, ...] | None) -> tuple[LabelCodes, tuple[str, ...]]:
        names = tuple(self.columns)
        if class_names is not None:
            raise OptionError(f"class_names goes with one label column; of several, {_quoted(names)}, each is a class by its own name")
        kinds = {name: self.manifest.label_kind(name) for name in names}
        are_numbers = all(kind == "number" for kind in kinds.values())
        if label_mode == "float" or (label_mode == "auto" and are_numbers):
            return encode_numbers(self.columns, ids=self.ids, paths=self.paths), ()
        are_indicators = all(
            kind == "class" and INDICATORS.keys() >= set(self.manifest.classes_of_column(name)) for name, kind in kinds.items()
        )
        if label_mode == "multi_hot" or (label_mode == "auto" and are_indicators):
            indicators = {name: coded(column) for name, column in self.columns.items()}
            return encode_indicators(indicators, ids=self.ids, paths=self.paths), tuple(map(self.manifest.label_name, names))
        if label_mode != "auto":
            raise LabelError(
                f"label_mode {label_mode!r} takes one label column, got {_quoted(names)}; "
                "several make one y with 'multi_hot', if all hold 0 and 1, or 'float', if all hold numbers"
            )
        words = [
            f"{name!r} holds {'numbers' if kind == 'number' else f'{len(self.manifest.classes_of_column(name))} classes'}"
            for name, kind in kinds.items()
        ]
        raise LabelError(
            f"several label columns make one y if all hold numbers, or all hold 0 and 1, but {listing(words)}; "
            "pass one of them, or label_mode='float' if all of them are numbers"
        )

    def _refuse_class_names(self, class_names: tuple[str, ...] | None) -> None:
        if class_names is not None:
            raise OptionError(f"class_names names classes, but {self._numbers()}; leave class_names out")

    def _numbers(self) -> str:
        """Return a phrase that says that the column holds numbers, with the first of them."""
        ((name, column),) = self.columns.items()
        shown = zip(self.ids, column.slice(0, 3).to_pylist(), strict=False)
        return f"column {name!r} holds numbers ({', '.join(f'ID {id_!r} has {value!r}' for id_, value in shown)})"


def _quoted(names: Iterable[str]) -> str:
    return listing([repr(name) for name in names])


def _check_no_packs(manifest: Manifest, ids: Strings, paths: Strings) -> None:
    if "row" not in manifest.columns:
        return
    rows = column_of(manifest.column("row"))
    packed = np.flatnonzero(~is_in(manifest.column("row"), [""]))
    if len(packed):
        shown = [f"ID {ids[p]!r} ({paths[p]}, row {rows[p]})" for p in packed[:SHOWN_PROBLEMS].tolist()]
        raise SamplesError(
            f"{len(packed)} samples are rows of packs, which the feed does not read yet: {listing(shown, len(packed))}; "
            "write one .npy shard per ID, or leave these rows out with manifest.where"
        )


def _array_of_manifest(manifest: Manifest) -> tuple[ArraySpec, str]:
    """Return the shape and dtype of the rows, as far as the manifest says, and their shapes, for messages, if they differ.

    Where the spec of the whole dataset leaves something open, the columns of these rows may still agree.
    """
    array = manifest.array or ArraySpec(shape=None, dtype=None)
    if array.is_fixed or not {"shape", "dtype"} <= set(manifest.columns):
        return array, ""
    shapes, dtypes = (distinct(manifest.column(name)) for name in ("shape", "dtype"))
    own = common_array(shapes, dtypes)
    if own is None:
        return array, ""
    if own.dtype is None:
        raise SamplesError(
            f"the samples differ: shapes {listing(shapes)}; dtypes {listing(dtypes)}; "
            "a batch needs one dtype: build the shards with one, or choose rows with manifest.where"
        )
    return own, "" if own.is_fixed else listing(shapes)

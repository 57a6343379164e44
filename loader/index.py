"""What a feed knows of its samples, in compact arrays: names, files, labels and the shape they share."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np
import numpy.typing as npt

from loader.errors import SHOWN_PROBLEMS, LabelError, OptionError, SamplesError, listing
from loader.labels import LabelCodes, LabelMode, check_label_mode, encode_labels
from loader.weights import balanced_weights, check_weights, cumulative, numbers_of, numbers_of_column
from manifests.columns import Coded, coded, is_in, packed_column
from manifests.metadata import ArraySpec, common_array
from manifests.names import name_problem
from manifests.schema import LABEL_SEPARATOR
from manifests.strings import PackedStrings

if TYPE_CHECKING:
    # A worker is sent an index and needs no pandas.
    from manifests.manifest import Manifest
    from manifests.table import Table

BALANCED = "balanced"
"""The sampling that draws each class equally often; a column of this name does not win over the word."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """All samples of a feed. An ID may stand more than once; each time is a sample of its own.

    Attributes:
        root: the folder that paths are relative to; no shard lies outside it.
        ids: one a sample.
        paths: of the shards, one a sample.
        folders: the distinct folders of the shards, empty for the root.
        folder_of: int32, shape (n,): each sample's folder, by its position in `folders`.
        codes: the labels; None for batches without any.
        classes: names in index order.
        array: the samples' shape and dtype; whatever is None is that of the first shard.
        channel_optional: a shard may lack the shape's last axis, if that has length 1.
        weights: float32, shape (n,): how much each sample counts in the loss; None for all the same.
        cumulative: float64, shape (n,): the running sum of the shares in which samples are drawn, the last being exactly 1;
            None for each sample once a pass.
        varied_shapes: the samples' shapes in words, if they are known to differ; else empty.

    Whatever grows with n is a contiguous array, which processes can share.
    """

    root: Path
    ids: PackedStrings
    paths: PackedStrings
    folders: PackedStrings
    folder_of: npt.NDArray[np.int32]
    codes: LabelCodes | None
    classes: tuple[str, ...]
    array: ArraySpec
    channel_optional: bool = False
    weights: npt.NDArray[np.float32] | None = None
    cumulative: npt.NDArray[np.float64] | None = None
    varied_shapes: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_varied(self) -> bool:
        """Whether the samples are known to differ in shape."""
        return bool(self.varied_shapes)


def index_of_manifest(
    manifest: Manifest,
    *,
    label_mode: LabelMode,
    class_names: Sequence[str] | None = None,
    sample_weight: str | None = None,
    sampling: str | None = None,
) -> Index:
    """Index a manifest's rows, in their order.

    Args:
        manifest: the rows.
        label_mode: what to encode labels for.
        class_names: every class in index order, instead of the manifest's own.
        sample_weight: the column that says how much each sample counts in the loss.
        sampling: how often each sample is drawn: None for once a pass, `balanced` for each class equally often, or the
            column that holds the weights.

    Raises:
        SamplesError: the manifest has no rows, its rows lie in packs, or its samples differ in shape or dtype.
        LabelError: the manifest has no labels though the mode or the sampling asks for them, they cannot be encoded, or
            weights are no finite numbers from 0.
        OptionError: `class_names` are not distinct names, or there is no such column.
    """
    table = manifest.table
    if not len(table):
        raise SamplesError(f"the manifest of {manifest.root} has no rows: there is nothing to feed")
    ids, paths, folders = manifest.files()
    _check_no_packs(table, ids, paths)
    check_label_mode(label_mode)
    columns = ", ".join(map(repr, table.columns))
    if label_mode is not None and "label" not in table:
        raise LabelError(
            f"the manifest of {manifest.root} has no column 'label' (its columns are {columns}); "
            "pass label_mode=None for batches without labels"
        )
    if sampling == BALANCED and "label" not in table:
        raise LabelError(
            f"the manifest of {manifest.root} has no column 'label' (its columns are {columns}), which sampling 'balanced' needs"
        )
    for name, value, words in (("sample_weight", sample_weight, "None"), ("sampling", sampling, "None, 'balanced'")):
        if value is not None and not (isinstance(_anything(value), str) and (value in table or (name, value) == ("sampling", BALANCED))):
            raise OptionError(f"{name} must be {words} or a column of the manifest, which are {columns}; got {value!r}")
    _check_weights_have_labels(sample_weight, label_mode)
    classes = manifest.classes if class_names is None else _checked_names(class_names)
    labels = table.column("label") if "label" in table and (label_mode is not None or sampling == BALANCED) else PackedStrings()

    @cache
    def weights_of(column: str) -> npt.NDArray[np.float64]:
        values = table.column(column)
        weights = numbers_of_column(values)
        check_weights(f"column {column!r}", weights, values, ids=ids, paths=paths)
        return weights

    drawn = None
    if sampling is not None:
        weights = balanced_weights(labels, ids=ids, paths=paths) if sampling == BALANCED else weights_of(sampling)
        drawn = cumulative(weights, f"sampling={sampling!r}")
    used = coded(folders)
    array, shapes = _array_of_manifest(manifest)
    return Index(
        root=manifest.root,
        ids=ids,
        paths=paths,
        folders=used.distinct,
        folder_of=used.codes.astype(np.int32),
        codes=encode_labels(labels, classes, label_mode, ids=ids, paths=paths),
        classes=classes,
        array=array,
        varied_shapes=shapes,
        weights=None if sample_weight is None else weights_of(sample_weight).astype(np.float32),
        cumulative=drawn,
    )


def index_of_ids(
    list_ids: Sequence[str],
    labels: Mapping[str, int | str] | None,
    *,
    data_dir: str | Path,
    dim: Sequence[int] | int | None,
    n_channels: int | None,
    n_classes: int | None,
    label_mode: LabelMode,
    class_names: Sequence[str] | None = None,
    sample_weight: Mapping[str, float] | None = None,
    sampling: str | None = None,
) -> Index:
    """Index IDs whose shards are `data_dir/<ID>.npy`, in the order of the list.

    Args:
        list_ids: the IDs; any iterable of strings that has a length.
        labels: ID -> class index, or name if `class_names` are given; entries of other IDs are passed over.
        data_dir: the shards' folder.
        dim: the sample's axes but for the channels; None for whatever shape the first shard has.
        n_channels: length of the last axis; None for that of the first shard. A shard of shape `dim` is one of 1 channel.
        n_classes: number of classes; None for that of `class_names`, else the highest index and one.
        label_mode: what to encode labels for.
        class_names: names of the classes in index order; None names them by their index.
        sample_weight: ID -> how much the sample counts in the loss; entries of other IDs are passed over.
        sampling: how often each sample is drawn: None for once a pass, `balanced` for each class equally often.

    Raises:
        SamplesError: there are no IDs, or unsafe ones; all of those are listed.
        LabelError: IDs have no label or weight, or a label that is out of range or no class, or a weight that is no finite
            number from 0; they are listed.
        OptionError: an argument cannot be used.
    """
    check_label_mode(label_mode)
    ids = [list_ids] if isinstance(list_ids, str) else list(list_ids)
    if not ids:
        raise SamplesError("list_IDs is empty: there is nothing to feed")
    strangers = [repr(id_) for id_ in map(_anything, ids) if not isinstance(id_, str)]
    if strangers:
        raise OptionError(f"list_IDs must hold strings, got {listing(strangers)}; the shard of ID '7' is '7.npy'")
    problems = [f"ID {id_!r} {problem}" for id_ in ids if (problem := name_problem(id_) or name_problem(f"{id_}.npy"))]
    if problems:
        raise SamplesError(f"{len(problems)} unsafe IDs: " + "; ".join(problems))
    paths = [f"{id_}.npy" for id_ in ids]
    if sampling not in (None, BALANCED):  # no set: a stranger's value may have no hash
        raise OptionError(f"sampling must be None or 'balanced' for a list of IDs, got {sampling!r}")
    _check_weights_have_labels(sample_weight, label_mode)
    classes: tuple[str, ...] = ()
    column = packed_column(())
    if sampling is not None and labels is None:
        raise LabelError("labels is None, but sampling 'balanced' needs them; pass a dict of ID -> class")
    if label_mode is not None or sampling is not None:
        texts, classes = _named_labels(ids, labels, n_classes, class_names)
        column = packed_column(texts)
    drawn = None if sampling is None else cumulative(balanced_weights(column, ids=ids, paths=paths), f"sampling={sampling!r}")
    folders = packed_column(path.rpartition("/")[0] for path in paths)
    used = coded(folders)
    packed_ids = PackedStrings(ids)
    return Index(
        root=Path(data_dir),
        ids=packed_ids,
        paths=packed_ids.affixed("", ".npy").written_out(),
        folders=used.distinct,
        folder_of=used.codes.astype(np.int32),
        codes=encode_labels(column, classes, label_mode, ids=ids, paths=paths),
        classes=classes if label_mode is not None else (),
        array=_array_of_dim(dim, n_channels),
        channel_optional=dim is not None and n_channels in {1, None},
        weights=None if sample_weight is None else _weights_of_ids(ids, paths, sample_weight),
        cumulative=drawn,
    )


def _check_no_packs(table: Table, ids: PackedStrings, paths: PackedStrings) -> None:
    if "row" not in table:
        return
    rows = table.column("row")
    packed = np.flatnonzero(~is_in(rows, [""]))
    if len(packed):
        shown = [f"ID {ids[p]!r} ({paths[p]}, row {table.value('row', p)})" for p in packed[:SHOWN_PROBLEMS].tolist()]
        raise SamplesError(
            f"{len(packed)} samples are rows of packs, which the feed does not read yet: {listing(shown, len(packed))}; "
            "write one .npy shard per ID, or leave these rows out with manifest.where"
        )


def _check_weights_have_labels(sample_weight: object, label_mode: LabelMode) -> None:
    if sample_weight is not None and label_mode is None:
        raise OptionError("sample_weight needs a label_mode, got None: Keras takes batches as (x, y, weights), which must have a y")


def _weights_of_ids(ids: list[str], paths: list[str], sample_weight: Mapping[str, float]) -> npt.NDArray[np.float32]:
    if not isinstance(_anything(sample_weight), Mapping):
        raise OptionError(f"sample_weight must be a dict of ID -> number, got {type(sample_weight).__name__}")
    missing = [repr(id_) for id_ in ids if id_ not in sample_weight]
    if missing:
        raise LabelError(f"sample_weight has no entry for {len(missing)} of the {len(ids)} IDs: {listing(missing)}")
    values: list[object] = [sample_weight[id_] for id_ in ids]
    # A text is no number here, though it may look like one.
    weights = numbers_of(None if isinstance(value, str) else value for value in values)
    check_weights("sample_weight", weights, values, ids=ids, paths=paths)
    return weights.astype(np.float32)


def _array_of_manifest(manifest: Manifest) -> tuple[ArraySpec, str]:
    """Return what the rows share, as far as it is written down, and their shapes if those are known to differ.

    The whole dataset's spec may leave open what these rows agree on; then their own columns are asked.
    """
    array = manifest.array or ArraySpec(shape=None, dtype=None)
    if array.is_fixed or not {"shape", "dtype"} <= manifest.table.columns.keys():
        return array, ""
    shapes, dtypes = (_by_first_row(coded(manifest.table.column(name))) for name in ("shape", "dtype"))
    own = common_array(shapes, dtypes)
    if own is None:
        return array, ""
    if own.dtype is None:
        raise SamplesError(
            f"the samples differ: shapes {listing(shapes)}; dtypes {listing(dtypes)}; "
            "a batch needs one dtype: build the shards with one, or choose rows with manifest.where"
        )
    return own, "" if own.is_fixed else listing(shapes)


def _by_first_row(column: Coded) -> list[str]:
    """Return a column's distinct values in the order of their first rows."""
    first = np.empty(len(column.distinct), dtype=np.int64)
    first[column.codes[::-1]] = np.arange(len(column))[::-1]  # of several places the last that is written stays
    return column.distinct.take(np.argsort(first))


def _array_of_dim(dim: Sequence[int] | int | None, n_channels: int | None) -> ArraySpec:
    if dim is None:
        return ArraySpec(shape=None, dtype=None)
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    if not all(map(_is_positive, axes)):
        raise OptionError(f"dim must be positive integers such as (32, 32, 32), got {dim!r}")
    if n_channels is not None and not _is_positive(n_channels):
        raise OptionError(f"n_channels must be a positive integer or None, got {n_channels!r}")
    return ArraySpec(shape=(*map(operator.index, axes), n_channels), dtype=None)


def _named_labels(
    ids: Sequence[str], labels: Mapping[str, int | str] | None, n_classes: int | None, class_names: Sequence[str] | None
) -> tuple[list[str], tuple[str, ...]]:
    """Return each ID's label as the name of its class, and all names; a class without a name is called by its index."""
    if labels is None:
        raise LabelError("labels is None; pass a dict of ID -> class, or label_mode=None for batches without labels")
    if not isinstance(_anything(labels), Mapping):
        raise OptionError(f"labels must be a dict of ID -> class, got {type(labels).__name__}")
    missing = [repr(id_) for id_ in ids if id_ not in labels]
    if missing:
        raise LabelError(f"labels has no entry for {len(missing)} of the {len(ids)} IDs: {listing(missing)}")
    values = [labels[id_] for id_ in ids]
    strangers = [
        f"ID {id_!r} has {value!r}"
        for id_, value in zip(ids, map(_anything, values), strict=True)
        if not (isinstance(value, SupportsIndex) or (isinstance(value, str) and class_names is not None))
    ]
    if strangers:
        raise LabelError(f"labels must be class indices, or names when class_names are given: {listing(strangers)}")
    names = _class_names(values, n_classes, class_names)
    return [_name_of(value, names) for value in values], names


def _class_names(values: Sequence[int | str], n_classes: int | None, class_names: Sequence[str] | None) -> tuple[str, ...]:
    if n_classes is not None and not _is_positive(n_classes):
        raise OptionError(f"n_classes must be a positive integer or None, got {n_classes!r}")
    if class_names is not None:
        names = _checked_names(class_names)
        if n_classes not in {None, len(names)}:
            raise OptionError(f"n_classes is {n_classes}, but class_names has {len(names)} names")
        return names
    highest = max(operator.index(value) for value in values if not isinstance(value, str))
    return tuple(str(index) for index in range(max(highest + 1, 1) if n_classes is None else n_classes))


def _name_of(value: int | str, names: tuple[str, ...]) -> str:
    if isinstance(value, str):
        return value
    index = operator.index(value)
    # Out of range it stays a number, which is no class's name and is reported as such.
    return names[index] if 0 <= index < len(names) else str(index)


def _checked_names(class_names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(class_names) if isinstance(_anything(class_names), Iterable) and not isinstance(class_names, str) else ()
    if not names or not all(isinstance(name, str) and name for name in map(_anything, names)):
        raise OptionError(f"class_names must be a list of names, got {class_names!r}")
    if len(set(names)) != len(names):
        raise OptionError(f"class_names must be distinct, got {class_names!r}")
    if any(LABEL_SEPARATOR in name for name in names):
        raise OptionError(f"a class name cannot hold {LABEL_SEPARATOR!r}, which separates the classes of one sample, got {class_names!r}")
    return names


def _is_positive(value: object) -> bool:
    return isinstance(value, SupportsIndex) and operator.index(value) > 0


def _anything(value: object) -> object:
    """Forget a declared type: what callers pass is checked, not believed."""
    return value

"""What a feed knows of its samples, in compact arrays: names, files, labels and the shape they share."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np
import numpy.typing as npt

from loader.errors import LabelError, OptionError, SamplesError, listing
from loader.labels import LabelCodes, LabelMode, check_label_mode, encode_labels
from loader.strings import PackedStrings
from manifests.metadata import ArraySpec, common_array
from manifests.names import name_problem
from manifests.schema import LABEL_SEPARATOR

if TYPE_CHECKING:
    from manifests.manifest import Manifest  # a worker is sent an index and needs no pandas


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

    def __len__(self) -> int:
        return len(self.ids)


def index_of_manifest(manifest: Manifest, *, label_mode: LabelMode, class_names: Sequence[str] | None = None) -> Index:
    """Index a manifest's rows, in their order.

    Args:
        manifest: the rows.
        label_mode: what to encode labels for.
        class_names: every class in index order, instead of the manifest's own.

    Raises:
        SamplesError: the manifest has no rows, its rows lie in packs, or its samples differ in shape or dtype.
        LabelError: the manifest has no labels though the mode asks for them, or they cannot be encoded.
        OptionError: `class_names` are not distinct names.
    """
    frame = manifest.frame
    if not len(frame):
        raise SamplesError(f"the manifest of {manifest.root} has no rows: there is nothing to feed")
    ids, paths = list(frame["id"]), list(manifest.paths)
    if "row" in frame.columns:
        packed = [f"ID {id_!r} ({path}, row {row})" for id_, path, row in zip(ids, paths, frame["row"], strict=True) if row]
        if packed:
            raise SamplesError(
                f"{len(packed)} samples are rows of packs, which the feed does not read yet: {listing(packed)}; "
                "write one .npy shard per ID, or leave these rows out with manifest.where"
            )
    check_label_mode(label_mode)
    if label_mode is not None and "label" not in frame.columns:
        columns = ", ".join(map(repr, frame.columns))
        raise LabelError(
            f"the manifest of {manifest.root} has no column 'label' (its columns are {columns}); "
            "pass label_mode=None for batches without labels"
        )
    folders, folder_of = _folders(paths)
    classes = manifest.classes if class_names is None else _checked_names(class_names)
    labels = list(frame["label"]) if label_mode is not None else []
    return Index(
        root=manifest.root,
        ids=PackedStrings(ids),
        paths=PackedStrings(paths),
        folders=PackedStrings(folders),
        folder_of=folder_of,
        codes=encode_labels(labels, classes, label_mode, ids=ids, paths=paths),
        classes=classes,
        array=_array_of_manifest(manifest),
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

    Raises:
        SamplesError: there are no IDs, or unsafe ones; all of those are listed.
        LabelError: IDs have no label, or one that is out of range or no class; they are listed.
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
    folders, folder_of = _folders(paths)
    classes: tuple[str, ...] = ()
    texts: list[str] = []
    if label_mode is not None:
        texts, classes = _named_labels(ids, labels, n_classes, class_names)
    return Index(
        root=Path(data_dir),
        ids=PackedStrings(ids),
        paths=PackedStrings(paths),
        folders=PackedStrings(folders),
        folder_of=folder_of,
        codes=encode_labels(texts, classes, label_mode, ids=ids, paths=paths),
        classes=classes,
        array=_array_of_dim(dim, n_channels),
        channel_optional=dim is not None and n_channels in {1, None},
    )


def _folders(paths: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Return the distinct folders of paths, and int32, shape (len(paths),): which of them each path lies in."""
    numbers: dict[str, int] = {}
    folder_of = np.fromiter((numbers.setdefault(path.rpartition("/")[0], len(numbers)) for path in paths), np.int32, len(paths))
    return list(numbers), folder_of


def _array_of_manifest(manifest: Manifest) -> ArraySpec:
    """Return what the rows share, as far as it is written down.

    The whole dataset's spec may leave open what these rows agree on; then their own columns are asked.
    """
    array = manifest.array or ArraySpec(shape=None, dtype=None)
    columns = set(manifest.frame.columns)
    if array.is_fixed or not {"shape", "dtype"} <= columns:
        return array
    shapes, dtypes = list(manifest.frame["shape"].unique()), list(manifest.frame["dtype"].unique())
    if "" in shapes or "" in dtypes:
        return array
    own = common_array(shapes, dtypes)
    if not own.is_fixed:
        raise SamplesError(
            f"the samples differ: shapes {listing(shapes)}; dtypes {listing(dtypes)}; "
            "a batch needs one shape and dtype: build the shards with one, or choose rows with manifest.where"
        )
    return own


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

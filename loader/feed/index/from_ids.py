"""Indexing a list of IDs whose shards are `<folder>/<ID>.npy`, with labels in a dict."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from loader.errors import LabelError, OptionError, SamplesError, listing
from loader.feed.columns import coded, strings
from loader.feed.index.arguments import BALANCED, anything, check_weights_have_labels, checked_names
from loader.feed.index.index import Index
from loader.feed.targets.labels import LabelCodes, LabelMode, check_label_mode, encode_labels, number_targets
from loader.feed.targets.weights import balanced_weights, check_weights, cumulative, numbers_of
from manifests.format.metadata import ArraySpec
from manifests.format.names import name_problem


def index_of_ids(
    list_ids: Sequence[str],
    labels: Mapping[str, int | str | float] | None,
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
    """Return the index of IDs whose shards are `data_dir/<ID>.npy`, in the order of the list.

    Args:
        list_ids: the IDs; any iterable of strings that has a length.
        labels: ID -> class index, or name if `class_names` are given, or number if the mode is `float`; entries of other IDs are
            ignored.
        data_dir: the shards' folder.
        dim: the sample's axes without the channels; None for the shape of the first shard.
        n_channels: length of the last axis; None for that of the first shard. A shard of shape `dim` has 1 channel.
        n_classes: number of classes; None for that of `class_names`, or else the highest index plus 1.
        label_mode: how to encode labels; `auto` is `categorical`.
        class_names: names of the classes in index order; None names them by their index.
        sample_weight: ID -> how much the sample counts in the loss; entries of other IDs are ignored.
        sampling: how often each sample is drawn: None for once a pass, `balanced` for each class equally often.

    Raises:
        SamplesError: there are no IDs, or some are unsafe, all of which are listed.
        LabelError: IDs have no label or weight, a label that is out of range or not a class, or a weight that is negative
            or not finite; they are listed.
        OptionError: an argument cannot be used.
    """
    check_label_mode(label_mode)
    ids = [list_ids] if isinstance(list_ids, str) else list(list_ids)
    if not ids:
        raise SamplesError("list_IDs is empty: there is nothing to feed")
    strangers = [repr(id_) for id_ in map(anything, ids) if not isinstance(id_, str)]
    if strangers:
        raise OptionError(f"list_IDs must hold strings, got {listing(strangers)}; the shard of ID '7' is '7.npy'")
    problems = [f"ID {id_!r} {problem}" for id_ in ids if (problem := name_problem(id_) or name_problem(f"{id_}.npy"))]
    if problems:
        raise SamplesError(f"{len(problems)} unsafe IDs: " + "; ".join(problems))
    paths = [f"{id_}.npy" for id_ in ids]
    if sampling not in (None, BALANCED):  # not a set: the value may not be hashable
        raise OptionError(f"sampling must be None or 'balanced' for a list of IDs, got {sampling!r}")
    check_weights_have_labels(sample_weight, label_mode)
    classes: tuple[str, ...] = ()
    codes: LabelCodes | None = None
    drawn = None
    if sampling is not None and labels is None:
        raise LabelError("labels is None, but sampling 'balanced' needs them; pass a dict of ID -> class")
    if label_mode == "float":
        for name, value in (("n_classes", n_classes), ("class_names", class_names), ("sampling", sampling)):
            if value is not None:
                raise OptionError(
                    f"{name} is about classes, but label_mode 'float' takes labels as numbers; leave {name} out, got {value!r}"
                )
        codes = _number_labels(ids, paths, labels)
    elif label_mode is not None or sampling is not None:
        texts, classes = _named_labels(ids, labels, n_classes, class_names)
        column = coded(texts)
        drawn = None if sampling is None else cumulative(balanced_weights(column, ids=ids, paths=paths), f"sampling={sampling!r}")
        mode = "categorical" if label_mode == "auto" else label_mode
        codes = None if mode is None else encode_labels(column, classes, mode, ids=ids, paths=paths)
    names = strings(ids)
    return Index(
        root=Path(data_dir),
        ids=names,
        paths=replace(names, suffix=b".npy"),
        codes=codes,
        classes=classes if label_mode is not None else (),
        array=_array_of_dim(dim, n_channels),
        channel_optional=dim is not None and n_channels in {1, None},
        weights=None if sample_weight is None else _weights_of_ids(ids, paths, sample_weight),
        cumulative=drawn,
    )


def _weights_of_ids(ids: list[str], paths: list[str], sample_weight: Mapping[str, float]) -> npt.NDArray[np.float32]:
    if not isinstance(anything(sample_weight), Mapping):
        raise OptionError(f"sample_weight must be a dict of ID -> number, got {type(sample_weight).__name__}")
    missing = [repr(id_) for id_ in ids if id_ not in sample_weight]
    if missing:
        raise LabelError(f"sample_weight has no entry for {len(missing)} of the {len(ids)} IDs: {listing(missing)}")
    values: list[object] = [sample_weight[id_] for id_ in ids]
    # A string is not a number here, even if it looks like one.
    weights = numbers_of(None if isinstance(value, str) else value for value in values)
    check_weights("sample_weight", weights, values, ids=ids, paths=paths)
    return weights.astype(np.float32)


def _array_of_dim(dim: Sequence[int] | int | None, n_channels: int | None) -> ArraySpec:
    if dim is None:
        return ArraySpec(shape=None, dtype=None)
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    if not all(map(_is_positive, axes)):
        raise OptionError(f"dim must be positive integers such as (32, 32, 32), got {dim!r}")
    if n_channels is not None and not _is_positive(n_channels):
        raise OptionError(f"n_channels must be a positive integer or None, got {n_channels!r}")
    return ArraySpec(shape=(*map(operator.index, axes), n_channels), dtype=None)


def _labels_of_ids(ids: Sequence[str], labels: Mapping[str, int | str | float] | None, what: str) -> list[int | str | float]:
    """Return the label of each ID, as it was passed."""
    if labels is None:
        raise LabelError(f"labels is None; pass a dict of ID -> {what}, or label_mode=None for batches without labels")
    if not isinstance(anything(labels), Mapping):
        raise OptionError(f"labels must be a dict of ID -> {what}, got {type(labels).__name__}")
    missing = [repr(id_) for id_ in ids if id_ not in labels]
    if missing:
        raise LabelError(f"labels has no entry for {len(missing)} of the {len(ids)} IDs: {listing(missing)}")
    return [labels[id_] for id_ in ids]


def _number_labels(ids: Sequence[str], paths: Sequence[str], labels: Mapping[str, int | str | float] | None) -> LabelCodes:
    """Return the labels as numbers. A string is not a number here, even if it looks like one."""
    values = _labels_of_ids(ids, labels, "number")
    numbers = numbers_of(None if isinstance(value, str) else value for value in values)
    return LabelCodes(label_mode="float", n_classes=0, values=number_targets(numbers, values, ids=ids, paths=paths))


def _named_labels(
    ids: Sequence[str], labels: Mapping[str, int | str | float] | None, n_classes: int | None, class_names: Sequence[str] | None
) -> tuple[list[str], tuple[str, ...]]:
    """Return the class name of each ID, and all class names; the name of a class without one is its index."""
    values = _labels_of_ids(ids, labels, "class")
    given: list[int | str] = []
    strangers = []
    for id_, value in zip(ids, values, strict=True):
        if isinstance(value, SupportsIndex):
            given.append(operator.index(value))
        elif isinstance(value, str) and class_names is not None:
            given.append(value)
        else:
            strangers.append(f"ID {id_!r} has {value!r}")
    if strangers:
        raise LabelError(
            f"labels must be class indices, or names when class_names are given: {listing(strangers)}; "
            "for numbers as targets pass label_mode='float'"
        )
    names = _class_names(given, n_classes, class_names)
    return [_name_of(value, names) for value in given], names


def _class_names(values: Sequence[int | str], n_classes: int | None, class_names: Sequence[str] | None) -> tuple[str, ...]:
    if n_classes is not None and not _is_positive(n_classes):
        raise OptionError(f"n_classes must be a positive integer or None, got {n_classes!r}")
    if class_names is not None:
        names = checked_names(class_names)
        if n_classes not in {None, len(names)}:
            raise OptionError(f"n_classes is {n_classes}, but class_names has {len(names)} names")
        return names
    highest = max(operator.index(value) for value in values if not isinstance(value, str))
    return tuple(str(index) for index in range(max(highest + 1, 1) if n_classes is None else n_classes))


def _name_of(value: int | str, names: tuple[str, ...]) -> str:
    if isinstance(value, str):
        return value
    index = operator.index(value)
    # Out of range it stays a number, which is not a class name and is reported as an unknown label.
    return names[index] if 0 <= index < len(names) else str(index)


def _is_positive(value: object) -> bool:
    return isinstance(value, SupportsIndex) and operator.index(value) > 0

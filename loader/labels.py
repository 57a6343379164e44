"""Labels as numbers: strings are encoded once for all samples, a batch's targets are made from the codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from loader.errors import SHOWN_PROBLEMS, LabelError, OptionError, listing
from manifests.columns import Coded, Column, coded, packed_column
from manifests.npyfile import AnyArray
from manifests.schema import split_label
from manifests.strings import PackedStrings

_Mode = Literal["categorical", "int", "binary", "multi_hot"]

LabelMode = _Mode | None
"""How labels reach the model: Keras' own words, `multi_hot` besides for samples of several classes, None for no labels."""


@dataclass(frozen=True, kw_only=True)
class LabelCodes:
    """The classes of every sample, as indices.

    Attributes:
        label_mode: what the samples' y looks like, see `targets`.
        n_classes: number of classes.
        values: int32, shape (k,): class indices, sample after sample.
        bounds: int64, shape (n + 1,): sample i has values[bounds[i]:bounds[i + 1]]; None when each sample has one class,
            and k is n.
    """

    label_mode: _Mode
    n_classes: int
    values: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64] | None = None


def encode_labels(
    labels: Column | Sequence[str],
    classes: Sequence[str],
    label_mode: LabelMode,
    *,
    ids: Sequence[str] | PackedStrings,
    paths: Sequence[str] | PackedStrings,
) -> LabelCodes | None:
    """Encode the labels of all samples, so that a wrong one shows before training.

    Args:
        labels: one a sample, as the manifest writes them: `a;b` for several classes, empty for none.
        classes: in index order.
        label_mode: `multi_hot` takes any number of classes a sample, an empty label being none of them; the others take
            exactly one; None takes no labels.
        ids: one a sample; for messages.
        paths: one a sample; for messages.

    Returns:
        The codes; None if the mode is None.

    Raises:
        OptionError: there is no such mode.
        LabelError: labels are empty, name no class or name several; the message names IDs and paths. Or the mode is
            `binary` and there are not two classes.
    """
    check_label_mode(label_mode)
    if label_mode is None:
        return None
    if label_mode == "binary" and len(classes) != 2:
        raise LabelError(
            f"label_mode 'binary' needs exactly 2 classes, found {len(classes)}: {_shown(classes)}; "
            "use 'categorical' or 'int', or name the two with class_names"
        )
    # Each distinct label is looked at once, however many samples have it.
    column = coded(labels if isinstance(labels, Column) else packed_column(labels))
    index = {name: code for code, name in enumerate(classes)}
    distinct = list(column.distinct)
    named = [split_label(label) if label_mode == "multi_hot" else (label,) for label in distinct]
    unknown = [number for number, names in enumerate(named) if not index.keys() >= set(names)]
    if unknown:
        raise _label_error(column, unknown, label_mode, classes, lambda position: f"ID {ids[position]!r} ({paths[position]})")
    if label_mode != "multi_hot":
        values = column.spread(np.array([index[label] for label in distinct], dtype=np.int32))
        return LabelCodes(label_mode=label_mode, n_classes=len(classes), values=values)
    flat = np.array([index[name] for names in named for name in names], dtype=np.int32)
    counts = np.array([len(names) for names in named], dtype=np.int64)
    values, bounds = _gathered(flat, column.spread(np.cumsum(counts) - counts), column.spread(counts))
    return LabelCodes(label_mode=label_mode, n_classes=len(classes), values=values, bounds=bounds)


def check_label_mode(label_mode: object) -> None:
    """Refuse what is no label mode.

    Raises:
        OptionError: there is no such mode.
    """
    modes = (*get_args(_Mode), None)
    if label_mode not in modes:
        raise OptionError(f"label_mode must be one of {', '.join(map(repr, modes))}, got {label_mode!r}")


def targets(codes: LabelCodes, positions: npt.NDArray[np.int64]) -> AnyArray:
    """Return a batch's y.

    Shapes and dtypes are those of `keras.utils.image_dataset_from_directory`.

    Args:
        codes: of all samples.
        positions: int64, shape (batch,).

    Returns:
        `categorical`: float32, shape (batch, n_classes), one 1 a row. `multi_hot`: the same, with a 1 for each of the
        sample's classes. `int`: int32, shape (batch,). `binary`: float32, shape (batch, 1), 0 or 1.
    """
    if codes.bounds is not None:
        starts = codes.bounds[positions]
        counts = codes.bounds[positions + 1] - starts
        values, _ = _gathered(codes.values, starts, counts)
        rows = np.repeat(np.arange(len(positions)), counts)
        return _hot(rows, values, (len(positions), codes.n_classes))
    values = codes.values[positions]
    if codes.label_mode == "int":
        return values
    if codes.label_mode == "binary":
        return values.astype(np.float32).reshape(-1, 1)  # (batch, 1)
    return _hot(np.arange(len(values)), values, (len(values), codes.n_classes))


def _hot(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int32], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    array = np.zeros(shape, dtype=np.float32)
    array[rows, columns] = 1
    return array


def _gathered(
    values: npt.NDArray[np.int32], starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Take runs of values: the i-th is values[starts[i] : starts[i] + counts[i]].

    Returns:
        int32, shape (counts.sum(),): the runs end to end; int64, shape (len(counts) + 1,): where each begins, and the end.
    """
    bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    # A value's place: where its run starts, plus its number within the run.
    within = np.arange(bounds[-1]) - np.repeat(bounds[:-1], counts)
    return values[np.repeat(starts, counts) + within], bounds


def _label_error(labels: Coded, unknown: Sequence[int], label_mode: str, classes: Sequence[str], names: Callable[[int], str]) -> LabelError:
    """Return the error for the first kind of bad label there is among these distinct ones, naming the samples that have it."""
    distinct = {number: labels.distinct[number] for number in unknown}

    def samples(wrong: Sequence[int]) -> tuple[str, str]:
        positions = np.flatnonzero(np.isin(labels.codes, wrong))
        where = [
            names(p) + (f" has {distinct[labels.codes[p]]!r}" if distinct[labels.codes[p]] else "")
            for p in positions[:SHOWN_PROBLEMS].tolist()
        ]
        return ("1 sample" if len(positions) == 1 else f"{len(positions)} samples"), listing(where, len(positions))

    if empty := [number for number, label in distinct.items() if not label]:
        count, where = samples(empty)
        return LabelError(
            f"{count} without a label: {where}; label them, leave them out with "
            "manifest.where(lambda frame: frame['label'] != ''), or pass label_mode=None for batches without labels"
        )
    if label_mode != "multi_hot" and (several := [number for number, label in distinct.items() if len(split_label(label)) > 1]):
        count, where = samples(several)
        return LabelError(f"{count} with several classes: {where}; label_mode {label_mode!r} takes one a sample, use 'multi_hot'")
    count, where = samples(unknown)
    return LabelError(f"{count} with a label that is not among the {len(classes)} classes: {where}; expected {_shown(classes)}")


def _shown(classes: Sequence[str]) -> str:
    return listing([repr(name) for name in classes])

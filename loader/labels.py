"""Labels as numbers: strings are encoded once for all samples, a batch's targets are made from the codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from loader.errors import LabelError, OptionError, listing
from manifests.npyfile import AnyArray
from manifests.schema import split_label

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
    labels: Sequence[str], classes: Sequence[str], label_mode: LabelMode, *, ids: Sequence[str], paths: Sequence[str]
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
    index = {name: code for code, name in enumerate(classes)}

    def check(is_known: Callable[[str], bool]) -> None:
        unknown = {label for label in set(labels) if not is_known(label)}
        if unknown:
            positions = [position for position, label in enumerate(labels) if label in unknown]
            raise _label_error(labels, positions, label_mode, classes, lambda position: f"ID {ids[position]!r} ({paths[position]})")

    if label_mode == "multi_hot":
        check(lambda label: all(name in index for name in split_label(label)))
        named = [split_label(label) for label in labels]
        values = np.fromiter((index[name] for names in named for name in names), dtype=np.int32)
        bounds = np.fromiter(accumulate(map(len, named), initial=0), dtype=np.int64, count=len(named) + 1)
        return LabelCodes(label_mode=label_mode, n_classes=len(classes), values=values, bounds=bounds)
    check(lambda label: label in index)
    values = np.fromiter(map(index.__getitem__, labels), dtype=np.int32, count=len(labels))
    return LabelCodes(label_mode=label_mode, n_classes=len(classes), values=values)


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
        rows = np.repeat(np.arange(len(positions)), counts)
        # A value's place: where its sample starts, plus its number within the sample.
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return _hot(rows, codes.values[np.repeat(starts, counts) + within], (len(positions), codes.n_classes))
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


def _label_error(
    labels: Sequence[str], positions: Sequence[int], label_mode: str, classes: Sequence[str], names: Callable[[int], str]
) -> LabelError:
    """Return the error for the first kind of bad label there is among `positions`, naming the samples that have it."""

    def samples(wrong: Sequence[int]) -> str:
        return "1 sample" if len(wrong) == 1 else f"{len(wrong)} samples"

    def where(wrong: Sequence[int]) -> str:
        return listing([names(p) + (f" has {labels[p]!r}" if labels[p] else "") for p in wrong])

    if empty := [p for p in positions if not labels[p]]:
        return LabelError(
            f"{samples(empty)} without a label: {where(empty)}; label them, leave them out with "
            "manifest.where(lambda frame: frame['label'] != ''), or pass label_mode=None for batches without labels"
        )
    if label_mode != "multi_hot" and (several := [p for p in positions if len(split_label(labels[p])) > 1]):
        return LabelError(
            f"{samples(several)} with several classes: {where(several)}; label_mode {label_mode!r} takes one a sample, use 'multi_hot'"
        )
    return LabelError(
        f"{samples(positions)} with a label that is not among the {len(classes)} classes: {where(positions)}; expected {_shown(classes)}"
    )


def _shown(classes: Sequence[str]) -> str:
    return listing([repr(name) for name in classes])

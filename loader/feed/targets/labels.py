"""Encoding labels as targets: once for all samples, from which the y of each batch is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from loader.errors import SHOWN_PROBLEMS, LabelError, OptionError, Values, listing, samples_with
from loader.feed.columns import Coded, column_of
from manifests.format.npyfile import AnyArray
from manifests.format.schema import split_label
from manifests.rows.numbers import numbers_of
from manifests.rows.table import is_in

if TYPE_CHECKING:
    import pyarrow as pa

Mode = Literal["categorical", "int", "binary", "multi_hot", "float"]

LabelMode = Mode | Literal["auto"] | None
"""How labels are passed to the model: the names are those of Keras, with `multi_hot` for samples of several classes and `float` for
numbers. `auto` chooses by the labels, `categorical` for classes; None is for no labels."""

LABEL_MODES: tuple[LabelMode, ...] = ("auto", *get_args(Mode), None)

INDICATORS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "False": 0, "True": 1, "false": 0, "true": 1}
"""Values of a column that stands for a class, and whether they mean that the sample is of this class."""


@dataclass(frozen=True, kw_only=True)
class LabelCodes:
    """The encoded labels of all samples: class indices, or y itself.

    Attributes:
        label_mode: the form of y, see `targets`.
        n_classes: number of classes; 0 for numbers.
        values: int32, shape (k,): class indices, sample after sample. `float`: float32, shape (n,), or (n, columns) for several
            label columns. `multi_hot` of several label columns: uint8, shape (n, columns), 0 or 1.
        bounds: int64, shape (n + 1,): sample i has values[bounds[i]:bounds[i + 1]]; None if each sample has exactly one
            value or row.
    """

    label_mode: Mode
    n_classes: int
    values: AnyArray
    bounds: npt.NDArray[np.int64] | None = None

    @property
    def has_one_class_a_sample(self) -> bool:
        """Whether each sample has exactly one class."""
        return self.label_mode in {"categorical", "int", "binary"}


def encode_labels(
    labels: Coded,
    classes: Sequence[str],
    label_mode: Mode,
    *,
    ids: Values,
    paths: Values,
    name: str = "label",
) -> LabelCodes:
    """Encode the classes of all samples, so that a wrong label is found before training.

    Args:
        labels: one a sample, as in the manifest: `a;b` for several classes, empty for none.
        classes: in index order.
        label_mode: one for classes. `multi_hot` takes any number of classes a sample, none for an empty label; the others
            take exactly one.
        ids: one a sample; for messages.
        paths: one a sample; for messages.
        name: of the labels' column; for messages.

    Raises:
        LabelError: labels are empty, unknown or name several classes; the message names IDs and paths. Or the mode is
            `binary` and there are not exactly two classes.
    """
    if label_mode == "binary" and len(classes) != 2:
        raise LabelError(
            f"label_mode 'binary' needs exactly 2 classes, found {len(classes)}: {_shown(classes)}; "
            "use 'categorical' or 'int', or name the two with class_names"
        )
    index = {name: code for code, name in enumerate(classes)}
    named = [split_label(label) if label_mode == "multi_hot" else (label,) for label in labels.distinct]
    unknown = [number for number, names in enumerate(named) if not index.keys() >= set(names)]
    if unknown:
        raise _label_error(labels, unknown, label_mode, classes, lambda position: f"ID {ids[position]!r} ({paths[position]})", column=name)
    if label_mode != "multi_hot":
        values = labels.spread(np.array([index[label] for label in labels.distinct], dtype=np.int32))
        return LabelCodes(label_mode=label_mode, n_classes=len(classes), values=values)
    flat = np.array([index[name] for names in named for name in names], dtype=np.int32)
    counts = np.array([len(names) for names in named], dtype=np.int64)
    every, bounds = _gathered(flat, labels.spread(np.cumsum(counts) - counts), labels.spread(counts))
    return LabelCodes(label_mode=label_mode, n_classes=len(classes), values=every, bounds=bounds)


def encode_numbers(columns: Mapping[str, pa.ChunkedArray], *, ids: Values, paths: Values) -> LabelCodes:
    """Parse the numbers of all samples, so that a label that is not a number is found before training.

    Args:
        columns: of labels, by name; one makes y of shape (batch,), k of them one of shape (batch, k).
        ids: one a sample; for messages.
        paths: one a sample; for messages.

    Raises:
        LabelError: labels are empty or not finite numbers in float32; the message names IDs and paths.
    """
    targets = []
    for name, column in columns.items():
        numbers, labels = numbers_of(column), column_of(column)
        if np.isnan(numbers).any() and len(empty := np.flatnonzero(is_in(column, [""]))):
            raise LabelError(f"{samples_with(f'no label in column {name!r}', empty, labels, ids, paths)}; {_advice_for_empty(name)}")
        targets.append(number_targets(numbers, labels, f" (column {name!r})", ids=ids, paths=paths))
    return LabelCodes(label_mode="float", n_classes=0, values=targets[0] if len(targets) == 1 else np.stack(targets, axis=1))


def number_targets(
    numbers: npt.NDArray[np.float64], labels: Values, where: str = "", *, ids: Values, paths: Values
) -> npt.NDArray[np.float32]:
    """Return numbers as targets: float32, shape (n,).

    Args:
        numbers: one a sample; nan where the label is not one.
        labels: what the numbers were made of; for messages.
        where: the labels' column, for messages.
        ids: one a sample; for messages.
        paths: one a sample; for messages.

    Raises:
        LabelError: some are not finite in float32; the message names IDs and paths.
    """
    with np.errstate(over="ignore"):
        values = numbers.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise LabelError(
            samples_with(f"a label that is no finite number{where}", wrong, labels, ids, paths)
            + "; label_mode 'float' needs a number for each sample: correct the labels, or leave these samples out"
        )
    return values


def encode_indicators(columns: Mapping[str, Coded], *, ids: Values, paths: Values) -> LabelCodes:
    """Encode several columns, each of which stands for a class and says of each sample whether it is of that class.

    Args:
        columns: of labels, by the name of the class.
        ids: one a sample; for messages.
        paths: one a sample; for messages.

    Raises:
        LabelError: a column holds other values than 0 and 1, or False and True; the message names IDs and paths.
    """
    hot = [column.spread(np.array([INDICATORS.get(label, 2) for label in column.distinct], dtype=np.uint8)) for column in columns.values()]
    for values, (name, column) in zip(hot, columns.items(), strict=True):
        if len(wrong := np.flatnonzero(values == 2)):
            raise LabelError(
                samples_with(f"a label that is neither 0 nor 1 (column {name!r})", wrong, column, ids, paths)
                + "; label_mode 'multi_hot' of several columns needs one of them for each: correct the labels, or leave the column out"
            )
    return LabelCodes(label_mode="multi_hot", n_classes=len(columns), values=np.stack(hot, axis=1))


def check_label_mode(label_mode: object) -> None:
    """Check a label mode.

    Raises:
        OptionError: there is no such mode.
    """
    if label_mode not in LABEL_MODES:
        raise OptionError(f"label_mode must be one of {', '.join(map(repr, LABEL_MODES))}, got {label_mode!r}")


def targets(codes: LabelCodes, positions: npt.NDArray[np.int64]) -> AnyArray:
    """Return a batch's y.

    Shapes and dtypes are those of `keras.utils.image_dataset_from_directory`.

    Args:
        codes: of all samples.
        positions: int64, shape (batch,).

    Returns:
        `categorical`: float32, shape (batch, n_classes), one 1 a row. `multi_hot`: the same, with a 1 for each of the
        sample's classes. `int`: int32, shape (batch,). `binary`: float32, shape (batch, 1), 0 or 1. `float`: float32, shape
        (batch,), or (batch, columns) for several label columns.
    """
    if codes.label_mode == "float" or codes.values.ndim == 2:
        return codes.values[positions].astype(np.float32, copy=False)
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


def are_sorted(codes: LabelCodes) -> bool:
    """Return whether there are several classes, and the samples of each are consecutive."""
    if not codes.has_one_class_a_sample:
        return False
    changes = int(np.count_nonzero(np.diff(codes.values)))
    return 0 < changes == len(np.unique(codes.values)) - 1


def _hot(rows: npt.NDArray[np.int64], columns: AnyArray, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    array = np.zeros(shape, dtype=np.float32)
    array[rows, columns] = 1
    return array


def _gathered(values: AnyArray, starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> tuple[AnyArray, npt.NDArray[np.int64]]:
    """Concatenate runs of values: the i-th is values[starts[i] : starts[i] + counts[i]].

    Returns:
        int32, shape (counts.sum(),): the runs end to end; int64, shape (len(counts) + 1,): where each begins, and the end.
    """
    bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    # A value's place: where its run starts, plus its number within the run.
    within = np.arange(bounds[-1]) - np.repeat(bounds[:-1], counts)
    return values[np.repeat(starts, counts) + within], bounds


def _label_error(
    labels: Coded, unknown: Sequence[int], label_mode: str, classes: Sequence[str], names: Callable[[int], str], *, column: str
) -> LabelError:
    """Return an error that names the samples with a bad label, of the first kind that there is."""
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
        return LabelError(f"{count} without a label: {where}; {_advice_for_empty(column)}")
    if label_mode != "multi_hot" and (several := [number for number, label in distinct.items() if len(split_label(label)) > 1]):
        count, where = samples(several)
        return LabelError(f"{count} with several classes: {where}; label_mode {label_mode!r} takes one a sample, use 'multi_hot'")
    count, where = samples(unknown)
    return LabelError(f"{count} with a label that is not among the {len(classes)} classes: {where}; expected {_shown(classes)}")


def _advice_for_empty(column: str) -> str:
    return (
        f"label them, leave them out with manifest.where(lambda frame: frame[{column!r}] != ''), "
        "or pass label_mode=None for batches without labels"
    )


def _shown(classes: Sequence[str]) -> str:
    return listing([repr(name) for name in classes])

"""Moments of one shard: what the statistics of a dataset are put together from, as few bytes.

Per channel, which is the last axis as `keras.layers.Normalization(axis=-1)` has it, six float64, little-endian: how many values are finite
and how many are not; their sum; the sum of squared deviations from their mean; the smallest and the greatest. An array
without axes, or with more than `MAX_CHANNELS` channels, counts as one channel. Integers are added up as integers, so what is
rounded is the result alone. A complex array has no order and no such moments.

Everything here is a function of the array alone, so it does not matter who works it out, when, or along with which others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.format.npyfile import AnyArray

FloatArray = npt.NDArray[np.float64]

MAX_CHANNELS = 1024
"""Arrays with more on the last axis (a waveform, say) are one channel: moments must stay small beside the shards."""

_FIELDS = 6

CHANNEL_BYTES = _FIELDS * 8
"""Of the moments of one channel."""

_BLOCK_VALUES = 1 << 18
"""Values that are looked at together: 2 MB as float64, whatever the array's size."""

_TOGETHER_VALUES = 1 << 16
"""Values of small arrays that are looked at together: half a megabyte as float64, which stays near the processor."""

_MOST_TOGETHER = 1 << 12
"""Values of an array that is looked at along with others. NumPy adds up pieces of 8,192 values, and where it cuts depends on how many
arrays there are: of larger ones, the last bit would depend on the others."""

_EXACT_SQUARES_BITS = 16
"""Integers of up to so many bits have squares of which a block's sum is exact in float64: 2**18 * 2**32 < 2**53."""


def moments_of(array: AnyArray) -> bytes:
    """Return an array's moments, empty if it is complex.

    Args:
        array: bool, integer, float or complex, any shape, C-contiguous.
    """
    if array.dtype.kind == "c":
        return b""
    channels = channels_of(array.shape)
    values = array.reshape(-1, channels)
    if array.dtype.kind == "f":
        fields = _of_floats(values)
    elif _has_small_squares(array.dtype):
        fields = _of_small_integers(values)
    else:
        fields = _of_integers(values)
    return fields.astype("<f8").tobytes()


def moments_of_each(arrays: Sequence[AnyArray]) -> list[bytes]:
    """Return what `moments_of` gives for each array, to the last bit; many small ones of one shape and dtype take a fraction of the time.

    Args:
        arrays: as for `moments_of`.
    """
    each = [b""] * len(arrays)
    alike: dict[tuple[tuple[int, ...], np.dtype[Any]], list[int]] = {}
    for position, array in enumerate(arrays):
        if 0 < array.size <= _MOST_TOGETHER and (array.dtype.kind == "f" or _has_small_squares(array.dtype)):
            alike.setdefault((array.shape, array.dtype), []).append(position)
        else:
            each[position] = moments_of(array)
    for (shape, _), positions in alike.items():
        step = max(1, _TOGETHER_VALUES // math.prod(shape))
        for start in range(0, len(positions), step):
            block = positions[start : start + step]
            stacked = np.stack([arrays[position] for position in block]).reshape(len(block), -1, channels_of(shape))
            fields = _of_alike(stacked)
            is_finite = [bool(np.isfinite(own[:, 3]).all()) for own in fields]
            for position, own, is_good in zip(block, fields.astype("<f8"), is_finite, strict=True):
                each[position] = own.tobytes() if is_good else moments_of(arrays[position])
    return each


def channels_of(shape: Sequence[int]) -> int:
    """Return of how many channels an array of this shape has moments; never less than one."""
    return shape[-1] if shape and 0 < shape[-1] <= MAX_CHANNELS else 1


def moment_bytes(shape: Sequence[int], dtype: str) -> int:
    """Return how many bytes of moments an array has.

    Args:
        shape: of the array.
        dtype: its NumPy name.
    """
    return 0 if np.dtype(dtype).kind == "c" else channels_of(shape) * CHANNEL_BYTES


def decode_moments(moments: bytes | npt.NDArray[np.uint8]) -> FloatArray:
    """Return what `moments_of` gave for one or more arrays, one behind the other, shape (channels of all together, 6).

    Raises:
        ValueError: these are no moments.
    """
    return np.frombuffer(moments, dtype="<f8").reshape(-1, _FIELDS)


def _blocks(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    rows = max(1, _BLOCK_VALUES // values.shape[1])
    for start in range(0, len(values), rows):
        yield values[start : start + rows]


def _has_small_squares(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biu" and dtype.itemsize * 8 <= _EXACT_SQUARES_BITS


def _of_alike(stacked: npt.NDArray[Any]) -> FloatArray:
    """Return the fields of several arrays at once; where one has a value that is not finite, or overflows, its squares are not finite.

    Args:
        stacked: shape (arrays, values, channels), of floats or of integers with small squares; at least one value each.

    Returns:
        Shape (arrays, channels, 6).
    """
    exact = np.ascontiguousarray(stacked.transpose(0, 2, 1), dtype=np.float64)  # (array, channel, value)
    count = exact.shape[2]
    fields = np.empty((*exact.shape[:2], _FIELDS))
    fields[:, :, 0], fields[:, :, 1] = count, 0
    with np.errstate(all="ignore"):
        fields[:, :, 4], fields[:, :, 5] = exact.min(axis=2), exact.max(axis=2)
        totals = exact.sum(axis=2)
        if stacked.dtype.kind != "f":
            squares = np.einsum("aij,aij->ai", exact, exact)
            pairs = zip(totals.ravel().tolist(), squares.ravel().tolist(), strict=True)
            fields[:, :, 2] = totals
            fields[:, :, 3] = np.reshape([_squares_about_mean(count, int(total), int(square)) for total, square in pairs], squares.shape)
            return fields
        means = totals / count
        exact -= means[:, :, None]
        left = exact.sum(axis=2)
        fields[:, :, 2] = means * count + left
        fields[:, :, 3] = np.maximum(np.einsum("aij,aij->ai", exact, exact) - left * left / count, 0.0)
    return fields


def _squares_about_mean(count: int, total: int, square: int) -> float:
    """Return the sum of squared deviations from the mean; the division of Python's integers rounds once, however large they are."""
    return (count * square - total * total) / count


def _of_small_integers(values: npt.NDArray[Any]) -> FloatArray:
    channels, count = values.shape[1], len(values)
    fields = _empty(channels, count)
    if not count:
        return fields
    totals, squares = [0] * channels, [0] * channels
    for block in _blocks(values):
        exact = _by_channel(block)  # every sum below is of integers < 2**53
        totals = [total + int(part) for total, part in zip(totals, exact.sum(axis=1).tolist(), strict=True)]
        squares = [total + int(part) for total, part in zip(squares, np.einsum("ij,ij->i", exact, exact).tolist(), strict=True)]
        fields[:, 4] = np.fmin(fields[:, 4], exact.min(axis=1))
        fields[:, 5] = np.fmax(fields[:, 5], exact.max(axis=1))
    fields[:, 2] = totals
    fields[:, 3] = [_squares_about_mean(count, total, square) for total, square in zip(totals, squares, strict=True)]
    return fields


def _of_integers(values: npt.NDArray[Any]) -> FloatArray:
    channels, count = values.shape[1], len(values)
    fields = _empty(channels, count)
    if not count:
        return fields
    lows = values.min(axis=0)
    totals = [0] * channels
    for block in _blocks(values):
        above = _above(block, lows)
        high, low = (above >> np.uint64(32)).sum(axis=0), (above & np.uint64(0xFFFFFFFF)).sum(axis=0)
        totals = [total + (int(a) << 32) + int(b) for total, a, b in zip(totals, high, low, strict=True)]
    fields[:, 2] = [int(low) * count + total for low, total in zip(lows, totals, strict=True)]
    means = np.array([total / count for total in totals])
    for block in _blocks(values):
        deviations = _by_channel(_above(block, lows)) - means[:, None]
        fields[:, 3] += np.einsum("ij,ij->i", deviations, deviations)
    fields[:, 4], fields[:, 5] = lows, values.max(axis=0)
    return fields


def _above(block: npt.NDArray[Any], lows: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """Return how far integers lie above the smallest: exact, as unsigned integers wrap around."""
    return block.astype(np.uint64) - lows.astype(np.uint64)


def _of_floats(values: npt.NDArray[Any]) -> FloatArray:
    channels = values.shape[1]
    fields = _empty(channels, 0)
    with np.errstate(all="ignore"):  # values near the greatest overflow: the result says so
        for block in _blocks(values):
            exact = _by_channel(block)
            good = np.isfinite(exact)
            count = good.sum(axis=1)
            fields[:, 0] += count
            fields[:, 1] += len(block) - count
            if good.all():
                low, high = exact.min(axis=1), exact.max(axis=1)
            else:
                # A channel of which nothing is finite gives infinities, which lose against any value; see below.
                low, high = np.where(good, exact, np.inf).min(axis=1), np.where(good, exact, -np.inf).max(axis=1)
                exact = np.where(good, exact, 0.0)
            fields[:, 2] += exact.sum(axis=1)
            fields[:, 4], fields[:, 5] = np.fmin(fields[:, 4], low), np.fmax(fields[:, 5], high)
        counts = np.maximum(fields[:, 0], 1)
        means = fields[:, 2] / counts
        left = np.zeros(channels)
        for block in _blocks(values):
            deviations = _by_channel(block) - means[:, None]
            if fields[:, 1].any():
                deviations = np.where(np.isfinite(deviations), deviations, 0.0)
            left += deviations.sum(axis=1)
            fields[:, 3] += np.einsum("ij,ij->i", deviations, deviations)
        # The mean is rounded, as is the sum behind it; what that leaves over is taken off again (the corrected two-pass algorithm).
        fields[:, 2] = means * fields[:, 0] + left
        fields[:, 3] = np.maximum(fields[:, 3] - left * left / counts, 0.0)
    fields[fields[:, 0] == 0, 4:] = np.nan
    return fields


def _by_channel(block: npt.NDArray[Any]) -> FloatArray:
    """Return values as float64, each channel's in one piece: sums over such a piece are fast, and NumPy adds them up pairwise."""
    return np.ascontiguousarray(block.T, dtype=np.float64)  # (channel, value)


def _empty(channels: int, count: int) -> FloatArray:
    fields = np.zeros((channels, _FIELDS))
    fields[:, 0] = count
    fields[:, 4:] = np.nan
    return fields

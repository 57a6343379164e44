"""Many strings in few arrays: what a list of ten million Python strings costs a gigabyte for."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import le

import numpy as np
import numpy.typing as npt

AnyArray1d = npt.NDArray[np.generic]
Positions = npt.NDArray[np.int64]

_MOST_PADDING = 1.25
"""Times the strings' own bytes: up to here they are padded to one length, since they are then taken in one step."""

_MOST_WRITTEN = 1 << 26
"""Bytes up to which a common prefix and suffix are written out: it saves a twentieth of a microsecond at each taking, but not memory."""

_CLOSE = 2

_CHUNK = 65_536

_NOTHING, _NONE = np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.int64)


class PackedStrings:
    """An immutable sequence of strings in UTF-8, at most ten bytes each beside their own.

    Strings of about one length stand in a column of fixed width, `_items`: of dtype `S<width>`, shape (n,). Any others stand
    end to end in `_data`, uint8, and are found by `_starts`, int64, shape (n,), and `_lengths`, unsigned, shape (n,).
    Everything that grows with n is an array, so that processes can share it, and nothing is ever written to.
    """

    _items: npt.NDArray[np.bytes_] | None
    _starts: npt.NDArray[np.int64]
    _lengths: npt.NDArray[np.unsignedinteger]
    _data: npt.NDArray[np.uint8]

    def __init__(self, strings: Iterable[str] = ()) -> None:
        """Pack strings; none of them can be seen to change afterwards."""
        encoded = [string.encode() for string in strings]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        vars(self).update(_packed(lengths, np.frombuffer(b"".join(encoded), dtype=np.uint8)))
        self._prefix = self._suffix = b""

    @classmethod
    def of_bytes(cls, lengths: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> PackedStrings:
        """Pack strings that stand end to end as UTF-8.

        Args:
            lengths: int64, shape (n,), in bytes.
            data: uint8, shape (lengths.sum(),).
        """
        return _with(cls(), **_packed(lengths, data))

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, AnyArray1d]) -> PackedStrings:
        """Take the arrays that `arrays` gave, as they are.

        Raises:
            ValueError: they are not of the kinds and lengths that belong together, or point outside.
        """
        kinds = {name: array.dtype.kind + ("" if array.dtype.kind in "Su" else str(array.itemsize)) for name, array in arrays.items()}
        if kinds == {"items": "S"}:
            return _with(cls(), _items=arrays["items"])
        if kinds != {"starts": "i8", "lengths": "u", "data": "u"} or arrays["data"].itemsize != 1:
            raise ValueError(f"no arrays of strings: {kinds}")
        starts, lengths, data = arrays["starts"].astype(np.int64, copy=False), arrays["lengths"], arrays["data"]
        if starts.shape != lengths.shape:
            raise ValueError("strings without a start or a length")
        for first in range(0, len(starts), _CHUNK):
            begins = starts[first : first + _CHUNK]
            stops = begins + lengths[first : first + _CHUNK].astype(np.int64)
            if begins.min() < 0 or stops.max() > len(data) or (stops < begins).any():
                raise ValueError("strings outside of their data")
        return _with(cls(), _items=None, _starts=starts, _lengths=lengths, _data=data)

    def arrays(self) -> dict[str, AnyArray1d]:
        """Return all that is needed to make these strings again, but for a prefix and suffix."""
        if self._items is not None:
            return {"items": self._items}
        return {"starts": self._starts, "lengths": self._lengths, "data": self._data}

    def __len__(self) -> int:
        return len(self._starts if self._items is None else self._items)

    def __getitem__(self, position: int) -> str:
        return self.take_bytes(np.array([position]))[0].decode()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _CHUNK):
            yield from self.take(np.arange(start, min(start + _CHUNK, len(self))))

    def take(self, positions: Positions) -> list[str]:
        """Return the strings at these positions (int64, shape (k,), each from 0)."""
        texts = b"\0".join(self.take_bytes(positions)).decode().split("\0")  # all at once: half the time of each by itself
        if len(texts) == len(positions):
            return texts
        return [item.decode() for item in self.take_bytes(positions)]  # none, or with a "\0" of their own

    def take_bytes(self, positions: Positions) -> list[bytes]:
        """Return the same as `take`, as UTF-8."""
        taken: list[bytes]
        if self._items is not None:
            taken = self._items[positions].tolist()
        else:
            starts = self._starts[positions]
            taken = self._cut(starts, starts + self._lengths[positions])
        if self._prefix or self._suffix:
            prefix, suffix = self._prefix, self._suffix
            return [prefix + item + suffix for item in taken]
        return taken

    def _cut(self, starts: Positions, stops: Positions) -> list[bytes]:
        """Return pieces of the data."""
        first, last = (int(starts.min()), int(stops.max())) if len(starts) else (0, 0)
        if last - first <= _CLOSE * int((stops - starts).sum()):  # they lie close: bytes of their own are cut in half the time
            data = self._data[first:last].tobytes()
            return [data[start:stop] for start, stop in zip((starts - first).tolist(), (stops - first).tolist(), strict=True)]
        view = memoryview(self._data)  # type: ignore[arg-type]  # an array has the buffer protocol
        return [view[start:stop].tobytes() for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]

    def select(self, positions: Positions) -> PackedStrings:
        """Return the strings at these positions, packed; strings that stand end to end stay where they are."""
        if self._items is not None:
            return _with(self, _items=self._items[positions])
        return _with(self, _starts=self._starts[positions], _lengths=self._lengths[positions])

    @classmethod
    def joined(cls, parts: Sequence[PackedStrings], order: Positions | None = None) -> PackedStrings:
        """Return the strings of several, one behind the other, or in an order.

        Args:
            parts: the strings, n in all.
            order: which of them, counted through all parts, each place has: int64, shape (n,).
        """
        parts = [part.written_out() for part in parts]
        items = [part.as_items() for part in parts]
        plain = [item for item in items if item is not None]
        if len(plain) == len(parts):
            return _with(cls(), _items=np.concatenate(plain) if order is None else _placed(plain, order))
        encoded = [item for part in parts for item in part.take_bytes(np.arange(len(part)))]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        joined = cls.of_bytes(lengths, np.frombuffer(b"".join(encoded), dtype=np.uint8))
        return joined if order is None else joined.select(order)

    def order(self) -> Positions:
        """Return the positions in the order of the strings, by code point: int64, shape (n,)."""
        if self._items is not None:  # which UTF-8 keeps
            return np.argsort(self._items, kind="stable")
        encoded = self.take_bytes(np.arange(len(self)))
        return np.array(sorted(range(len(encoded)), key=encoded.__getitem__), dtype=np.int64)

    def are_sorted(self) -> bool:
        """Return whether the strings stand in their order, by code point."""
        last = b""
        for start in range(0, len(self), _CHUNK):
            items = self.take_bytes(np.arange(start, min(start + _CHUNK, len(self))))
            if not all(map(le, chain((last,), items), items)):
                return False
            last = items[-1]
        return True

    def as_items(self) -> npt.NDArray[np.bytes_] | None:
        """Return the strings as an array of fixed width, of dtype `S<width>`, shape (n,); None if they do not lie so."""
        return None if self._prefix or self._suffix else self._items

    def end_to_end(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]] | None:
        """Return the strings' lengths, int64, shape (n,), and their bytes, uint8, one behind the other; None if they do not lie so."""
        if self._items is not None or self._prefix or self._suffix or not len(self):
            return None
        lengths = self._lengths.astype(np.int64)
        stops = self._starts + lengths
        if not np.array_equal(self._starts[1:], stops[:-1]):
            return None
        return lengths, self._data[self._starts[0] : stops[-1]]

    def affixed(self, prefix: str, suffix: str) -> PackedStrings:
        """Return the strings with a text before and one behind each, which are put there at each taking."""
        return _with(self, _prefix=prefix.encode() + self._prefix, _suffix=self._suffix + suffix.encode())

    def written_out(self) -> PackedStrings:
        """Return the same strings, with a common prefix and suffix written into each, if they are of one length and not too many."""
        prefix, items, suffix = self._prefix, self._items, self._suffix
        if items is None or not (prefix or suffix) or suffix.endswith(b"\0"):
            return self
        if len(items) * (len(prefix) + items.itemsize + len(suffix)) > _MOST_WRITTEN or not _is_full(items):
            return self
        return _with(self, _items=_joined(prefix, items, suffix), _prefix=b"", _suffix=b"")


Names = Sequence[str] | PackedStrings
"""Many strings, to be gone through as often as need be."""


def are_all(positions: Positions, count: int) -> bool:
    """Return whether positions (int64, shape (n,)) are 0, 1, and so on up to a count."""
    return len(positions) == count and all(
        np.array_equal(positions[start : start + _CHUNK], np.arange(start, min(start + _CHUNK, count))) for start in range(0, count, _CHUNK)
    )


def _with(strings: PackedStrings, **attributes: object) -> PackedStrings:
    """Return a copy with other attributes."""
    changed = copy.copy(strings)
    vars(changed).update(attributes)
    return changed


def _packed(lengths: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> dict[str, object]:
    """Return the attributes for strings that stand end to end."""
    width = int(lengths.max(initial=0))
    ends = np.cumsum(lengths)
    # NumPy takes zero bytes at the end of a string of fixed width for padding.
    if not width or len(lengths) * width > _MOST_PADDING * len(data) or not data[ends[lengths > 0] - 1].all():
        short = lengths.astype(np.min_scalar_type(width))
        return {"_items": None, "_starts": ends - lengths, "_lengths": short, "_data": data}
    items = data.view(f"S{width}") if len(lengths) * width == len(data) else _padded(lengths, data, width)
    return {"_items": items, "_starts": _NONE, "_lengths": _NOTHING, "_data": _NOTHING}


def _padded(lengths: npt.NDArray[np.int64], data: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.bytes_]:
    """Return strings that stand end to end as an array of fixed width, shape (n,)."""
    wide = np.zeros((len(lengths), width), dtype=np.uint8)
    columns = np.arange(width)
    start = 0
    for first in range(0, len(lengths), _CHUNK):  # so that the mask does not grow with n
        block = lengths[first : first + _CHUNK]
        stop = start + int(block.sum())
        wide[first : first + _CHUNK][columns < block[:, None]] = data[start:stop]
        start = stop
    return wide.view(f"S{width}").reshape(-1)  # (n, width) bytes -> (n,) strings


def _placed(parts: Sequence[npt.NDArray[np.bytes_]], order: Positions) -> npt.NDArray[np.bytes_]:
    """Return the items of several arrays in an order, each taken to its place at once: joined before, they would take twice the memory."""
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    placed = np.empty(len(order), dtype=np.result_type(*parts))
    start = 0
    for part in parts:
        placed[places[start : start + len(part)]] = part
        start += len(part)
    return placed


def _joined(prefix: bytes, items: npt.NDArray[np.bytes_], suffix: bytes) -> npt.NDArray[np.bytes_]:
    # A field of no width would take a byte all the same.
    parts = [np.asarray(part) for part in (prefix, items, suffix) if len(part)]
    wide = np.empty(len(items), dtype=[(str(number), part.dtype) for number, part in enumerate(parts)])
    for number, part in enumerate(parts):
        wide[str(number)] = part
    return wide.view(f"S{wide.dtype.itemsize}")


def _is_full(items: npt.NDArray[np.bytes_]) -> bool:
    """Return whether no string is shorter than the array is wide: then none ends with a zero byte."""
    width = items.dtype.itemsize
    return bool(items.view(np.uint8)[width - 1 :: width].all())

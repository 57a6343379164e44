"""What each value of `dataset.json` that builds write must be, beside array and labels: a table of keys, checked when the file is read.

Keys that are not in the table are those of a later release or of the user's, and may hold anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class _Kind(NamedTuple):
    """What a value must be.

    Attributes:
        expected: in words.
        is_met: whether a value is that.
    """

    expected: str
    is_met: Callable[[Any], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the greatest float
        return False


def _list_of(is_met: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_met, value))


def _object_of(is_met: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(is_met, value.values()))


_TEXT = _Kind("text", _is_text)
_NAMES = _Kind("a list of names", _list_of(_is_text))
_TEXTS = _Kind("an object of text", _object_of(_is_text))
_INTEGER = _Kind("an integer", _is_integer)
_COUNT = _Kind("a count", lambda value: _is_integer(value) and 0 <= value < 1 << 63)
_OBJECT = _Kind("an object", lambda value: isinstance(value, dict))
_AXIS = _Kind("-1 or null", lambda value: value is None or (_is_integer(value) and value == -1))
_NUMBERS = _Kind("a list of numbers or nulls, one a channel", _list_of(lambda value: value is None or _is_number(value)))
_COUNTS = _Kind("a list of counts, one a channel", _list_of(_COUNT.is_met))
_CLASS_COUNTS = _Kind("counts by label column, split and class", _object_of(_object_of(_object_of(_COUNT.is_met))))

_KEYS: dict[str, _Kind] = {
    **dict.fromkeys(("recipe.format", "recipe.labels", "recipe.digest"), _TEXT),
    **dict.fromkeys(("recipe.options", "recipe.recipe"), _OBJECT),
    **dict.fromkeys(("splits.names", "splits.folders"), _NAMES),
    **dict.fromkeys(("splits.column", "splits.group_by", "splits.group_regex"), _TEXT),
    **dict.fromkeys(("splits.absent", "splits.absent_folds", "splits.absent_groups"), _TEXTS),
    "splits.fractions": _Kind("shares by split", _object_of(lambda value: _is_text(value) or _is_number(value))),
    **dict.fromkeys(("splits.seed", "splits.folds"), _INTEGER),
    **dict.fromkeys(("statistics.over", "statistics.digest"), _TEXT),
    "statistics.version": _INTEGER,
    "statistics.rows": _COUNT,
    "statistics.axis": _AXIS,
    "statistics.channels": _OBJECT,
    "statistics.classes": _CLASS_COUNTS,
}

_CHANNELS = dict.fromkeys(("mean", "variance", "std", "min", "max"), _NUMBERS) | dict.fromkeys(("finite", "non_finite"), _COUNTS)


def key_problems(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong with its value), such as `splits.seed` and `expected an integer, found 'x'`.

    Args:
        raw: the decoded file, in which `recipe`, `splits` and `statistics` are objects if they are there.
    """
    for key, kind in _KEYS.items():
        section, _, name = key.partition(".")
        value = raw.get(section)
        if isinstance(value, dict) and name in value and not kind.is_met(value[name]):
            yield key, f"expected {kind.expected}, found {_shown(value[name])}"
    statistics = raw.get("statistics")
    if isinstance(statistics, dict) and isinstance(statistics.get("channels"), dict):
        yield from _channel_problems(statistics)


def _channel_problems(statistics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    channels, where = statistics["channels"], "statistics.channels"
    if "over" not in statistics:
        yield "statistics.over", "is missing; expected the split that the statistics are of, or 'all'"
    wrong = [name for name, kind in _CHANNELS.items() if not kind.is_met(channels.get(name))]
    for name in wrong:
        yield f"{where}.{name}", f"expected {_CHANNELS[name].expected}, found {_shown(channels.get(name))}"
    lengths = set() if wrong else {len(channels[name]) for name in _CHANNELS}
    if len(lengths) > 1:
        yield where, f"expected as many numbers of each kind, found {', '.join(map(str, sorted(lengths)))}"
    elif statistics.get("axis") is None and lengths - {0, 1}:
        yield "statistics.axis", f"is null, which means one channel, but there are numbers of {lengths.pop()}"


def unwritable_keys(raw: object) -> Iterator[str]:
    r"""Yield the key of each text that UTF-8 cannot encode, as JSON may hold one (`"\ud800"`), or of which the key itself is one."""
    left: list[tuple[str, object]] = [("", raw)]
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            pairs = [(f"{key}.{name}" if key else name, name, each) for name, each in value.items()]
            left += [(path, each) for path, _, each in reversed(pairs)]
            yield from (path for path, name, _ in pairs if not _is_writable(name))
        elif isinstance(value, list):
            left += [(f"{key}[{number}]", each) for number, each in reversed(list(enumerate(value)))]
        elif isinstance(value, str) and not _is_writable(value):
            yield key


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    """Return a value as Python writes it, cut to what fits into a message."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


_LONGEST_SHOWN = 100

"""The order of classes: which class is index 0 must not depend on the order of the rows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from manifests.format.schema import split_label

# Python refuses to read an integer of more than 4300 digits.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,999}")


def classes_of(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct classes that labels name, in class order.

    Labels that are all plain integers are ordered as numbers, so class `2` comes before class `10` and the digits
    `0` to `9` get their own value as index; any others are ordered by code point, as Python sorts strings.
    """
    names = {name for label in set(labels) for name in split_label(label)}
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))

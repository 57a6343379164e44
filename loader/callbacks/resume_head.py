"""What stands in the `state.json` of a saved training, and the check of it: a file may be damaged, or made by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from manifests.format.npyfile import AnyArray

FORMAT = "shardfeed resume"
VERSION = 1

_LONGEST_SHOWN = 60

Head = dict[str, Any]
"""The content of `state.json`; see `_FIELDS`."""


def parse_head(data: bytes) -> Head:
    """Return the content of a `state.json`.

    Raises:
        ValueError: it is none, of another version, or a value is not what it should be; one line that names it.
        RecursionError: it is nested too deeply.
    """
    head = json.loads(data)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ValueError(f"it does not say {FORMAT!r}")
    if head.get("version") != VERSION:
        raise ValueError(f"it is of version {_shown(head.get('version'))}, and this is version {VERSION}")
    head.setdefault("upcoming", None)
    for name, (words, is_right) in _FIELDS.items():
        if name not in head:
            raise ValueError(f"{name} is missing, expected {words}")
        if not is_right(head[name]):
            raise ValueError(f"{name} must be {words}, got {_shown(head[name])}")
    if head["step"] > head["steps"]:
        raise ValueError(f"step must be at most steps={head['steps']}, got {_shown(head['step'])}")
    longest = max(map(len, head["logs"].values()), default=0)
    if longest > len(head["epochs"]):
        raise ValueError(f"logs must have at most one number for each of the {len(head['epochs'])} epochs, got {longest}")
    return head


def check_array(item: Mapping[str, Any], array: AnyArray) -> None:
    """Check a variable's array against what the head says of it.

    Raises:
        ValueError: it is of another shape or dtype.
    """
    name, dtype, shape = item["name"], item["dtype"], tuple(item["shape"])
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape} instead of {_shown(shape)}")
    # NumPy has no names for some dtypes of Keras; their bytes are stored as unsigned integers.
    bits = re.search("[0-9]+", dtype)
    is_bytes = dtype not in np.sctypeDict and bits is not None and array.dtype == f"u{max(int(bits[0][:4]) // 8, 1)}"
    if array.dtype.name != dtype and not is_bytes:
        raise ValueError(f"{name} has dtype {array.dtype} instead of {_shown(dtype)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _is_count(value: object, least: int = 0) -> bool:
    return type(value) is int and value >= least


def _is_list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _is_dict_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _is_variable(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("dtype"), str)
        and _is_list_of(_is_count)(value.get("shape"))
    )


_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "identity": ("an object", lambda value: isinstance(value, dict)),
    "number": ("an integer from 0", _is_count),
    "epoch": ("an integer from 0", _is_count),
    "step": ("an integer from 0", _is_count),
    "steps": ("an integer from 1", lambda value: _is_count(value, 1)),
    "upcoming": ("an integer from 0, or null", lambda value: value is None or _is_count(value)),
    "is_complete": ("true or false", lambda value: isinstance(value, bool)),
    "is_stopped": ("true or false", lambda value: isinstance(value, bool)),
    "epochs": ("a list of integers from 0", _is_list_of(_is_count)),
    "logs": ("an object of lists of numbers", _is_dict_of(_is_list_of(lambda number: type(number) in {int, float}))),
    "groups": ("an object of lists of variables, each with name, dtype and shape", _is_dict_of(_is_list_of(_is_variable))),
}
"""Name -> what it must be, in words, and the check of it."""

"""A user's own function, `module:function`, as a transform."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from manifests.format.metadata import is_dtype_name
from manifests.format.npyfile import AnyArray
from prep.errors import ItemError
from prep.readers.limits import MAX_SAMPLES
from prep.transforms.interface.transform import Transform
from prep.transforms.load_user_code import load_function, users_code

_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def is_function_name(name: str) -> bool:
    """Return whether a name has the form `module:function`."""
    return _NAME.fullmatch(name) is not None


def param_problem(value: Any) -> str | None:
    """Say what a parameter should be if it is something else: what can be stored and comes back the same."""
    try:
        return None if json.loads(json.dumps(value, allow_nan=False)) == value else "a value of JSON"
    except (TypeError, ValueError, RecursionError):
        return "text, a finite number, true or false, or lists and tables of them"


@dataclass(frozen=True, kw_only=True)
class UserFunction(Transform):
    """A function `function(array, **params)` that returns an array, or a list of several.

    Attributes:
        function: `module:function`.
        params: its keyword arguments as JSON, sorted: hashable, so that the function is looked up once in a process.
        code: SHA-256 of the source that it is written in; empty while it is not known.
        folders: where its module may lie beside what is installed; no part of a recipe.
    """

    name: ClassVar[str] = "module:function"
    keeps_dtype: ClassVar[bool] = False
    gives_several: ClassVar[bool | None] = None

    function: str
    params: str = "{}"
    code: str = ""
    folders: tuple[str, ...] = field(default=(), compare=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments, new each time: the function may change them."""
        return dict(json.loads(self.params))

    def as_dict(self) -> dict[str, Any]:
        """Return name and parameters, as in a recipe."""
        return {"name": self.function, **self.arguments}

    def canonical(self) -> dict[str, Any]:
        """Return name, parameters, and the digest of the code."""
        return {"name": self.function, "params": self.arguments, "code": self.code}

    def apply(self, array: AnyArray, *, full_range: bool) -> AnyArray | Sequence[AnyArray]:  # noqa: ARG002  # the same for both
        """Call the function with a writable array.

        Raises:
            ItemError: it raised, or returned what is no array of numbers and no list of such.
        """
        function = _loaded(self.function, self.folders, self.code)
        writable = array if array.flags.writeable and array.flags.owndata else array.copy()
        with users_code(self.folders):
            try:
                made = function(writable, **self.arguments)
            except MemoryError:
                raise
            except (Exception, SystemExit) as error:
                raise ItemError(f"{self.function}: {type(error).__name__}: {error}") from error
        if not isinstance(made, list | tuple):
            return self._checked(made)
        if not made:
            raise ItemError(f"{self.function} gave an empty {type(made).__name__}; expected an array, or a list of at least one")
        if len(made) > MAX_SAMPLES:
            raise ItemError(f"{self.function} gave {len(made):,} arrays; at most {MAX_SAMPLES:,} are made of one item")
        return [self._checked(item) for item in made]

    def _checked(self, made: object) -> AnyArray:
        if isinstance(made, np.ma.MaskedArray):
            raise ItemError(f"{self.function} gave a masked array, whose mask a shard cannot hold; fill it first")
        if not isinstance(made, np.ndarray):
            hint = "; return list(...) of it" if hasattr(made, "__next__") else ""
            raise ItemError(f"{self.function} gave {type(made).__name__}; expected an array, or a list of arrays{hint}")
        if not is_dtype_name(made.dtype.name):
            raise ItemError(f"{self.function} gave an array of dtype {made.dtype.name}; shards hold numbers")
        return np.asarray(made)


def user_function(name: str, params: Mapping[str, Any], folders: Sequence[str] = ()) -> UserFunction:
    """Make the transform; the function is not looked for yet."""
    return UserFunction(function=name, params=json.dumps(dict(params), sort_keys=True, allow_nan=False), folders=tuple(folders))


@lru_cache
def _loaded(name: str, folders: tuple[str, ...], code: str) -> Any:
    """Import a function once in a process; `code` is here so that changed code is imported anew."""
    function, found = load_function(name, folders)
    if code and found != code:
        raise ItemError(f"{name}: its code has changed while the build ran; run again")
    return function

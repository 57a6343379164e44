"""The recipe: everything that decides a shard's bytes, in one form that can be stored and compared."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import PIL

from manifests.format.metadata import is_dtype_name
from prep.errors import UsageError
from prep.readers.limits import MAX_PIXELS
from prep.readers.parameters import ReaderOptions, checked
from prep.readers.registry import reader_of, readers_with_option, ready_options
from prep.transforms.cast import Cast
from prep.transforms.interface.convert_values import Scale
from prep.transforms.interface.problems import one_of, refusal
from prep.transforms.interface.transform import Transform
from prep.transforms.registry import read_transforms, with_code
from prep.transforms.resize import Resize
from prep.transforms.scale import Scale as ScaleTransform
from prep.transforms.user_function import UserFunction

_NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True, init=False)
class ShardOptions:
    """What the user asks of the shards; None where the raw data decide.

    Attributes:
        size: (height, width) of images, in pixels.
        dtype: NumPy name of the shards' dtype; None keeps that of the raw data, or is float32 when there is a scale.
        scale: what values are multiplied by.
        transforms: what is done between `size` and `scale`, in order; None leaves it to the dataset that is there.
        reader: options of the reader that were given, by name.

    Example:
        >>> ShardOptions(size=(32, 32), dtype="uint8", color="gray").reader
        {'color': 'gray'}
    """

    size: tuple[int, int] | None
    dtype: str | None
    scale: Scale | None
    transforms: tuple[Transform, ...] | None
    reader: Mapping[str, Any]

    def __init__(
        self,
        *,
        size: tuple[int, int] | None = None,
        dtype: str | None = None,
        scale: Scale | None = None,
        transforms: tuple[Transform, ...] | None = None,
        reader: Mapping[str, Any] = _NONE,
        **options: Any,
    ) -> None:
        """Take options.

        Args:
            size: (height, width) of images, in pixels.
            dtype: NumPy name of the shards' dtype.
            scale: what values are multiplied by.
            transforms: what is done between `size` and `scale`, in order.
            reader: options of readers by name.
            options: more of these, such as `color="gray"`; of one that is None nothing is said.

        Raises:
            UsageError: an option is not what it may be, or no reader has it.
        """
        given = {name: _reader_option(name, value) for name, value in {**reader, **options}.items() if value is not None}
        values = {"size": size, "dtype": dtype, "scale": scale, "transforms": transforms, "reader": given}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        if self.size is not None and not _is_size(self.size):
            raise UsageError(f"size must be two positive numbers of pixels, got {self.size}")
        if self.size is not None and self.size[0] * self.size[1] > MAX_PIXELS:
            raise UsageError(f"size must be at most {MAX_PIXELS:,} pixels, got {self.size[0]}x{self.size[1]}")
        if self.dtype is not None and not is_dtype_name(self.dtype):
            raise UsageError(f"dtype must be the NumPy name of a numeric dtype, such as uint8 or float32, got {self.dtype!r}")
        if self.scale is not None and self.dtype is not None and self.dtype[:3] in {"int", "uin", "boo"}:
            raise UsageError(f"scale gives fractions; dtype must be a float, got {self.dtype!r}")
        if self.scale not in {None, "unit"} and not _is_factor(self.scale):
            raise UsageError(f"scale must be a finite number other than 0, or 'unit', got {self.scale!r}")

    @classmethod
    def of_transforms(cls, transforms: Sequence[Transform], *, dtype: str | None = None, reader: Mapping[str, Any] = _NONE) -> ShardOptions:
        """Return the options of a whole recipe, with what a flag stands for in the flag's place.

        A first plain resize is `size`, a last scale `scale`, a last cast `dtype`: one recipe is stored in one form, however
        it was given.

        Args:
            transforms: all of them, in order.
            dtype: of the shards, or None.
            reader: options of the reader.
        """
        left = list(transforms)
        scale: Scale | None = None
        if left and isinstance(left[-1], Cast) and dtype is None and not (len(left) > 1 and _is_last_scale(left[-2], "float32")):
            dtype = left.pop().as_dict()["dtype"]
        elif left and isinstance(left[-1], ScaleTransform) and _is_last_scale(left[-1], dtype):
            scale = left.pop().as_dict()["factor"]
        size = None
        if left and isinstance(left[0], Resize) and left[0].is_plain:
            size = left[0].size
            left = left[1:]
        return cls(size=size, dtype=dtype, scale=scale, transforms=tuple(left), reader=reader)

    @property
    def have_users_code(self) -> bool:
        """Whether a transform is a function of the user's."""
        return any(isinstance(transform, UserFunction) for transform in self.transforms or ())

    def all_transforms(self) -> tuple[Transform, ...]:
        """Return the transforms as a recipe lists them, with those that flags stand for."""
        first = () if self.size is None else (Resize(size=self.size),)
        last = () if self.scale is None else (ScaleTransform(factor=self.scale),)
        return (*first, *(self.transforms or ()), *last)

    def filled_from(self, stored: ShardOptions) -> ShardOptions:
        """Return these options, with those left out taken from another build's."""
        plain = {name: getattr(stored if getattr(self, name) is None else self, name) for name in _PLAIN}
        return ShardOptions(**plain, reader={**stored.reader, **self.reader})

    def without(self, names: Collection[str]) -> ShardOptions:
        """Return the same with some options left out."""
        plain = {name: None if name in names else getattr(self, name) for name in _PLAIN}
        return ShardOptions(**plain, reader={name: value for name, value in self.reader.items() if name not in names})

    def with_code(self, folders: Sequence[str]) -> ShardOptions:
        """Import the user's functions, so that the digests of their code are known.

        Args:
            folders: where to look for them beside where each is known to lie and what is installed.

        Raises:
            UsageError: a function cannot be imported, or does not take its parameters.
        """
        if not self.transforms:
            return self
        transforms, problems = with_code(dict(enumerate(self.transforms)), folders)
        if problems:
            raise refusal("the recipe", problems)
        return replace(self, transforms=transforms)

    def of_reader(self, format_: str) -> ReaderOptions:
        """Return the options of a reader, with those that were not given left open.

        Args:
            format_: its name.

        Raises:
            UsageError: an option is not one of its.
        """
        known = reader_of(format_).Options
        foreign = [name for name in sorted(self.reader) if name not in known.kinds()]
        if foreign:
            raise UsageError(f"--{foreign[0].replace('_', '-')} does not go with a source of {format_}")
        return known(**self.reader)

    def as_dict(self) -> dict[str, Any]:
        """Return the options that were given, for `dataset.json`."""
        given = {name: getattr(self, name) for name in ("size", "dtype", "scale") if getattr(self, name) is not None}
        transforms = [transform.as_dict() for transform in self.transforms or ()]
        return {**given, **self.reader} | ({"transforms": transforms} if transforms else {})

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ShardOptions:
        """Take options back from `dataset.json`.

        Raises:
            UsageError: they are not what this release writes.
        """
        unknown = sorted(name for name in raw if name not in _PLAIN and not readers_with_option(name))
        if unknown:
            raise UsageError(f"dataset.json has unknown recipe options {unknown}; was it written by a newer release?")
        size = raw.get("size")
        transforms, problems = read_transforms(raw["transforms"]) if "transforms" in raw else ({}, [])
        if problems:
            raise UsageError("; ".join(map(str, problems)))
        return cls(**{**raw, "size": tuple(size) if isinstance(size, list) else size, "transforms": tuple(transforms.values()) or None})


_PLAIN = ("size", "dtype", "scale", "transforms")
"""Options that go with every reader."""


def _reader_option(name: str, value: Any) -> Any:
    """Return an option of a reader as it is used.

    Raises:
        UsageError: it is not what it may be, or no reader has it.
    """
    found = readers_with_option(name)
    if not found:
        raise UsageError(f"no reader has an option {name!r}; expected {one_of([*_PLAIN, *ready_options()], name)}")
    kind, _ = found[0].Options.kinds()[name]
    return checked(name, kind, value)


def _is_last_scale(transform: Transform, dtype: str | None) -> bool:
    """Return whether a transform could be what `--scale` stands for, with the shards' dtype beside it."""
    return isinstance(transform, ScaleTransform) and transform.dtype is None and (dtype or "float").startswith(("float", "complex"))


def _is_size(size: object) -> bool:
    return isinstance(size, tuple) and len(size) == 2 and all(type(axis) is int and axis > 0 for axis in size)


def _is_factor(scale: object) -> bool:
    return isinstance(scale, int | float) and not isinstance(scale, bool) and math.isfinite(scale) and scale != 0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to every raw item, with nothing left open.

    Attributes:
        format: name of the reader of the raw files.
        options: of the reader, with nothing left on "auto".
        size: (height, width) that the reader brings images to, or None for each one's own.
        dtype: of the shards, or None for each array's own.
        scale: what values are multiplied by.
        transforms: what is done after `size` and before `scale`, in order.
    """

    format: str
    options: ReaderOptions
    size: tuple[int, int] | None = None
    dtype: str | None = None
    scale: Scale | None = None
    transforms: tuple[Transform, ...] = ()

    @property
    def may_give_several(self) -> bool:
        """Whether a raw item may become several samples: `<id>-0000`, `<id>-0001`, ..."""
        return any(transform.gives_several is not False for transform in self.transforms)

    @property
    def always_gives_several(self) -> bool:
        """Whether every sample's ID is its raw item's with a number behind it, even a single one's."""
        return any(transform.gives_several is True for transform in self.transforms)

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe in the form that is stored, compared and digested."""
        # Libraries whose release can change a value: those of the reader, and Pillow where it resizes; all else is lossless.
        libraries = {"pillow": PIL.__version__} if any(transform.uses_pillow for transform in self.transforms) else {}
        libraries |= reader_of(self.format).libraries()
        options = self.options.canonical()
        channels = {"channels": options.pop("channels")} if "channels" in options else {}  # in its place since the first release
        plain = {"format": self.format, "size": self.size, **channels, "dtype": self.dtype, "scale": self.scale, **options}
        # Left out where there are none, as before there were any: else every dataset would be built again.
        transforms = {"transforms": [transform.canonical() for transform in self.transforms]} if self.transforms else {}
        return {**plain, **transforms, "libraries": libraries}

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical recipe, in hex: equal digest, equal treatment."""
        canonical = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say in what two recipes differ, each as stored: `size: [8, 8] -> [16, 16]`, `transforms[1].size: [4, 4] -> [8, 8]`."""
    old, new = (_flat(json.loads(json.dumps(dict(recipe)))) for recipe in (old, new))
    return [_difference(key, old, new) for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


def _flat(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a stored recipe with a key for each parameter of each transform."""
    transforms = recipe.pop("transforms", [])
    if not isinstance(transforms, list) or not all(isinstance(transform, dict) for transform in transforms):
        return {**recipe, "transforms": transforms}
    flat = {f"transforms[{number}].{key}": value for number, table in enumerate(transforms) for key, value in table.items()}
    return recipe | flat


def _difference(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if key.endswith("].code") and old.get(key) and new.get(key):
        transform = key.removesuffix(".code")
        return f"{transform}: the code of {new.get(f'{transform}.name')} has changed"
    return f"{key}: {old.get(key)} -> {new.get(key)}"

"""The recipe: everything that decides a shard's bytes, in one form that can be stored and compared."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import PIL

from manifests.metadata import is_dtype_name
from prep.errors import UsageError
from prep.limits import MAX_PIXELS
from prep.records import SourceFormat
from prep.transforms.values import Scale

Color = Literal["auto", "rgb", "gray"]

_IMAGE_ONLY = ("size", "color")
_ARRAY_ONLY = ("npz_key",)


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """What the user asks of the shards; None where the raw data decide.

    Attributes:
        size: (height, width) of images, in pixels.
        color: channels of images: `auto` is one when every image is grey, else RGB.
        dtype: NumPy name of the shards' dtype; None keeps that of the raw data, or is float32 when there is a scale.
        scale: what values are multiplied by.
        npz_key: which array of an `.npz` file to take.
    """

    size: tuple[int, int] | None = None
    color: Color | None = None
    dtype: str | None = None
    scale: Scale | None = None
    npz_key: str | None = None

    def __post_init__(self) -> None:
        if self.size is not None and not _is_size(self.size):
            raise UsageError(f"size must be two positive numbers of pixels, got {self.size}")
        if self.size is not None and self.size[0] * self.size[1] > MAX_PIXELS:
            raise UsageError(f"size must be at most {MAX_PIXELS:,} pixels, got {self.size[0]}x{self.size[1]}")
        if self.color not in {None, "auto", "rgb", "gray"}:
            raise UsageError(f"color must be auto, rgb or gray, got {self.color!r}")
        if self.dtype is not None and not is_dtype_name(self.dtype):
            raise UsageError(f"dtype must be the NumPy name of a numeric dtype, such as uint8 or float32, got {self.dtype!r}")
        if self.scale is not None and self.dtype is not None and self.dtype[:3] in {"int", "uin", "boo"}:
            raise UsageError(f"scale gives fractions; dtype must be a float, got {self.dtype!r}")
        if self.scale not in {None, "unit"} and not _is_factor(self.scale):
            raise UsageError(f"scale must be a finite number other than 0, or 'unit', got {self.scale!r}")

    def filled_from(self, stored: ShardOptions) -> ShardOptions:
        """Return these options, with those left out taken from another build's."""
        return ShardOptions(**{f.name: getattr(stored if getattr(self, f.name) is None else self, f.name) for f in fields(self)})

    def check_format(self, format_: SourceFormat) -> None:
        """Refuse options that mean nothing for a kind of raw file.

        Raises:
            UsageError: there is such an option.
        """
        foreign = _IMAGE_ONLY if format_ == "arrays" else _ARRAY_ONLY
        given = [name for name in foreign if getattr(self, name) is not None]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} does not go with a source of {format_}")

    def as_dict(self) -> dict[str, Any]:
        """Return the options that were given, for `dataset.json`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ShardOptions:
        """Take options back from `dataset.json`.

        Raises:
            UsageError: they are not what this release writes.
        """
        known = {f.name for f in fields(cls)}
        if not known.issuperset(raw):
            raise UsageError(f"dataset.json has unknown recipe options {sorted(set(raw) - known)}; was it written by a newer release?")
        size = raw.get("size")
        return cls(**{**raw, "size": tuple(size) if isinstance(size, list) else size})


def _is_size(size: object) -> bool:
    return isinstance(size, tuple) and len(size) == 2 and all(type(axis) is int and axis > 0 for axis in size)


def _is_factor(scale: object) -> bool:
    return isinstance(scale, int | float) and not isinstance(scale, bool) and math.isfinite(scale) and scale != 0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to every raw item, with nothing left open.

    Attributes:
        format: what the raw files are.
        size: (height, width) of images, or None for each one's own.
        channels: of images: 1 or 3; None for arrays, which keep their axes.
        dtype: of the shards, or None for each array's own.
        scale: what values are multiplied by.
        npz_key: which array of an `.npz` file to take.
    """

    format: SourceFormat
    size: tuple[int, int] | None
    channels: Literal[1, 3] | None
    dtype: str | None
    scale: Scale | None
    npz_key: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe in the form that is stored, compared and digested."""
        # Libraries whose release can change a value: JPEG decoding and resizing are Pillow's, all else is lossless.
        libraries = {"pillow": PIL.__version__} if self.format == "images" else {}
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "libraries": libraries}

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical recipe, in hex: equal digest, equal treatment."""
        canonical = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say in what two recipes differ, each as stored: `size: [8, 8] -> [16, 16]`."""
    old, new = (json.loads(json.dumps(dict(recipe))) for recipe in (old, new))
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in sorted({*old, *new}) if old.get(key) != new.get(key)]

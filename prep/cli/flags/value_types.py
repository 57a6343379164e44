"""Types of option values: sizes, scales, splits, label kinds."""

from __future__ import annotations

import tomllib
from typing import Any, get_args

import click

from manifests.format.metadata import LabelKind
from prep.errors import UsageError
from prep.readers.parameters import Kind, exact_number
from prep.splits.spec import parse_folders, parse_splits
from prep.transforms.interface.convert_values import Scale


def flag_value(kind: Kind, text: str) -> Any:
    """Return the raw value that a flag's text stands for: the text itself, or a value of TOML such as `16000`, `true` or `[1, 2]`."""
    if kind.is_text:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, LookupError, RecursionError, ValueError):
        return text


class SizeParam(click.ParamType):  # type: ignore[type-arg]  # older releases of click are not generic
    """`HxW` in pixels."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read `32x48` as (32, 48): height first, as in a shape."""
        if isinstance(value, tuple):
            return value
        height, _, width = str(value).lower().partition("x")
        if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
            self.fail(f"{value!r} is not a size; expected HEIGHTxWIDTH in pixels, such as 32x32", param, ctx)
        return int(height), int(width)


class ScaleParam(click.ParamType):  # type: ignore[type-arg]  # older releases of click are not generic
    """A factor or `unit`."""

    name = "FACTOR|unit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Scale:
        """Read `unit`, `0.5` or `1/255`."""
        if value == "unit" or isinstance(value, float):
            return "unit" if value == "unit" else float(value)
        try:
            factor = float(exact_number(str(value)))
        except (ValueError, ZeroDivisionError, OverflowError):
            self.fail(f"{value!r} is not a scale; expected a factor such as 1/255 or 0.5, or unit", param, ctx)
        return factor


class SplitsParam(click.ParamType):  # type: ignore[type-arg]  # older releases of click are not generic
    """`NAME=SHARE,...`."""

    name = "NAME=SHARE,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check `train=0.8,val=0.1,test=0.1`; the seed is added by the command."""
        try:
            parse_splits(str(value), seed=0)
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class FoldersParam(click.ParamType):  # type: ignore[type-arg]  # older releases of click are not generic
    """`NAME/NAME/...`."""

    name = "NAME/NAME/..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read `train/val/test` or `train,val,test`."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_folders(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


class LabelKindParam(click.ParamType):  # type: ignore[type-arg]  # older releases of click are not generic
    """`class` or `number`, for all label columns or `COLUMN=` one."""

    name = "[COLUMN=]KIND"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read `number` or `age=number`, as column and kind; the column is empty for all."""
        if isinstance(value, tuple):
            return value
        column, equals, kind = str(value).rpartition("=")
        if kind not in get_args(LabelKind) or (equals and not column):
            self.fail(f"{value!r} is not a kind of label; expected class, number, or for example age=number for one column", param, ctx)
        return column, kind

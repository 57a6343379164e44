"""What all transforms have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from manifests.format.npyfile import AnyArray


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A change of an array; its fields are its parameters.

    Attributes:
        name: as in a recipe.
        keeps_dtype: whether what comes out has the dtype of what went in.
        gives_several: whether one array becomes several samples; None if the array decides.
        keeps_places: whether each value stays where it is along all axes but the last: then further arrays of the sample, such as a
            mask, still go with what comes out.
        uses_pillow: whether its values may change with Pillow's release.
    """

    name: ClassVar[str]
    keeps_dtype: ClassVar[bool] = True
    gives_several: ClassVar[bool | None] = False
    keeps_places: ClassVar[bool] = False
    uses_pillow: ClassVar[bool] = False

    def apply(self, array: AnyArray, *, full_range: bool) -> AnyArray | Sequence[AnyArray]:
        """Return the changed array, or several; the argument may be a read-only view and is left as it is.

        Args:
            array: any shape and numeric dtype.
            full_range: whether integers of 8 and 16 bits stand for the same range of brightness.

        Raises:
            ItemError: the array is none that this can change.
        """
        raise NotImplementedError

    def check(self) -> Mapping[str, str]:
        """Return what is wrong with parameters beside one another: name -> what was expected; empty if all is well."""
        return {}

    def as_dict(self) -> dict[str, Any]:
        """Return name and parameters as they are stored: plain values, without those that are None."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"name": self.name} | {name: _plain(value) for name, value in values.items() if value is not None}

    def canonical(self) -> dict[str, Any]:
        """Return everything that decides what comes out, for the recipe's digest."""
        return self.as_dict()


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value

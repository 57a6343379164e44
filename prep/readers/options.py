"""Options of readers: each field is an option of the command, a key of a recipe's `[source]` and an argument of `ShardOptions`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from prep.errors import UsageError
from prep.readers.parameters import Kind


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """Options of one reader, checked when they are made.

    A subclass declares each as `name: T | None = param(kind, help, None)`; None stands for an option that was left out.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class LineOptions(ReaderOptions):
        ...     separator: str | None = param(TEXT, "character between two numbers", None)

    Raises:
        UsageError: a value is not of its kind.
    """

    def __post_init__(self) -> None:
        for name, (kind, _) in self.kinds().items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checked(name, kind, value))

    @classmethod
    def kinds(cls) -> Mapping[str, tuple[Kind, str]]:
        """Return the options: name -> what a value may be, and what it means."""
        return {field.name: (field.metadata["kind"], field.metadata["doc"]) for field in fields(cls)}

    def canonical(self) -> dict[str, Any]:
        """Return all that decides what is read, as plain values, for the recipe and its digest."""
        return {name: getattr(self, name) for name in self.kinds()}

    @classmethod
    def from_canonical(cls, recipe: Mapping[str, Any]) -> Self:
        """Return the options that a stored recipe was settled with.

        Raises:
            UsageError: a value is not of its kind.
        """
        return cls(**{name: recipe.get(name) for name in cls.kinds()})


def checked(name: str, kind: Kind, value: Any) -> Any:
    """Return a value as its kind reads it.

    Raises:
        UsageError: it is not of that kind.
    """
    try:
        return kind.read(value)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"{name} must be {kind.expected}, got {value!r}") from error

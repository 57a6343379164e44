"""The readers by name and by the endings of their files: the ready ones, and those that installed packages register.

A package registers a reader by an entry point: `[project.entry-points."shardfeed.readers"]`, `name = "module:ReaderClass"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from prep.errors import UsageError
from prep.readers.arrays import ArrayReader
from prep.readers.images.reader import ImageReader
from prep.readers.parameters import Kind, ReaderOptions
from prep.readers.reader import Reader

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "shardfeed.readers"

_READY: Mapping[str, Reader] = {reader.name: reader for reader in (ImageReader(), ArrayReader())}
_RESERVED = frozenset({"auto", "table"})  # what else `--format` takes
_RESERVED_OPTIONS = frozenset({"dtype", "format", "reader", "scale", "size", "transforms"})  # which go with every reader
_REQUIRED = ("name", "singular", "files", "suffixes")


def names() -> tuple[str, ...]:
    """Return the names of all readers, the ready ones first; nothing of another package's is imported.

    Raises:
        UsageError: two readers have one name.
    """
    return (*_READY, *_entry_points())


def reader_of(name: str) -> Reader:
    """Return the reader of a name.

    Raises:
        UsageError: there is none, or it cannot be imported.
    """
    return _READY.get(name) or _registered(name)


def readers() -> tuple[Reader, ...]:
    """Return all readers, in the order of `names`."""
    return tuple(map(reader_of, names()))


def ready_options() -> Mapping[str, tuple[Kind, str]]:
    """Return the options of the ready readers: name -> what a value may be, and what it means."""
    return {name: kind for reader in _READY.values() for name, kind in reader.Options.kinds().items()}


def readers_with_option(name: str) -> tuple[Reader, ...]:
    """Return the readers that have an option of this name; those of other packages are looked at only if no ready one has it."""
    ready = tuple(reader for reader in _READY.values() if name in reader.Options.kinds())
    return ready or tuple(reader for reader in readers() if name in reader.Options.kinds())


@cache
def names_by_suffix() -> Mapping[str, str]:
    """Return which reader takes the files of an ending: ending -> name.

    Raises:
        UsageError: two readers take files of one ending.
    """
    found: dict[str, str] = {}
    for reader in readers():
        for suffix in sorted(reader.suffixes):
            if found.setdefault(suffix, reader.name) != reader.name:
                raise UsageError(f"readers {found[suffix]!r} and {reader.name!r} both take {suffix} files; uninstall the package of one")
    return found


@cache
def _entry_points() -> Mapping[str, EntryPoint]:
    """Return the entry points of other packages' readers, by name."""
    from importlib.metadata import entry_points  # noqa: PLC0415  # which takes a while to import, and workers need none

    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if point.name in _READY or point.name in _RESERVED:
            raise UsageError(f"{_told(point)}: the name {point.name!r} is taken; uninstall the package, or rename its reader")
        if point.name in found:
            raise UsageError(f"{_told(point)}: has the name of another, {_told(found[point.name])}; uninstall the package of one")
        found[point.name] = point
    return found


@cache
def _registered(name: str) -> Reader:
    """Import a reader of another package's."""
    point = _entry_points().get(name)
    if point is None:
        raise UsageError(f"no reader {name!r}; the readers are {', '.join(names())}; is the package installed that it is part of?")
    try:
        reader = point.load()()
    except Exception as error:  # the package's own code may raise anything
        raise UsageError(f"{_told(point)}: cannot be used: {type(error).__name__}: {error}") from error
    problem = _problem(reader, name)
    if problem is not None:
        raise UsageError(f"{_told(point)}: cannot be used: {problem}")
    checked: Reader = reader
    return checked


def _problem(reader: object, name: str) -> str | None:
    """Return what is wrong with a reader of another package's; None if all is well."""
    if not isinstance(reader, Reader):
        return "it is no prep.readers.reader.Reader"
    missing = [attribute for attribute in _REQUIRED if not hasattr(reader, attribute)]
    if missing:
        return f"it has no {' and no '.join(missing)}"
    if reader.name != name:
        return f"it calls itself {reader.name!r}"
    options: Any = reader.Options
    if not (isinstance(options, type) and issubclass(options, ReaderOptions)):
        return "its Options are no prep.readers.parameters.ReaderOptions"
    taken = sorted({*options.kinds()} & _RESERVED_OPTIONS)
    if taken:
        return f"an option cannot be called {taken[0]!r}"
    bad = sorted(suffix for suffix in reader.suffixes if suffix != suffix.lower() or suffix.rfind(".") != 0 or len(suffix) == 1)
    return f"endings must be lower case with one dot, in front; found {', '.join(map(repr, bad))}" if bad else None


def _told(point: EntryPoint) -> str:
    package = f" of the package {point.dist.name}" if point.dist is not None else ""
    return f"reader {point.name!r} ({point.value}{package})"

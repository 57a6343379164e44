"""Calls on an executor of the caller's own: its workers may be other machines, may begin late, and may outlive the build.

So each call says what the caller sees. A worker of other versions or with other files refuses it, and one that comes to it when the run is
over does nothing.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from prep.errors import WorkerError
from prep.parallel.run_flag import RunFlag, heeding
from prep.transforms.load_user_code import LoadError

Result = TypeVar("Result")

_PACKAGES = ("shardfeed", "numpy", "pillow", "simplejpeg", "imagecodecs")
"""What the bytes of shards depend on."""


@cache
def versions() -> Mapping[str, str]:
    """Return the versions, of this process, of all that decides a shard's bytes."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found


FileState = tuple[int, int] | None
"""A file's size, and its last change in ns; None if it cannot be found."""


def states_of(paths: Sequence[str]) -> list[FileState]:
    """Return what this process sees of files."""
    found: list[FileState] = []
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            found.append(None)
        else:
            found.append((status.st_size, status.st_mtime_ns))
    return found


@dataclass(frozen=True, kw_only=True)
class CallerView:
    """What the caller sees, and every worker must.

    Attributes:
        root: the source's folder, absolute.
        flag: of the run; None where nothing is written.
        versions: of what decides a shard's bytes.
    """

    root: Path
    flag: RunFlag | None
    versions: Mapping[str, str] = field(default_factory=lambda: dict(versions()))

    def difference(self) -> str | None:
        """Say in what this process differs from the caller; None if in nothing."""
        own = versions()
        other = [
            f"{name} {own.get(name, 'none')} instead of {version}" for name, version in self.versions.items() if own.get(name) != version
        ]
        if other:
            return f"has {', '.join(other)}"
        if not self.root.exists():
            return f"cannot see the source {self.root}"
        return None


@dataclass(frozen=True, kw_only=True)
class Called(Generic[Result]):
    """What came of a call.

    Attributes:
        result: of the function; None if it was not called.
        flag_down: whether the worker could not see the run's flag: the run is over, or it sees other files.
        place: the worker's host and process.
    """

    result: Result | None
    flag_down: bool
    place: str


def remote_call(function: Callable[[Any], Result], task: Any, view: CallerView, _token: str) -> Called[Result]:
    """Call a function in a worker, unless the run is over.

    Args:
        function: importable.
        task: its argument.
        view: what the caller sees.
        _token: no other call has it: Dask takes two calls with the same arguments for one, and gives the first one's error to the second.

    Raises:
        WorkerError: this worker cannot do what the caller's own process would.
    """
    place = f"{socket.gethostname()}, process {os.getpid()}"
    if view.flag is None:
        return Called(result=_result(function, task, view, place), flag_down=False, place=place)
    with heeding(view.flag) as heed:
        if heed.is_down:
            return Called(result=None, flag_down=True, place=place)
        result = _result(function, task, view, place)
        return Called(result=result, flag_down=heed.is_down, place=place)


def _result(function: Callable[[Any], Result], task: Any, view: CallerView, place: str) -> Result:
    difference = view.difference()
    if difference is not None:
        raise WorkerError(refusal(place, difference))
    try:
        return function(task)
    except LoadError as error:  # the caller could import it
        raise WorkerError(refusal(place, f"cannot load a function of the recipe ({error})")) from error


def refusal(worker: str, difference: str) -> str:
    """Say that a worker cannot be used."""
    return f"the worker {worker} {difference}; nothing was changed; let all workers have the same packages and see the same files"

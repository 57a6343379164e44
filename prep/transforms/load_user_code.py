"""The user's own functions: found by `module:function`, in the user's folders as well as among what is installed.

The current folder is searched only where it is one of these, whatever `sys.path` says: photos or a downloaded dataset may lie there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.machinery
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from prep.text import printable

_ROOT = os.path.realpath(Path(__file__).parents[2])
"""The folder of the package `prep`."""

_imported: dict[str, dict[str, str]] = {}
"""Function -> the modules behind it and the digests of their code as it was imported here: it may change between two builds."""


class LoadError(Exception):
    """A function cannot be had; the message says why, in one line."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """The code behind a function.

    Attributes:
        folders: in which its modules lie, beside what is installed.
        modules: name -> SHA-256 of the source, of the module that is named and of the one that the function is written in.
    """

    folders: tuple[str, ...]
    modules: Mapping[str, str]


@contextlib.contextmanager
def users_code(folders: Sequence[str]) -> Iterator[None]:
    """Let the user's code import from folders, behind all else, and print to stderr: stdout is the command's answer."""
    added = [folder for folder in folders if folder not in sys.path]
    sys.path.extend(added)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        for folder in added:
            with contextlib.suppress(ValueError):  # the user's code may have changed it
                sys.path.remove(folder)


@contextlib.contextmanager
def without_current_folder() -> Iterator[None]:
    """Leave the current folder out of where modules are looked for, unless this package itself lies there."""
    current = _current_folder()
    hidden = [] if current in {"", _ROOT} else [(at, entry) for at, entry in enumerate(sys.path) if os.path.realpath(entry) == current]
    for at, _ in reversed(hidden):
        del sys.path[at]
    try:
        yield
    finally:
        for at, entry in hidden:
            sys.path.insert(at, entry)


@contextlib.contextmanager
def _searching(folders: Sequence[str]) -> Iterator[None]:
    """Look for modules in folders behind all else, and in the current folder only if it is one of them."""
    is_searched = _current_folder() in map(os.path.realpath, folders)
    with contextlib.nullcontext() if is_searched else without_current_folder(), users_code(folders):
        yield


def _current_folder() -> str:
    """Return the real path of the current folder; nothing if it was removed, and then no module is found there."""
    try:
        return os.path.realpath(os.getcwd())
    except FileNotFoundError:
        return ""


def source_of(module: str, folders: Sequence[str]) -> Path | None:
    """Return the source file that importing a module would run; None if there is none. Nothing is imported.

    Args:
        module: its full name.
        folders: where to look for it beside where Python does.
    """
    importlib.invalidate_caches()
    within: Sequence[str] | None = None
    origin = ""
    with _searching(folders):
        for end in [*(at for at, char in enumerate(module) if char == "."), len(module)]:
            spec = _spec_of(module[:end], within)
            if spec is None or (end < len(module) and spec.submodule_search_locations is None):
                return None
            origin, within = spec.origin or "", spec.submodule_search_locations
    return Path(origin) if origin.endswith(tuple(importlib.machinery.SOURCE_SUFFIXES)) else None


def code_of(name: str, folders: Sequence[str]) -> Code:
    """Return the code behind a function that was loaded here from these folders."""
    modules = _imported[name]
    files = {module.partition(".")[0]: Path(str(inspect.getsourcefile(sys.modules[module]))) for module in modules}
    used = [
        folder
        for folder in folders
        if any(file == Path(folder, f"{top}.py") or Path(folder, top) in file.parents for top, file in files.items())
    ]
    return Code(folders=tuple(used), modules=modules)


def load_function(name: str, folders: Sequence[str]) -> tuple[Callable[..., Any], str]:
    """Import a function.

    Args:
        name: `module:function`.
        folders: where to look for the module beside where Python does.

    Returns:
        The function, and the SHA-256 of the source of the module that it is written in.

    Raises:
        LoadError: there is no such module or function, its import fails, or it has no source file.
    """
    module_name, _, attribute = name.partition(":")
    with _searching(folders):
        _forget_stale(name)
        module = _module(module_name, folders)
        own = _digest(module)
        function: Any = module
        for part in attribute.split("."):
            try:
                function = getattr(function, part)
            except AttributeError:
                raise LoadError(f"module {module_name!r} ({inspect.getsourcefile(module)}) has no {attribute!r}") from None
        if not callable(function):
            raise LoadError(f"{name} is no function but {type(function).__name__}")
        home = getattr(function, "__module__", None)
        home = home if home in sys.modules else module_name
        code = _digest(sys.modules[home])
        _imported[name] = {module_name: own, home: code}
        return function, code


def check_arguments(function: Callable[..., Any], params: dict[str, Any]) -> str | None:
    """Say what is wrong with calling a function with an array and these parameters, or None."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some of those that are written in C do not tell
        return None
    try:
        signature.bind(object(), **params)
    except TypeError as error:
        return f"{error}; it takes {signature}"
    return None


def _module(name: str, folders: Sequence[str]) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise LoadError(f"there is no module {error.name!r}, {_not_found_in(folders)}") from error
        raise LoadError(f"importing {name!r} fails: {_one_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise LoadError(f"importing {name!r} fails: {_one_line(error)}") from error


def _not_found_in(folders: Sequence[str]) -> str:
    return f"neither installed nor in {' or '.join(folders)}" if folders else "installed; the current folder is not searched for it"


def _forget_stale(name: str) -> None:
    """Let go of a function's modules if their code has changed since they were imported here, or another goes by the name now."""
    known = _imported.pop(name, {})
    top = name.partition(":")[0].partition(".")[0]
    if all(_is_as_before(module, digest) for module, digest in known.items()) and _is_found(top):
        return
    tops = {top, *(module.partition(".")[0] for module in known)} - {"__main__"}
    for module in [module for module in sys.modules if module.partition(".")[0] in tops]:
        del sys.modules[module]


def _is_as_before(module: str, digest: str) -> bool:
    try:
        return module in sys.modules and _digest(sys.modules[module]) == digest
    except LoadError:  # its file has gone since
        return False


def _is_found(top: str) -> bool:
    """Return whether an imported module is the one that Python would find by its name now."""
    if top not in sys.modules:
        return True
    file = getattr(sys.modules[top], "__file__", None)
    spec = _spec_of(top, None)
    return file is None or (spec is not None and spec.origin in {None, file})


def _spec_of(name: str, within: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    """Return where Python would find a module, which may be imported already; `within` are the folders of its package."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, within)
        except (ImportError, ValueError, AttributeError):
            continue
        if spec is not None:
            return spec
    return None


def _digest(module: ModuleType) -> str:
    """Return the SHA-256 of a module's source.

    Raises:
        LoadError: it has none.
    """
    try:
        file = inspect.getsourcefile(module)
        if file is not None:
            return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except (TypeError, OSError):  # built into Python, or gone since
        file = None
    raise LoadError(f"module {module.__name__!r} has no source file by which to tell its code; wrap the function in one of a .py file")


def _one_line(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {error}")

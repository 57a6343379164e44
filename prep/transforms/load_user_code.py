"""The user's own functions: found by `module:function`, in the user's folders as well as among what is installed."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.machinery
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from prep.text import printable

_imported: dict[str, dict[str, str]] = {}
"""Function -> the modules behind it and the digests of their code as it was imported here: it may change between two builds."""


class LoadError(Exception):
    """A function cannot be had; the message says why, in one line."""


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


def load_function(name: str, folders: Sequence[str]) -> tuple[Callable[..., Any], str]:
    """Import a function.

    Args:
        name: `module:function`.
        folders: where to look for the module beside where Python does.

    Returns:
        The function, and the SHA-256 of the source of the module that it is written in.

    Raises:
        LoadError: there is no such module or function, or its import fails.
    """
    module_name, _, attribute = name.partition(":")
    with users_code(folders):
        _forget_stale(name)
        module = _module(module_name)
        function: Any = module
        for part in attribute.split("."):
            try:
                function = getattr(function, part)
            except AttributeError:
                where = getattr(module, "__file__", None) or "built in"
                raise LoadError(f"module {module_name!r} ({where}) has no {attribute!r}") from None
        if not callable(function):
            raise LoadError(f"{name} is no function but {type(function).__name__}")
        home = sys.modules.get(getattr(function, "__module__", None) or module_name, module)
        code = _digest(home)
        _imported[name] = {module_name: _digest(module), home.__name__: code}
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


def _module(name: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise LoadError(f"there is no module {error.name!r}, neither installed nor in the recipe's or the current folder") from error
        raise LoadError(f"importing {name!r} fails: {_one_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise LoadError(f"importing {name!r} fails: {_one_line(error)}") from error


def _forget_stale(name: str) -> None:
    """Let go of a function's modules if their code has changed since they were imported here, or another goes by the name now."""
    known = _imported.pop(name, {})
    modules = {module: sys.modules.get(module) for module in known}
    if all(module is not None and _digest(module) == known[at] for at, module in modules.items()) and _is_found(name.partition(":")[0]):
        return
    tops = {module.partition(".")[0] for module in (*known, name.partition(":")[0])}
    for module in [module for module in sys.modules if module.partition(".")[0] in tops]:
        del sys.modules[module]


def _is_found(module: str) -> bool:
    """Return whether an imported module is the one that Python would find by its name now."""
    top = module.partition(".")[0]
    try:
        spec = importlib.machinery.PathFinder.find_spec(top)
    except (ImportError, ValueError):
        return False
    if top not in sys.modules or spec is None or spec.origin is None:
        return True  # not imported yet, or of a kind that has no file
    return spec.origin == getattr(sys.modules[top], "__file__", spec.origin)


def _digest(module: ModuleType) -> str:
    """Return the SHA-256 of a module's source, or of its file where there is no source."""
    try:
        file = inspect.getsourcefile(module) or inspect.getfile(module)
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except (TypeError, OSError):  # built into Python, or gone since
        return hashlib.sha256(f"{module.__name__} of Python {sys.version}".encode()).hexdigest()


def _one_line(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {error}")

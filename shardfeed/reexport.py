"""Public names of other packages, imported from them when they are first used."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from shardfeed.shadowing import check_imports

AMBIGUOUS = {"WorkerError": ("prep", "loader")}
"""A name that several packages have, with another meaning in each: it is not re-exported."""

_NEEDS = {"prep": ("prep", "manifests"), "loader": ("loader", "manifests"), "manifests": ("manifests",)}
"""Package -> the packages of ours that it imports, itself among them."""


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package whose stub says which names come from where.

    `lazy_loader.attach_stub` is this for names from within a package.

    Args:
        package: its name.
        file: its `__init__.py`, beside which the stub lies.
    """
    homes = _homes(Path(file).with_suffix(".pyi"))
    names = sorted(homes)

    def find(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415  # takes longer than all else here

            value: Any = version("shardfeed")
        elif name in homes:
            check_imports(*_NEEDS[homes[name]])
            value = getattr(import_module(homes[name]), name)
        elif name in AMBIGUOUS:
            places = " or ".join(f"'from {place} import {name}'" for place in AMBIGUOUS[name])
            # An AttributeError would lose its message in `from shardfeed import ...`.
            raise ImportError(f"{package} does not re-export {name}, of which there are several: write {places}", name=package)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    return find, lambda: [*names, "__version__"], names.copy()


def _homes(stub: Path) -> dict[str, str]:
    """Return for each name that a stub imports the module that it comes from."""
    imports = [node for node in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}

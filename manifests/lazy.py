"""Public names that are imported when they are first asked for (PEP 562).

Importing a package then costs next to nothing: a worker process that only reads shards loads no pandas, and `import
loader` no Keras.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for a package's `__init__`.

    Args:
        package: its name.
        homes: public name -> the module within the package that defines it.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return find

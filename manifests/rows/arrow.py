"""pyarrow, imported when it is first used.

`pa` is pyarrow, `pc` its `compute`, `csv`, `ipc` and `parquet` the modules of these names. Importing it takes as long as all of NumPy, and
starts threads: a process that has done so cannot be copied (`fork`), and the workers of a feed do without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

ROWS_AT_ONCE = 65_536
"""Rows that are handled together where each becomes an object, or a column a copy: enough for speed, few enough for memory."""

_MODULES = {"pa": "pyarrow", "pc": "pyarrow.compute", "csv": "pyarrow.csv", "ipc": "pyarrow.ipc", "parquet": "pyarrow.parquet"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = globals()[name] = import_module(_MODULES[name])
    return module

"""Prints which functions of the project one photograph passes in a build, as JSON: `python traced_build.py SOURCE OUT`."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import prep.cli.app

ROOT = Path(prep.cli.app.__file__).parents[2]
PACKAGES = tuple(f"{ROOT}{os.sep}{package}{os.sep}" for package in ("prep", "manifests"))


class Trace:
    """The functions that are called, but for what an import statement runs.

    Attributes:
        functions: (file, name within it); comprehensions and the like, of which Python 3.12 has fewer, count as where they stand.
    """

    def __init__(self) -> None:
        self.functions: set[tuple[str, str]] = set()
        self._imports = threading.local()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if code.co_name == "_find_and_load" and code.co_filename.startswith("<frozen importlib"):
            depth = getattr(self._imports, "depth", 0)
            self._imports.depth = depth + (event == "call") - (event == "return")
        elif event == "call" and code.co_filename.startswith(PACKAGES) and not getattr(self._imports, "depth", 0):
            name = code.co_qualname.partition(".<locals>.<")[0]
            self.functions.add((os.path.relpath(code.co_filename, ROOT), name))


def main() -> None:
    """Build in this process and print what was passed."""
    trace = Trace()
    threading.setprofile(trace)
    sys.setprofile(trace)
    code = prep.cli.app.run(["build-shards", *sys.argv[1:], "--size", "32x32", "--workers", "1"])
    sys.setprofile(None)
    json.dump(sorted(trace.functions), sys.stdout)
    sys.exit(code)


if __name__ == "__main__":
    main()

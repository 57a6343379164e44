"""Finding the file or folder that Python would import in place of a package of ours.

Python looks in the folder of the script, or in the current one, before it looks among what is installed: a `loader.py` there is what
`import loader` finds.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

_WRONG_USAGE = 2
_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def shadowing_path(package: str) -> str | None:
    """Return the path of the file or folder that is imported in place of a package of ours, or None if the package itself is.

    It is found, not run.
    """
    module = sys.modules.get(package)
    spec = module.__spec__ if module is not None else find_spec(package)
    folders = getattr(module, "__path__", None) or (spec.submodule_search_locations if spec is not None else None)
    found = next(iter(folders), None) if folders else getattr(module, "__file__", None) or (spec.origin if spec is not None else None)
    if found is None:  # what is not installed is not hidden
        return None
    return None if os.path.realpath(found) == os.path.join(_ROOT, package) else found


def check_imports(*packages: str) -> None:
    """Check that Python imports these packages of ours and nothing in their place.

    Raises:
        ImportError: a file or folder is in the way of one of them.
    """
    for package in packages:
        found = shadowing_path(package)
        if found is not None:
            kind = "folder" if os.path.isdir(found) else "file"
            raise ImportError(
                f"{found} is imported in place of shardfeed's package {package!r}: rename that {kind}, or run from another folder",
                name=package,
                path=found,
            )


def check_command(*packages: str) -> None:
    """Leave with one line on stderr if another file would be imported in place of a package of ours."""
    try:
        check_imports(*packages)
    except ImportError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(_WRONG_USAGE)

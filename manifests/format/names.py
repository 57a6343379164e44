"""Which IDs and paths are safe: they come from outside and are hostile until checked here."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

MAX_COMPONENT_BYTES = 255
"""What ext4, APFS, NTFS and XFS allow for one file or folder name."""

MAX_NAME_BYTES = 4096
"""What Linux allows for a whole path, as PATH_MAX."""

SHARD_FOLDER = "shards"

ARRAY_FOLDER = "arrays"
"""Holds a folder for each further array of the samples: `arrays/mask/<id>.npy`."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}(?:/[A-Za-z0-9_][A-Za-z0-9_. -]{0,99})*")
_BIDIRECTIONAL = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_DRIVE = re.compile(r"[A-Za-z]:")


def default_path(id_: str, *, folder: str = SHARD_FOLDER) -> str:
    """Return the path of an ID's shard when the manifest names none: `shards/<id>.npy`.

    Args:
        id_: the sample's name.
        folder: relative to the manifest; empty for arrays that lie beside it.
    """
    return f"{folder}/{id_}.npy" if folder else f"{id_}.npy"


def array_folder(name: str) -> str:
    """Return the folder of the files of a further array: `arrays/<name>`; that of the main array if the name is empty."""
    return f"{ARRAY_FOLDER}/{name}" if name else SHARD_FOLDER


def name_problem(name: str) -> str | None:
    """Say what makes an ID or a relative path unsafe, or None if it is safe.

    Unsafe are: the empty name, `.` and `..` and empty components, absolute paths and drives, backslashes, control
    characters, characters that embed, override or isolate a direction of text, text that UTF-8 cannot encode, a component
    of more than 255 bytes, and a name of more than 4,096 bytes.
    """
    if len(name) > MAX_NAME_BYTES:  # before anything looks at each of its characters
        return f"has {len(name):,} characters; a path has at most {MAX_NAME_BYTES:,} bytes"
    if _PLAIN.fullmatch(name):
        return None
    return "is empty" if not name else _text_problem(name) or _path_problem(name)


def _text_problem(name: str) -> str | None:
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "has a control character"
    if any(unicodedata.bidirectional(character) in _BIDIRECTIONAL for character in name):
        return "has a character that changes the direction of text"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "cannot be encoded as UTF-8"
    return f"has {size:,} bytes; a path has at most {MAX_NAME_BYTES:,}" if size > MAX_NAME_BYTES else None


def _path_problem(name: str) -> str | None:
    if name.startswith("/") or _DRIVE.match(name):
        return "is absolute; expected a relative name"
    if "\\" in name:
        return "has a backslash; folders are separated by '/'"
    for component in name.split("/"):
        if component in {"", ".", ".."}:
            return f"has the component {component!r}, which could leave the dataset folder"
        size = len(component.encode())
        if size > MAX_COMPONENT_BYTES:
            return f"has a component of {size} bytes; file systems allow {MAX_COMPONENT_BYTES}"
    return None


def collision_key(name: str) -> str:
    """Return what a case-insensitive, normalising disk makes of a name: equal keys would share one file there."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def collisions(names: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield (position, earlier position) for each name that meets an earlier one on a case-insensitive disk.

    It keeps all names; `rows.names.collisions` first finds those of a column that may meet another.
    """
    first: dict[str, int] = {}
    for position, name in enumerate(names):
        earlier = first.setdefault(collision_key(name), position)
        if earlier != position:
            yield position, earlier


def file_and_folder_clashes(paths: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield (position, other position) where the other's file would have to be a folder of this path.

    `shards/a.npy` and `shards/a.npy/b.npy` cannot both exist. The paths are safe ones: the folders of one without a limit would take
    memory by the square of its length.
    """
    folders: set[str] = set()
    for folder in {path.rpartition("/")[0] for path in paths}:
        rest = folder
        while rest:
            folders.add(collision_key(rest))
            rest = rest.rpartition("/")[0]
    # Folders are few, so only files that are one of them are kept to look up.
    files: dict[str, int] = {}
    for position, path in enumerate(paths):
        key = collision_key(path)
        if key in folders:
            files.setdefault(key, position)
    for position, path in enumerate(paths if files else ()):
        folder = path.rpartition("/")[0]
        while folder:
            other = files.get(collision_key(folder))
            if other is not None:
                yield position, other
            folder = folder.rpartition("/")[0]


def resolve_inside(root: str | Path, path: str) -> Path | None:
    """Return `root/path` if it lies inside `root` with every symbolic link followed, else None."""
    real_root = os.path.realpath(root)
    real = os.path.realpath(os.path.join(real_root, path))
    inside = real == real_root or real.startswith(real_root.rstrip(os.sep) + os.sep)
    return Path(real) if inside else None

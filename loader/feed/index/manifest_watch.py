"""Noticing that a dataset was built again while a feed reads it: the feed's labels would go with other shards."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from loader.errors import DatasetChangedError
from manifests.errors import ManifestError
from manifests.files.filestate import FileState
from manifests.rows import arrow
from manifests.storage.store import load_manifest

if TYPE_CHECKING:
    from manifests.manifest import Manifest


class ManifestWatch:
    """The file that a feed's manifest was loaded from.

    Looking at it costs one `stat`. Where that shows another file, a touched one perhaps, its rows are compared.
    """

    def __init__(self, state: FileState, manifest: Manifest | None) -> None:
        """Take a manifest's file.

        Args:
            state: of the file as it was loaded.
            manifest: all of its rows; None if they are not at hand, and any other file counts as changed.
        """
        self._state = state
        self._manifest = manifest

    @classmethod
    def of(cls, manifest: Manifest) -> Self | None:
        """Return the watch of a manifest, or of some rows of one; None if it was made in memory."""
        return None if manifest.source is None else cls(manifest.source, manifest.whole)

    def check(self) -> None:
        """Look whether the file is the one that was loaded.

        Raises:
            DatasetChangedError: it is not, and its rows are not the same.
        """
        path = self._state.path
        try:
            state = FileState.of(path)
            if state == self._state:
                return
            if self._manifest is not None and _have_same_rows(load_manifest(path), self._manifest):
                self._state = state
                return
        except (ManifestError, OSError) as error:
            raise self._changed(path, f"cannot be read any more ({_reason(error)})") from error
        raise self._changed(path, "was written again")

    @staticmethod
    def _changed(path: Path, what: str) -> DatasetChangedError:
        return DatasetChangedError(
            f"{path} {what} since it was loaded, so the labels and the order of this feed may not belong to the shards that are there now; "
            "load it again with load_manifest, and make a new sequence"
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # nothing of it differs between copies, and rows may be many

    def __reduce__(self) -> tuple[Any, tuple[type[Self], str]]:
        """Pickle the path alone: another machine has a file of its own there."""
        return _unpickled, (type(self), os.fspath(self._state.path))


def _unpickled(class_: type[ManifestWatch], path: str) -> ManifestWatch | None:
    """Return a watch of a file as it is now; None if there is none."""
    try:
        return class_(FileState.of(Path(path)), None)
    except OSError:
        return None


def _have_same_rows(one: Manifest, other: Manifest) -> bool:
    if one.columns != other.columns or len(one) != len(other):
        return False
    text = arrow.pa.large_string()  # columns of few values may have them in another order
    return all(one.column(name).cast(text).equals(other.column(name).cast(text)) for name in one.columns)


def _reason(error: ManifestError | OSError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error).partition("\n")[0]

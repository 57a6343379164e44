"""The file from which an interrupted training resumes: its progress and all variables of the model.

It is a folder with one file in it, `state.npz`: a ZIP archive of `state.json` and of one `.npy` array per variable, which
takes the place of the one before in one rename. So weights and position never belong to different moments, and whatever
interrupts a save leaves the previous state. Nothing read from it is unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from loader.callbacks.progress import Progress
from loader.callbacks.resume_head import FORMAT, VERSION, check_array, parse_head
from loader.errors import OptionError, ResumeError
from loader.feed.identity import Identity
from manifests.errors import ArrayFileError
from manifests.files.atomic import TEMPORARY_PREFIX, replacing
from manifests.format.npyfile import AnyArray, read_stream

STATE_NAME = "state.npz"
"""The file in the folder."""

_ENTRY = "state.json"
_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)

_DAMAGE = (
    ArrayFileError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    RecursionError,
)
"""What the parsers of ZIP, JSON and NPY raise when bytes are not theirs."""


@dataclass(frozen=True, kw_only=True)
class NamedArray:
    """A variable's value.

    Attributes:
        name: the variable's, for messages.
        dtype: the variable's; NumPy's files cannot name all of Keras' dtypes.
        array: the value, or unsigned integers that hold its bytes where NumPy has no such dtype.
    """

    name: str
    dtype: str
    array: AnyArray


@dataclass(frozen=True, kw_only=True)
class State:
    """A training between two steps.

    Attributes:
        identity: what decides the batches.
        progress: the batch to go on with.
        steps: batches of an epoch, as `Walk.steps` has them.
        upcoming: the batch with which the walk after the one that is gone on with begins; None for that of the next pass.
        is_complete: whether `fit` came to its end.
        is_stopped: whether it did so because some callback stopped it.
        epochs: the epochs that are over.
        logs: name -> one number for each of them that had it.
        groups: name -> the variables of the model, of an optimizer, or of the metrics.
    """

    identity: Identity
    progress: Progress
    steps: int
    upcoming: int | None = None
    is_complete: bool = False
    is_stopped: bool = False
    epochs: Sequence[int] = ()
    logs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    groups: Mapping[str, Sequence[NamedArray]] = field(default_factory=dict)


def named_array(name: str, value: AnyArray) -> NamedArray:
    """Return a variable's value as it is stored."""
    array = np.asarray(value)
    # bfloat16 and the float8 kinds are extensions of NumPy, which its files cannot name.
    stored = array if array.dtype.isbuiltin == 1 else np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").reshape(array.shape)
    return NamedArray(name=name, dtype=array.dtype.name, array=stored)


class ResumeFolder:
    """The folder that holds the state."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Take a folder's path; nothing is read or written yet.

        Raises:
            OptionError: it is none.
        """
        if path == "" or not isinstance(path, (str, os.PathLike)):
            raise OptionError(f"path must be that of a folder, got {path!r}")
        self.path = Path(path)
        self._file = self.path / STATE_NAME

    def prepare(self) -> None:
        """Make the folder, see that it can be written to, and remove what a save that was killed has left there.

        Raises:
            ResumeError: it cannot be.
        """
        with self._reporting("cannot save the training's state there"):
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
            for leftover in self.path.glob(TEMPORARY_PREFIX + "*"):
                _remove_if_dead(leftover)

    def read(self) -> State | None:
        """Return the state; None if there is none.

        Raises:
            ResumeError: it is damaged, or of another version.
        """
        with self._reporting("cannot read the training's state"):
            if not self._file.exists():
                return None
            try:
                with open(self._file, "rb") as file:
                    return _read(file)
            except _DAMAGE as error:
                self._refuse(f"is damaged ({type(error).__name__}: {error})", error)
            except MemoryError as error:
                self._refuse("needs more memory than there is, or is damaged", error)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._refuse("is damaged: it names a place before its own beginning", error)

    def write(self, state: State) -> None:
        """Replace the state.

        Raises:
            ResumeError: it cannot be written; the one before is as it was.
        """
        with self._reporting("cannot save the training's state"), replacing(self._file) as file:
            # Whoever prepares the folder meanwhile sees that this file's writer lives.
            fcntl.flock(file, fcntl.LOCK_EX)
            _write(file, state)

    def remove(self) -> None:
        """Remove the state, and the folder if nothing else is in it.

        Raises:
            ResumeError: it cannot be removed.
        """
        with self._reporting("cannot remove the training's state"):
            self._file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def _refuse(self, problem: str, cause: BaseException | None = None) -> NoReturn:
        raise ResumeError(f"{self._file} {problem}; delete {self.path} to train from the start") from cause

    @contextlib.contextmanager
    def _reporting(self, failure: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ResumeError(f"{self.path}: {failure}: {error.strerror or error}") from error


def _write(file: BinaryIO, state: State) -> None:
    head = {
        "format": FORMAT,
        "version": VERSION,
        "identity": state.identity,
        "number": state.progress.number,
        "epoch": state.progress.epoch,
        "step": state.progress.step,
        "steps": state.steps,
        "upcoming": state.upcoming,
        "is_complete": state.is_complete,
        "is_stopped": state.is_stopped,
        "epochs": list(state.epochs),
        "logs": {name: list(values) for name, values in state.logs.items()},
        "groups": {
            group: [{"name": item.name, "dtype": item.dtype, "shape": list(item.array.shape)} for item in items]
            for group, items in state.groups.items()
        },
    }
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_ENTRY, _EPOCH_OF_ZIP), json.dumps(head, indent=1))
        for group, items in state.groups.items():
            for i, item in enumerate(items):
                with archive.open(zipfile.ZipInfo(_array_entry(group, i), _EPOCH_OF_ZIP), "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, item.array, allow_pickle=False)


def _read(file: BinaryIO) -> State:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            # A save compresses nothing, so no entry is larger than the file.
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > os.fstat(file.fileno()).st_size:
                raise ValueError(f"its entry {entry.filename!r:.60} is compressed, or larger than the file")
        # Read as a whole, an entry's checksum is compared before anything looks at it.
        head = parse_head(archive.read(_ENTRY))
        groups = {group: list(_arrays(archive, group, items)) for group, items in head["groups"].items()}
    return State(
        identity=head["identity"],
        progress=Progress(number=head["number"], epoch=head["epoch"], step=head["step"]),
        steps=head["steps"],
        upcoming=head["upcoming"],
        is_complete=head["is_complete"],
        is_stopped=head["is_stopped"],
        epochs=head["epochs"],
        logs=head["logs"],
        groups=groups,
    )


def _arrays(archive: zipfile.ZipFile, group: str, items: Iterable[Mapping[str, Any]]) -> Iterator[NamedArray]:
    for i, item in enumerate(items):
        name = _array_entry(group, i)
        array = read_stream(io.BytesIO(archive.read(name)), name)
        check_array(item, array)
        yield NamedArray(name=item["name"], dtype=item["dtype"], array=array)


def _array_entry(group: str, number: int) -> str:
    return f"{group}/{number:05d}.npy"


def _remove_if_dead(leftover: Path) -> None:
    """Remove an unfinished file, unless the process that writes it lives."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError), open(leftover, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        leftover.unlink()

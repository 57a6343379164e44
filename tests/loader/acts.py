"""Transforms for tests, which worker processes import: so nothing that takes long to import stands here."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np


def double(x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
    return x * 2, y


def noisy(x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
    return x + rng.standard_normal(x.shape).astype(x.dtype), y


def growing(x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """A batch transform: what comes of a batch is the larger, the larger its first sample's number."""
    rows = int(x.flat[0]) ** 2 * 40
    return {"x": x, "more": np.full((rows, 7), x.flat[0], np.float64), "none": np.empty((0, 3), np.int16)}, (y, y[:1])


def process_id(x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
    return np.array([os.getpid()]), y


def imported(x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
    """Which of the heavy modules the process has imported, as a sample."""
    return np.array([name in sys.modules for name in ("keras", "tensorflow", "jax", "torch", "tf_keras", "PIL", "pandas", "pyarrow")]), y


class OwnError(Exception):
    """An error of a user's own, with attributes and more than one argument."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class ForgetfulError(OwnError):
    """Comes back without anything but its arguments."""

    def __reduce__(self) -> Any:
        return type(self), (self.code, self.text)


class OneWayError(Exception):
    """Can be pickled, and not be unpickled."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")


class LockedError(Exception):
    """Holds what cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class StrangeError(Exception):
    """Comes back as something that is no exception."""

    def __reduce__(self) -> Any:
        return str, ("strange",)


class ElsewhereError(Exception):
    """Comes back in the process where it was raised, and in no other."""

    def __init__(self, text: str, pid: int = 0) -> None:
        super().__init__(text)
        if pid not in {0, os.getpid()}:
            raise SystemExit(3)

    def __reduce__(self) -> Any:
        return type(self), (str(self), os.getpid())


class SpeechlessError(Exception):
    """Has no message that could be shown, and cannot be pickled."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __reduce__(self) -> Any:
        raise RuntimeError("no way")


def _raise(error: BaseException) -> NoReturn:
    raise error


ACTS: dict[str, Callable[[], object]] = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminated": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "hang": lambda: threading.Event().wait(),
    "no memory": lambda: os.kill(os.getpid(), signal.SIGBUS),  # what a write into memory that the system cannot give comes to
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "os._exit(0)": lambda: os._exit(0),
    "os._exit(3)": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),  # reads the first byte of all memory
    "abort": os.abort,
    "sys.exit(0)": lambda: sys.exit(0),
    "sys.exit('text')": lambda: sys.exit("text"),
    "KeyboardInterrupt": lambda: _raise(KeyboardInterrupt("by itself")),
    "GeneratorExit": lambda: _raise(GeneratorExit("by itself")),
    "StopIteration": lambda: _raise(StopIteration("by itself")),
    "ZeroDivisionError": lambda: divmod(1, 0),
    "OwnError": lambda: _raise(OwnError(7, "seven")),
    "ForgetfulError": lambda: _raise(ForgetfulError(7, "seven")),
    "OneWayError": lambda: _raise(OneWayError(7, "seven")),
    "LockedError": lambda: _raise(LockedError("seven")),
    "StrangeError": lambda: _raise(StrangeError("seven")),
    "ElsewhereError": lambda: _raise(ElsewhereError("seven")),
    "SpeechlessError": lambda: _raise(SpeechlessError("seven")),
    "UnicodeDecodeError": b"\xff".decode,
}


@dataclass(frozen=True)
class At:
    """A transform that does something at one sample: each time, or only once if there is a place to take note of it.

    Attributes:
        number: of the sample.
        act: see `ACTS`.
        flag: a file that is there once it was done.
        but: the process that does it not.
    """

    number: int
    act: str
    flag: Path | None = None
    but: int = 0

    def __call__(self, x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        if x.flat[0] == self.number and os.getpid() != self.but and self._is_time():
            ACTS[self.act]()
        return x, y

    def _is_time(self) -> bool:
        if self.flag is None:
            return True
        try:
            self.flag.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

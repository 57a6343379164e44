"""How worker processes start: as copies of this process where it can be copied, else as fresh interpreters.

A fresh interpreter imports all that a worker needs, which takes 0.3 s of every processor: most of a small build. A copy has it
already.

None of them imports modules from the current folder, which may hold anything: a `loky.py` among photos, a project's own `queue.py`.
"""

from __future__ import annotations

import faulthandler
import io
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing import resource_tracker
from typing import Any

from loky.backend.context import LokyContext
from loky.backend.process import LokyProcess

from prep.parallel.fork import begin_copy, can_be_copied, copying, end_with
from prep.parallel.watchdog import Watch, guard_this_process
from prep.transforms.load_user_code import without_current_folder

_SAFE_PATH = "PYTHONSAFEPATH"
_OURS = "set by prep"
"""What a worker takes out of its environment again: what the user's functions start is theirs."""

_one_at_a_time = threading.RLock()


@contextmanager
def safe_path() -> Iterator[None]:
    """Let Python processes that start in the block search no current folder, loky's and multiprocessing's resource trackers too."""
    with _one_at_a_time, without_current_folder():
        is_set = bool(os.environ.get(_SAFE_PATH))
        if not is_set:
            os.environ[_SAFE_PATH] = _OURS
        try:
            yield
        finally:
            if not is_set:
                os.environ.pop(_SAFE_PATH, None)


class _SafeProcess(LokyProcess):  # type: ignore[misc]  # loky has no types
    """A fresh interpreter, to which the modules' folders are handed on without the current one."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  # multiprocessing's name
        # loky flushes both streams, and of a process that was started without them they are None.
        with safe_path(), redirect_stdout(sys.stdout or io.StringIO()), redirect_stderr(sys.stderr or io.StringIO()):
            return LokyProcess._Popen(process_obj)  # noqa: SLF001  # what a process class is there to override


class StartContext(LokyContext):  # type: ignore[misc]  # loky has no types
    """loky's context, of which the first processes may be copies; all later ones are fresh interpreters.

    loky starts further processes, in place of those that take too much memory, from a thread of its own: not a moment for copies.
    """

    def __init__(self) -> None:
        """Begin with fresh interpreters."""
        super().__init__()
        self._copies = False

    @contextmanager
    def first_processes(self, *, fresh: bool) -> Iterator[None]:
        """Let processes that start in the block be copies of this one, if it can be copied and they need not be fresh."""
        if fresh or not can_be_copied():
            resource_tracker.ensure_running()  # starting it unblocks Ctrl-C, as Python 3.11 writes it: not amid the block, then
            yield
            return
        self._copies = True
        try:
            with copying():
                yield
        finally:
            self._copies = False

    def Process(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802  # multiprocessing's name
        """Return a process that is not yet started."""
        if not self._copies:
            return _SafeProcess(*args, **kwargs)
        from multiprocessing.context import ForkProcess  # noqa: PLC0415  # there is none on Windows

        kwargs.pop("env", None)  # a copy has the environment of this process
        return ForkProcess(*args, **kwargs)


def begin_worker(parent: int, watch: Watch | None) -> None:
    """Let a worker end when its parent ends it or dies, or when an item takes too long, and not before.

    Ctrl-C is the parent's to act on, wherever the worker was started from. A parent that is killed cannot end its workers, and
    the pipe that they wait at stays open, as each of them holds both ends.
    """
    begin_copy()
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]
    if not os.environ.setdefault("PYTHONFAULTHANDLER", ""):  # unless the user asks for dumps; empty keeps loky from it, too
        faulthandler.disable()  # a decoder that crashes is told in one line, by the parent
    if watch is not None:
        guard_this_process(watch)
    # The folder is one that a parent that was killed could not remove.
    end_with(parent, (lambda: None) if watch is None else lambda: shutil.rmtree(watch.folder, ignore_errors=True))

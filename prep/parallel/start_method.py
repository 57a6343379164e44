"""How worker processes start: as copies of this process where it can be copied, else as fresh interpreters.

A fresh interpreter imports all that a worker needs, which takes 0.3 s of every processor: most of a small build. A copy has it
already.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from loky.backend.context import LokyContext

from prep.parallel.fork import begin_copy, can_be_copied, copying, end_with
from prep.parallel.watchdog import Watch, guard_this_process


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
            return super().Process(*args, **kwargs)
        from multiprocessing.context import ForkProcess  # noqa: PLC0415  # there is none on Windows

        kwargs.pop("env", None)  # a copy has the environment of this process
        return ForkProcess(*args, **kwargs)


def begin_worker(parent: int, watch: Watch | None) -> None:
    """Let a worker end when its parent ends it or dies, or when an item takes too long, and not before.

    Ctrl-C is the parent's to act on, wherever the worker was started from. A parent that is killed cannot end its workers, and
    the pipe that they wait at stays open, as each of them holds both ends.
    """
    begin_copy()
    if not os.environ.setdefault("PYTHONFAULTHANDLER", ""):  # unless the user asks for dumps; empty keeps loky from it, too
        faulthandler.disable()  # a decoder that crashes is told in one line, by the parent
    if watch is not None:
        guard_this_process(watch)
    # The folder is one that a parent that was killed could not remove.
    end_with(parent, (lambda: None) if watch is None else lambda: shutil.rmtree(watch.folder, ignore_errors=True))

"""Worker processes on this machine: loky's, started as it takes the least time, and ended with the build."""

from __future__ import annotations

import errno
import os
from concurrent.futures import Executor

from prep.errors import WorkerError
from prep.parallel.fork import interrupts_blocked
from prep.parallel.interrupts import held_off
from prep.parallel.watchdog import SEMAPHORE_FOLDER, Watch, is_semaphore

_NO_ROOM = (errno.EAGAIN, errno.ENOMEM)

_SEMAPHORES = "/dev/shm"  # noqa: S108  # where Linux keeps the semaphores by which processes share a queue


def _semaphores() -> set[str]:
    """Return the names of loky's semaphores of this process."""
    try:
        names = os.listdir(SEMAPHORE_FOLDER)
    except OSError:  # no such folder, as on macOS
        return set()
    return {name for name in names if is_semaphore(name) and name.split("-")[1] == str(os.getpid())}


class ProcessPool:
    """loky's processes, which can be started anew."""

    def __init__(self, count: int, watch: Watch | None) -> None:
        self._count = count
        self._watch = watch
        self._executor: Executor | None = None

    def start(self, fresh: bool) -> Executor:  # noqa: FBT001  # called by position
        """Start processes, as fresh interpreters or as it takes the least time; those that were there are ended.

        Raises:
            WorkerError: the system has no room for them.
        """
        from loky import ProcessPoolExecutor  # noqa: PLC0415  # slow to import, and one worker does without

        from prep.parallel.start_method import StartContext, begin_worker, safe_path  # noqa: PLC0415  # imports it, too

        self.end(kill=True)
        context = StartContext()
        before = _semaphores()
        try:
            with safe_path(), held_off(note=None), context.first_processes(fresh=fresh), interrupts_blocked():
                executor: Executor = ProcessPoolExecutor(
                    max_workers=self._count, context=context, initializer=begin_worker, initargs=(os.getpid(), self._watch)
                )
                self._executor = executor
                executor.submit(os.getpid)  # starts the processes, which inherit what is blocked
                if self._watch is not None:
                    self._watch.note_semaphores(_semaphores() - before)
        except OSError as error:
            if error.errno == errno.ENOSPC and _is_full(_SEMAPHORES):
                raise WorkerError(
                    f"worker processes cannot be started: {_SEMAPHORES} is full, and they need a few KB there; delete what is left in it, "
                    "make it larger (docker run --shm-size), or pass --workers 1"
                ) from error
            if error.errno not in _NO_ROOM:  # what was printed is written out before, and may meet a closed pipe
                raise
            raise WorkerError(
                f"worker processes cannot be started: {error.strerror or error}; is there enough memory, and room for processes "
                "(ulimit -u)? try --workers 1"
            ) from error
        return executor

    def end(self, *, kill: bool) -> None:
        """End the processes, those that still work too if `kill`."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=kill)  # type: ignore[call-arg]  # loky's own argument
            self._executor = None


def _is_full(folder: str) -> bool:
    try:
        status = os.statvfs(folder)
    except OSError:
        return False
    return not (status.f_bavail and status.f_favail)

"""A Dask cluster as where a build's work runs: reached by its scheduler's address, or the one behind a client's `get_executor()`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from prep.errors import UsageError, WorkerError
from prep.parallel.remote_call import CallerView, FileState, refusal, states_of

CONNECT_SECONDS = 10.0
"""How long a scheduler may take to answer."""

WORKERS_SECONDS = 10.0
"""How long to wait for the first worker."""

REPLACE_SECONDS = 60.0
"""How long a cluster may be without workers amid a build: one that died takes some seconds to be replaced."""

_LOOK_SECONDS = 2.0
"""Between two questions to the scheduler amid a build."""

_SECOND = 10**9


@contextmanager
def open_dask(address: str) -> Iterator[Executor]:
    """Give an executor that runs on a Dask cluster; the connection is closed when the block ends.

    Args:
        address: of the scheduler, as `tcp://10.0.0.5:8786`.

    Raises:
        UsageError: Dask is not installed.
        WorkerError: no scheduler answers.
    """
    try:
        from distributed import Client  # noqa: PLC0415  # an extra, and slow to import
        from distributed.comm.addressing import get_address_host_port  # noqa: PLC0415  # likewise
    except ImportError as error:
        raise UsageError("--dask needs distributed: pip install 'shardfeed[dask]'") from error
    try:
        get_address_host_port(address, strict=False)
    except ValueError as error:
        raise UsageError(f"--dask must be a scheduler's address, as in tcp://10.0.0.5:8786, got {address!r}") from error
    try:
        client: Any = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except OSError as error:
        raise WorkerError(f"{address}: no Dask scheduler answers there ({_reason(error)}); nothing was changed") from error
    with client:
        yield client.get_executor()


def _reason(error: BaseException) -> str:
    """Return the system's own word for why there is no connection, from below what is wrapped around it."""
    reason, cause = "no answer", error.__cause__
    while cause is not None:
        reason = (cause.strerror if isinstance(cause, OSError) else None) or reason
        cause = cause.__cause__ or cause.__context__
    return reason


def cluster_of(executor: Executor) -> DaskCluster | None:
    """Return the Dask cluster behind an executor; None if there is none."""
    distributed = sys.modules.get("distributed.cfexecutor")  # whoever has such an executor has imported it
    if distributed is None or not isinstance(executor, distributed.ClientExecutor):
        return None
    client, kwargs = executor._client, executor._kwargs  # noqa: SLF001  # there is no public way to them
    return DaskCluster(client, () if kwargs.get("allow_other_workers") else kwargs.get("workers") or ())


def _look(view: CallerView, paths: Sequence[str]) -> tuple[str | None, list[FileState]]:
    """Run in each worker: say how it differs from the caller, and what it sees of some files."""
    difference = view.difference()
    if difference is None and view.flag is not None and not view.flag.is_up():
        difference = f"cannot see {view.flag.path}"
    return difference, states_of(paths)


class DaskCluster:
    """The workers of a Dask scheduler, as seen by a client."""

    def __init__(self, client: Any, only: str | Sequence[str] = ()) -> None:
        """Take a client.

        Args:
            client: of the cluster.
            only: addresses of the workers that the executor is restricted to; none, or other names of workers, for all.
        """
        self._client = client
        self._only = {only} if isinstance(only, str) else set(only)
        self._looked = time.monotonic()
        self._well = self._looked
        self._trouble: str | None = None

    def check(self, view: CallerView, paths: Sequence[str]) -> int:
        """Hold all workers against the caller; return how many calls they run at once.

        Args:
            view: what the caller sees.
            paths: of some raw files, which the workers must see as they are.

        Raises:
            WorkerError: there is no worker, or one differs.
        """
        threads = self._wait_for_workers()
        here = states_of(paths)
        answers = self._client.run(_look, view, paths, workers=list(threads), on_error="return")
        for worker, answer in sorted(answers.items()):
            if isinstance(answer, OSError):  # it has gone in this moment
                continue
            if isinstance(answer, BaseException):
                raise WorkerError(refusal(worker, f"cannot run shardfeed ({type(answer).__name__}: {answer})"))
            difference, seen = answer
            other = [path for path, own, its in zip(paths, here, seen, strict=True) if not _same(own, its)]
            # What has changed here, too, since we looked is no sign of other files.
            changed = [path for path in other if states_of([path]) == [here[paths.index(path)]]]
            if difference is None and changed:
                difference = f"sees another file than this process at {changed[0]}, or none"
            if difference is not None:
                raise WorkerError(refusal(worker, difference))
        return sum(threads.values())

    def trouble(self) -> str | None:
        """Say why no worker will do what was handed out; None as long as some may."""
        now = time.monotonic()
        if self._trouble is None and now >= self._looked + _LOOK_SECONDS:
            self._looked = now
            threads = self._threads()
            if threads:
                self._well = now
            elif threads is None and self._client.status in {"closed", "closing"}:
                self._trouble = f"{self._address}: the connection to the Dask scheduler is closed; {_GOES_ON}"
            elif now >= self._well + REPLACE_SECONDS:
                what = "does not answer any more" if threads is None else "has no workers any more"
                self._trouble = f"{self._address}: the Dask scheduler {what}; {_GOES_ON}; workers with a nanny are replaced when they die"
        return self._trouble

    @property
    def _address(self) -> str:
        return str(self._client.scheduler.address) if self._client.scheduler is not None else "Dask"

    def _threads(self) -> Mapping[str, int] | None:
        """Return how many threads each worker has; None if the scheduler does not answer."""
        try:
            found = dict(self._client.sync(self._client.scheduler.ncores, workers=None, callback_timeout=CONNECT_SECONDS))
        except (OSError, RuntimeError, AttributeError, TimeoutError):
            return None
        chosen = {worker: threads for worker, threads in found.items() if worker in self._only}
        return chosen or found

    def _wait_for_workers(self) -> Mapping[str, int]:
        deadline = time.monotonic() + WORKERS_SECONDS
        while not (threads := self._threads()):
            if time.monotonic() >= deadline:
                raise WorkerError(
                    f"{self._address}: the Dask scheduler has no workers; nothing was changed; "
                    f"start some, as with: dask worker {self._address} --nthreads 1"
                )
            time.sleep(0.1)
        return threads


_GOES_ON = "nothing was changed; start workers and run again"


def _same(own: FileState, other: FileState) -> bool:
    """Compare to the second: not every network file system has more."""
    if own is None or other is None:
        return own is other
    return own[0] == other[0] and own[1] // _SECOND == other[1] // _SECOND

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from loky import ProcessPoolExecutor

from prep.parallel.executors import open_workers
from prep.parallel.interrupts import Terminated, sigterm_raises


@pytest.fixture
def told() -> Iterator[socket.socket]:
    """A socket that has a byte to read for each signal that this process got, whichever thread took it."""
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    before = signal.set_wakeup_fd(pythons.fileno())
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # test runners ignore it in their workers
    with ours, pythons, sigterm_raises():
        yield ours
    signal.signal(signal.SIGINT, handler)
    signal.set_wakeup_fd(before)


@pytest.fixture
def bystander() -> Iterator[None]:
    """A thread that blocks no signal, as those of numerical libraries."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.slow
@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_waits_until_the_workers_have_started(
    number: signal.Signals, error: type[BaseException], told: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = ProcessPoolExecutor.submit
    submitted: list[Future[Any]] = []

    def interrupted(executor: ProcessPoolExecutor, *args: Any) -> Future[Any]:
        os.kill(os.getpid(), number)
        assert told.recv(1) == bytes([number])
        submitted.append(submit(executor, *args))
        return submitted[0]

    monkeypatch.setattr(ProcessPoolExecutor, "submit", interrupted)
    with pytest.raises(error) as raised, open_workers(2) as workers:
        pytest.fail(f"the signal was lost while {workers.executor} started")
    assert submitted
    assert not getattr(raised.value, "__notes__", [])

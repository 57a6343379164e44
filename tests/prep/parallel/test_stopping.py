from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from prep.parallel.interrupts import Terminated, first_one_stops, sigterm_raises


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with sigterm_raises():
        yield
    signal.signal(signal.SIGINT, before)


SIGNALS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


@pytest.mark.parametrize(("number", "error"), SIGNALS)
def test_the_first_signal_is_told_and_takes_effect_at_the_end(number: signal.Signals, error: type[BaseException]) -> None:
    steps = []

    def work() -> None:
        with first_one_stops() as stop:
            steps.append(stop())
            os.kill(os.getpid(), number)
            steps.append(stop())

    with pytest.raises(error):
        work()
    assert steps == [False, True]


@pytest.mark.parametrize(("first", "_error"), SIGNALS)
@pytest.mark.parametrize(("second", "error"), SIGNALS)
def test_the_second_one_takes_effect_at_once(
    first: signal.Signals, _error: object, second: signal.Signals, error: type[BaseException]
) -> None:
    def work() -> None:
        with first_one_stops():
            os.kill(os.getpid(), first)
            os.kill(os.getpid(), second)
            pytest.fail("it was held off")

    with pytest.raises(error):
        work()


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number, _ in SIGNALS]
    with first_one_stops() as stop:
        assert not stop()
    assert [signal.getsignal(number) for number, _ in SIGNALS] == before


def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with first_one_stops() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop()


def test_a_handler_that_lets_a_signal_pass_does_not_pass_half_a_work_for_all() -> None:
    signal.signal(signal.SIGINT, lambda *_: None)
    with pytest.raises(KeyboardInterrupt), first_one_stops():
        os.kill(os.getpid(), signal.SIGINT)


def test_in_another_thread_there_is_nothing_to_hold() -> None:
    seen: list[bool] = []

    def work() -> None:
        with first_one_stops() as stop:
            seen.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]

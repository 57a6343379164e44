"""Messages arrive as they were sent, however a pipe cuts them, and an error says all that can be said of it."""

from __future__ import annotations

import os
import threading
from typing import Any

import hypothesis.strategies as st
import pytest
from acts import ForgetfulError, LockedError, OneWayError, OwnError, SpeechlessError, StrangeError
from hypothesis import given

from loader import WorkerError
from loader.workers.messages import Admit, Dismiss, Done, Failed, Leaving, Ready, Replies, Task, failed, packed, read_order, write_all

NUMBERS = st.integers(0, 2**62)
ORDERS = (
    st.builds(Task, feed=NUMBERS, slot=NUMBERS, pass_=NUMBERS, batch=NUMBERS)
    | st.builds(Admit, feed=NUMBERS, sizes=st.lists(NUMBERS, max_size=50).map(tuple))
    | st.builds(Dismiss, feed=NUMBERS)
)
DESCRIPTIONS = st.tuples(st.just({"x": 0, "y": (1, None)}), st.just([(0, (3, 4), "<f4"), (64, (), "|u1")]), NUMBERS)
SAID = (
    st.just(Ready())
    | st.just(Leaving())
    | st.builds(Failed, slot=NUMBERS, error=st.none() | st.binary(), text=st.text(), notes=st.lists(st.text()).map(tuple))
    | st.builds(
        Done,
        slot=NUMBERS,
        description=DESCRIPTIONS,
        samples=NUMBERS,
        skipped=st.lists(st.tuples(st.text(), st.text())).map(tuple),
        seconds=st.tuples(*[st.floats(0, 9)] * 3),
    )
)


@given(orders=st.lists(ORDERS, max_size=10), cuts=st.lists(st.integers(1, 40), min_size=1))
def test_orders_arrive_however_a_pipe_cuts_them(orders: list[Any], cuts: list[int]) -> None:
    data = b"".join(map(packed, orders))
    read, write = os.pipe()
    try:

        def send() -> None:
            place = 0
            for cut in cuts * (len(data) // sum(cuts) + 1):
                write_all(write, data[place : place + cut])
                place += cut
            os.close(write)

        sender = threading.Thread(target=send)
        sender.start()
        assert [read_order(read) for _ in orders] == orders
        assert read_order(read) is None
        sender.join()
    finally:
        os.close(read)


@given(order=ORDERS, data=st.data())
def test_an_order_that_ends_in_the_middle_is_none(order: Any, data: st.DataObject) -> None:
    whole = packed(order)
    read, write = os.pipe()
    write_all(write, whole[: data.draw(st.integers(0, len(whole) - 1))])
    os.close(write)
    assert read_order(read) is None
    os.close(read)


@given(said=st.lists(SAID, max_size=10), cuts=st.lists(st.integers(1, 99), min_size=1))
def test_replies_arrive_however_a_pipe_cuts_them(said: list[Any], cuts: list[int]) -> None:
    data = b"".join(map(packed, said))
    replies, arrived, place = Replies(), [], 0
    for cut in cuts * (len(data) // sum(cuts) + 1):
        arrived += replies.feed(data[place : place + cut])
        place += cut
    assert arrived == said


def test_a_write_to_nobody_is_an_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        write_all(write, packed(Ready()))
    os.close(write)


def test_a_write_is_done_to_its_end() -> None:
    read, write = os.pipe()
    data = os.urandom(1 << 20)  # more than a pipe holds
    sender = threading.Thread(target=write_all, args=(write, data))
    sender.start()
    got = bytearray()
    while len(got) < len(data):
        got += os.read(read, 4096)
    sender.join()
    assert got == data
    os.close(read)
    os.close(write)


def raised(error: BaseException) -> BaseException:
    """The error as it arrives, after it was raised and had a note."""
    error.add_note("a note")
    with pytest.raises(type(error)) as caught:
        raise error
    said = next(iter(Replies().feed(packed(failed(5, caught.value)))))
    assert isinstance(said, Failed)
    assert said.slot == 5
    return said.exception()


@pytest.mark.parametrize(
    "error",
    [ValueError("seven", 7), KeyError("x"), OwnError(7, "seven"), ForgetfulError(7, "seven"), SystemExit(3), OSError(2, "no", "file")],
    ids=repr,
)
def test_an_error_arrives_as_what_it_is_with_its_notes_and_its_traceback(error: BaseException) -> None:
    arrived = raised(error)
    assert type(arrived) is type(error)
    assert arrived.args == error.args
    assert str(arrived) == str(error)
    first, last = arrived.__notes__
    assert first == "a note"
    assert last.startswith("in a worker process:\nTraceback")
    assert "in raised" in last


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LockedError("seven"), "LockedError: seven"),
        (OneWayError(7, "seven"), "OneWayError: 7 seven"),
        (StrangeError("seven"), "StrangeError: seven"),
        (SpeechlessError(), "SpeechlessError, whose message cannot be shown"),
    ],
)
def test_an_error_that_cannot_be_sent_is_described(error: BaseException, text: str) -> None:
    arrived = raised(error)
    assert type(arrived) is WorkerError
    assert str(arrived) == text
    assert arrived.__notes__[0] == "a note"
    assert "in raised" in arrived.__notes__[-1]


def test_an_error_of_a_class_made_on_the_spot_is_the_same_class_again() -> None:
    class LocalError(Exception):
        pass

    assert type(raised(LocalError("x"))).__name__ == "LocalError"


def test_an_error_that_was_raised_twice_says_so_once() -> None:
    error = ValueError("again")
    assert len(raised(error).__notes__) == 2
    assert len(raised(error).__notes__) == 3  # its own note twice, and one traceback

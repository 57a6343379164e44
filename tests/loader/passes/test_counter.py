from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.passes.counter import FIT_STRIDE, PassCounter, Walk, following

# What Keras and people do, in a small language. Passes have four batches.
#
#   N        somebody asks for the number of batches
#   +  -     an epoch begins, ends
#   !        Keras sets everything back to the start: N, then -
#   a=1.2    walk a takes its next batch, which is batch 2 of pass 1; a=1.0-3 four of them
#   h2=1.2   somebody names batch 2; h=1.0-3 four, one after the other
#   =1       the current pass is 1
#   a?4      walk a, which begins, has 4 batches
#   @6       the next walk shall begin at batch 6, counted through all passes
#
# The calls are those that were recorded with Keras 3.8, 3.15 and 3.16.

BY_HAND = {
    "a new counter is in pass 0": "=0 h=0.0-3 =0",
    "the tutorial's way": "h=0.0-3 - =1 h=1.0-3 - h=2.0-3 -",
    "an end before the first batch counts": "- =1 h=1.0-3",
    "several ends in a row are one": "h=0.0 - - - =1 h=1.0-3",
    "any batch, any number of times": "h2=0.2 h0=0.0 h0=0.0 h3=0.3 h2=0.2 - h2=1.2 h0=1.0",
    "an epoch begun and ended by hand": "+ h=0.0-3 - + =1 h=1.0-3 - =2",
    "an epoch that names some of the batches is gone on with": "+ h=0.0-1 - + h2=0.2 h3=0.3 - =1",
    "a number set": "@8 =2 h=2.0-3 - h=3.0-3",
    "the number of batches asked for": "N h=0.0-3 - =1 N h=1.0-3 - =2",
}

LOOPS = {
    "each loop is a pass": "a=0.0-3 b=1.0-3 c=2.0-3",
    "after a loop the number is its own": "a=0.0-3 =0 h=0.0-3 b=1.0",
    "an end between loops adds nothing": "a=0.0-3 - b=1.0-3 - - c=2.0-3",
    "a loop that was left is not gone on with": "a=0.0 b=1.0-3",
    "two loops at once": "a=0.0-1 b=1.0 a=0.2 b=1.1-3 a=0.3 c=2.0",
    "five": "a=0.0 b=1.0 c=2.0 d=3.0 e=4.0 a=0.1-3 b=1.1-3 c=2.1-3 d=3.1-3 e=4.1-3",
    "an end by hand goes on behind it": "a=0.0-3 - =1 h=1.0-3 b=1.0",
    "then a fit": "a=0.0-3 - N ! + b=1.0-3",
}

FITS = {
    "fit": "N ! + a=0.0-3 - =0 + b=1.0-3 - =1",
    "fit twice": "N ! + a=0.0-3 -   N ! + b=1.0-3 - + c=2.0-3 - =2",
    "predict sets nothing back": "N + a=0.0-3 - =0 N + b=1.0-3 - =1",
    "validation sets back each time": "N ! + a=0.0-3 -   ! + b=1.0-3 -   ! + c=2.0-3 -",
    "an iterator that is never asked is no walk": "N ! + a=0.0-3 a?0 - + b=1.0-3 -",
    "by hand, then fit": "h=0.0-3 - N ! + a=1.0-3 - =1",
    "by hand without an end, then fit": "h=0.0-3 N ! + a=0.0-3 -",
    "fit, then by hand, then fit": "N ! + a=0.0-3 - h=0.0-3 - h=1.0-3 - N ! + b=2.0-3 -",
    "fit, an end by hand, then fit": "N ! + a=0.0-3 - - N ! + b=1.0-3 -",
    "a callback looks at batches": "N ! + a=0.0 h2=0.2 h0=0.0 a=0.1-3 h0=0.0 - =0 + b=1.0-3 -",
    "all batches are asked for before the first is trained": "N ! + a=0.0-3 =0 - + b=1.0-3",
}

STEPS = {
    "steps below the length: one walk over several epochs": "N ! + a=0.0-1 - + a=0.2-3 - + b=1.0-1 - + b=1.2 - =1",
    "and TensorFlow asks ahead between epochs": "N ! + a=0.0-1 - a=0.2 + a=0.3 - + b=1.0",
    "validation steps: each time a new walk": "N ! + a=0.0-1 - ! + b=1.0-1 - ! + c=2.0",
    "what is left of it when fit ends is left out": "N ! + a=0.0-1 - N ! + b=1.0-3 -",
    "even if TensorFlow asks on": "N ! + a=0.0-1 - N ! + b=1.0 a=0.2 b=1.1 a=0.3 b=1.2-3",
}

LOOKS = {
    "a model that is not built": "N + a=0.0 ! + b=0.0-3 - + c=1.0-3 -",
    "without a begin, as on JAX with Keras 3.16": "N a=0.0 ! + b=0.0-3 - + c=1.0-3 -",
    "two batches, as older releases take on JAX": "N + a=0.0-1 ! + b=0.0-3 -",
    "more than two are no look": "N + a=0.0-2 ! + b=1.0-3 -",
    "nor is an epoch in which a callback asked for the number of batches": "N ! + a=0.0-1 N a=0.2-3 - + b=1.0 N b=1.1-3 - + c=2.0-3",
    "be it behind the last": "N ! + a=0.0-3 N - + b=1.0-3 N - + c=2.0-3",
    "the looker asks on": "N + a=0.0 ! a=0.1 + b=0.0 a=0.2 b=0.1 a=0.3 b=0.2-3 - + c=1.0",
    "again with another model": "N + a=0.0 ! + b=0.0-3 -   N + c=1.0 ! + d=1.0-3 - =1",
    "for predict": "N + a=0.0 ! + b=0.0-3 - =0",
    "after a walk by hand": "h=0.0-3 - N + a=1.0 ! + b=1.0-3 -",
    "from amid a pass": "@6 N + a=1.2 ! + b?2 b=1.2-3 - + c=2.0-3",
}

INTERRUPTS = {
    "the pass is not gone on with": "N ! + a=0.0-2   N ! + b=1.0-3 -",
    "not even after the first batch": "N ! + a=0.0   N ! + b=1.0-3 -",
    "until then the number stays": "N ! + a=0.0-1 =0 h2=0.2",
    "the old walk asks on, and gets what is left to it": "N ! + a=0.0-1   N ! + b=1.0-1 a=0.2 b=1.2 a=0.3 b=1.3 - + c=2.0-3 -",
    "the old walk asks between the fits": "N ! + a=0.0-1   a=0.2 N ! a=0.3 + b=1.0-3 -",
    "a fit that was interrupted before its first batch": "N ! +   N ! + b=0.0-3 -",
    "a look that was": "N + a=0.0   N + b=1.0 ! + c=1.0-3 -",
    "interrupted twice": "N ! + a=0.0   N ! + b=1.0 a=0.1   N ! + c=2.0 a=0.2 b=1.1 c=2.1-3 -",
    "then by hand": "N ! + a=0.0-1   h0=0.0 - =0   - h0=1.0 - =2 N ! + b=2.0-3 -",
}

AMID = {
    "evaluating the same data amid an epoch": "N ! + a=0.0-1 h0=0.0 N ! + b=1.0-3 - a=0.2-3 - + c=2.0-3 -",
    "some steps of it": "N ! + a=0.0-1 N ! + b=1.0-1 - a=0.2 b=1.2 a=0.3 - + c=2.0-3 -",
    "between two epochs of one walk": "N ! + a=0.0-1 - N ! + b=1.0-3 - + a=0.2-3 - N ! + c=2.0-3 - + d=3.0-3 -",
    "looking at them with a new model": "N ! + a=0.0-1 N + b=1.0 ! + c=1.0-3 - a=0.2-3 - + d=2.0-3",
    "predicting amid evaluating amid a fit": "N ! + a=0.0 N ! + b=1.0 N + c=2.0-3 - b=1.1-3 - a=0.1-3 - =2 + d=3.0",
    "loops that are left, however many": "N ! + a=0.0 b=1.0 c=2.0 d=3.0 e=4.0 f=5.0 a=0.1-3 - + g=6.0-3",
}

JUMPS = {
    "to a pass": "@8 =2 a?4 a=2.0-3 b=3.0-3",
    "into a pass: its rest, then whole ones": "@6 =1 a?2 a=1.2-3 b?4 b=2.0-3",
    "batches by hand are those of that pass": "@6 h=1.0-3 a=1.2-3",
    "over again": "a=0.0-3 @0 b=0.0-3",
    "amid a walk, which may ask on": "N ! + a=0.0-1 @8 N ! + b=2.0 a=0.2 b=2.1-3 - + c=3.0",
    "an end by hand leaves the rest out": "@6 - a?4 a=2.0-3",
    "after an end by hand": "h=0.0 - @4 a=1.0-3",
}

# The same with repeat; S is the pass at which the second walk begins.
ENDLESS = {
    "a walk goes from pass to pass": "a?None a=0.0-3 a=1.0-3 a=2.0",
    "over epochs": "N ! + a=0.0-2 - + a=0.3 a=1.0-1 - + a=1.2",
    "the next begins at a pass that does not depend on how far it went": "N ! + a=0.0 - N ! + b=S.0-3 b=S+1.0",
    "nor on how far it goes": "N ! + a=0.0 - N ! + b=S.0 a=0.1 b=S.1",
    "a look is none": "N + a=0.0 ! + b=0.0-3 b=1.0",
    "by hand it is the pass that the walk began with": "N ! + a=0.0-3 a=1.0 - =0 h0=0.0 h5=1.1",
    "an end by hand leaves all the walk's passes behind": "N ! + a=0.0-3 a=1.0 - - =S h0=S.0 b=S.0",
    "passes by hand": "h=0.0-3 - h=1.0-3 - =2 a=2.0-3 a=3.0 b=S.0",
    "a number set": "@8 a=2.0-3 a=3.0-3 b=S.0",
    "a batch set": "@6 a?None a=1.2-3 a=2.0",
    "third": "a=0.0 b=S.0 c=2S.0",
    "batches named without end": "N ! + h0=0.0 h1=0.1 h2=0.2 h3=0.3 h4=1.0 - + h5=1.1",
}

# Keras itself names the batches, in any order: then the pass goes on when somebody was through with all of them.
NAMED = {
    "fit": "N ! + h2=0.2 h0=0.0 h1=0.1 h3=0.3 - + h3=1.3 h0=1.0 h2=1.2 h1=1.1 - =2",
    "TensorFlow looks at two batches first": "N h0=0.0 h1=0.1 ! + h=0.0-3 - + h=1.0-3 - =2",
    "predict does so and sets nothing back": "N h0=0.0 h1=0.1 + h=0.0-3 - N h0=1.0 h1=1.1 + h=1.0-3 - =2",
    "a model that is not built": "N + h2=0.2 ! + h=0.0-3 - =1",
    "that on JAX with Keras 3.16": "N h2=0.2 ! + h=0.0-3 - =1",
    "steps below the length": "N ! + h2=0.2 h0=0.0 - + h3=0.3 h1=0.1 - =1",
    "of which some were asked for ahead": "N ! + h2=0.2 h0=0.0 h3=0.3 - + h1=0.1 - =1",
    "and between epochs": "N ! + h2=0.2 - h0=0.0 + h3=0.3 h1=0.1 - =1",
    "an override asks for others too": "+ h0=0.0 h1=0.1 h1=0.1 h2=0.2 h2=0.2 h3=0.3 h3=0.3 h0=0.0 - =1",
    "evaluating the same data amid an epoch": "N ! + h2=0.2 h0=0.0 N ! + h=0.0-3 - h1=0.1 h3=0.3 - =1",
    "that on TensorFlow, which keeps the pass": "N ! + h2=0.2 h0=0.0 N h0=0.0 h1=0.1 ! + h=0.0-3 - h1=0.1 h3=0.3 - =1",
    "an interrupted epoch: the pass stays, and each walk has all of it": "N ! + h2=0.2 N ! + h=0.0-3 - + h=0.0-3 -",
}

# And loops of the user's own take nothing from it.
AMID_NAMED = {
    "loops amid an epoch": "N ! + h2=0.2 h0=0.0 a=0.0 b=1.0 h1=0.1 h3=0.3 - =2",
    "between epochs that share a pass": "N ! + h2=0.2 h0=0.0 - a=0.0 a=0.1 + h1=0.1 h3=0.3 - =1",
    "between passes": "N ! + h=0.0-3 - a=1.0-3 =1 + h=1.0-3 - =2",
}

# Batches that are requested one after the other belong to one pass, also if somebody walks meanwhile.
AMID_REQUESTS = {
    "a wrapper's epoch": "- h0=1.0 h1=1.1 a=1.0-1 b=2.0-1 h2=1.2 c=3.0 h3=1.3 - =4 h=4.0-3",
    "a loop by number": "h0=0.0 a=0.0 b=1.0 h1=0.1 c=2.0-3 h2=0.2 h3=0.3 - =3",
    "one that begins anew": "h0=0.0 h1=0.1 a=0.0-3 b=1.0-3 h0=1.0 h1=1.1 h2=1.2 h3=1.3",
    "a look at a batch before and after predict": "h0=0.0 N + a=0.0-3 - N + b=1.0-3 - =1 h0=1.0",
}

AMID_REQUESTS_WITH_KERAS = {
    "an evaluate that TensorFlow reads ahead of": "- h0=1.0 N + a=1.0 - a=1.1 h1=1.1 h2=1.2 h3=1.3 - =2 h=2.0-3",
    "two of them": "- h0=1.0 N + a=1.0 - b=2.0 N + c=3.0 - c=3.1 h1=1.1 h2=1.2 h3=1.3 c=3.2 - =4 h=4.0-3",
}

STEP = re.compile(r"(?P<who>[a-h])(?P<index>\d*)=(?P<pass>\w+(?:\+\d)?)\.(?P<first>\d)(?:-(?P<last>\d))?")


def number_of(pass_: str) -> int:
    times, stride, more = pass_.partition("S")
    return int(times or 1) * FIT_STRIDE + int(more or 0) if stride else int(pass_)


class Walks:
    """Takes the steps of a course and looks at what comes."""

    def __init__(self, num_batches: int = 4, *, by_keras: bool = True, **options: bool) -> None:
        self.by_keras = by_keras
        self.passes = PassCounter(num_batches, **options)
        self.walks: dict[str, tuple[Walk, Iterator[tuple[int, int]]]] = {}

    def check(self, course: str) -> None:
        for step in course.split():
            self.take(step)

    def take(self, step: str) -> None:
        sign, rest = step[0], step[1:]
        if sign in "N!":
            self.passes.note_length()
        if sign == "+":
            self.passes.begin_epoch()
        elif sign in "-!":
            self.passes.end_epoch()
        elif sign == "=":
            assert self.passes.current() == number_of(rest), step
        elif sign == "@":
            self.passes.jump(int(rest))
        elif rest.startswith("?"):
            assert rest[1:] in {str(self.walk(sign)[0].length), "0"}, step
        elif sign != "N":
            self.ask(step)

    def ask(self, step: str) -> None:
        found = STEP.fullmatch(step)
        assert found, step
        first, last = int(found["first"]), int(found["last"] or found["first"])
        for batch in range(first, last + 1):
            expected = (number_of(found["pass"]), batch)
            if found["who"] == "h":
                assert self.passes.request(int(found["index"] or batch))[:2] == expected, step
            else:
                walk, batches = self.walk(found["who"])
                if self.by_keras:
                    self.passes.note_asked(walk)
                assert next(batches) == expected, step

    def walk(self, who: str) -> tuple[Walk, Iterator[tuple[int, int]]]:
        if who not in self.walks:
            walk = self.passes.start(by_keras=self.by_keras)
            self.walks[who] = walk, walk.batches()
        return self.walks[who]


def cases(*tables: dict[str, str]) -> pytest.MarkDecorator:
    table = {name: course for table in tables for name, course in table.items()}
    return pytest.mark.parametrize("course", table.values(), ids=table.keys())


@cases(AMID_REQUESTS)
def test_a_pass_that_is_being_requested_goes_on_whoever_walks_meanwhile(course: str) -> None:
    Walks(by_keras=False).check(course)


@cases(AMID_REQUESTS_WITH_KERAS)
def test_so_it_does_where_keras_walks_meanwhile(course: str) -> None:
    Walks().check(course)


@cases(BY_HAND)
def test_by_hand_a_batch_is_the_one_that_was_named(course: str) -> None:
    Walks().check(course)


@cases(LOOPS)
def test_a_loop_is_a_pass_in_its_own_order(course: str) -> None:
    Walks(by_keras=False).check(course)


@cases(FITS, STEPS)
def test_a_walk_is_a_pass_in_its_own_order(course: str) -> None:
    Walks().check(course)


@cases(LOOKS)
def test_a_look_at_the_data_is_no_pass(course: str) -> None:
    Walks().check(course)


@pytest.mark.parametrize("num_batches", [1, 2])
def test_nor_is_it_where_there_is_hardly_more_to_look_at(num_batches: int) -> None:
    last = f"-{num_batches - 1}" if num_batches > 1 else ""
    Walks(num_batches).check(f"N + a=0.0{last} ! + b=0.0{last} - + c=1.0{last} - =1")


@cases(INTERRUPTS)
def test_a_walk_that_was_broken_off_is_over(course: str) -> None:
    Walks().check(course)


@cases(AMID)
def test_a_walk_amid_another_takes_nothing_from_it(course: str) -> None:
    Walks().check(course)


@cases(JUMPS)
def test_the_next_walk_may_begin_anywhere(course: str) -> None:
    Walks().check(course)


@cases(ENDLESS)
def test_with_repeat_a_walk_has_no_end(course: str) -> None:
    Walks(repeat=True).check(course)


@cases(NAMED, AMID_NAMED)
def test_where_keras_names_the_batches_the_pass_goes_on_when_all_were_named(course: str) -> None:
    Walks(keras_requests=True, by_keras=False).check(course)


def test_a_walk_may_leave_out_the_last_batches_of_each_pass() -> None:
    passes = PassCounter(4)
    assert [list(passes.start(3).batches()) for _ in range(2)] == [[(0, 0), (0, 1), (0, 2)], [(1, 0), (1, 1), (1, 2)]]
    keys = following(0, 1, 3)
    assert [next(keys) for _ in range(4)] == [(0, 2), (1, 0), (1, 1), (1, 2)]


def test_walking_by_number_through_the_same_pass_again_and_again_is_noticed() -> None:
    passes, found = PassCounter(3), []
    for index in [0, 1, 2, 2, 0, 1]:
        passes.request(index)
        found.append(passes.is_repeated(3))
    assert found == [False] * 5 + [True]
    passes.end_epoch()
    for index in [0, 1, 2] * 3:
        passes.request(index)
        assert not passes.is_repeated(3)


@given(
    num_batches=st.integers(1, 7),
    walks=st.lists(st.sampled_from(["whole", "look", "broken off", "amid", "loop"]), max_size=8),
)
def test_every_walk_is_exact_whatever_the_others_do(num_batches: int, walks: list[str]) -> None:
    passes, pass_ = PassCounter(num_batches), 0
    stale: list[tuple[int, Iterator[tuple[int, int]]]] = []
    for kind in walks:
        passes.note_length()
        if kind != "look":
            passes.note_length()
            passes.end_epoch()
        passes.begin_epoch()
        walk = passes.start(by_keras=True)
        keys = walk.batches()
        half = 2 if kind == "look" else 1 + num_batches // 2
        for batch in range(num_batches if kind in {"whole", "loop"} else min(half, num_batches)):
            assert next(keys) == (pass_, batch)
            passes.note_asked(walk)
        if kind == "look":
            passes.note_length()
            passes.end_epoch()
            continue
        if kind == "whole":
            passes.end_epoch()
        elif kind != "loop" and half < num_batches:
            stale.append((pass_, keys))
        pass_ += 1
        if kind == "amid" and stale:
            their_pass, theirs = stale.pop(0)
            assert list(theirs) == [(their_pass, batch) for batch in range(half, num_batches)]


@pytest.mark.parametrize("walkers", [1, 4])
def test_asked_from_many_threads_a_walk_still_gives_each_batch_once(walkers: int) -> None:
    passes = PassCounter(400)
    found: dict[int, list[tuple[int, int]]] = {k: [] for k in range(walkers)}
    begun = [passes.start() for _ in range(walkers)]
    walks = [walk.batches() for walk in begun]
    locks = [threading.Lock() for _ in range(walkers)]

    def ask(k: int) -> None:
        while True:
            with locks[k]:  # as TensorFlow's threads: another one each time, one after the other
                key = next(walks[k], None)
                if key is None:
                    return
                found[k].append(key)
                passes.note_asked(begun[k])

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(walkers) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {k: [(k, batch) for batch in range(400)] for k in range(walkers)}

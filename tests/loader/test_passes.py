from __future__ import annotations

import gc
import re
import threading
import weakref
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.passes import FIT_STRIDE, PassCounter

# What Keras and people do, in a small language. Passes have four batches.
#
#   +A       adapter A (of a fit, an evaluate, a validation set) begins an epoch
#   -A       it ends one
#   !A       it is set back to the start, as Keras does before each fit, and after a look at the data
#   -        somebody ends an epoch by hand, + begins one
#   a=1.2    walker a asks, and gets batch 2 of pass 1, after which the following ones will be wanted
#   a~1.2    the same, but the following ones will not be
#   a=1.0-3  it asks four times and gets the four
#   h2=1.2   somebody asks for batch 2 by hand; h=1.0-3 for four, one after the other
#   =1       batches by hand would be of pass 1
#   a?4      walker a is told that there are 4 batches to walk through
#   @6       the next walk shall begin at batch 6, counted through all passes; @6/2 and end after 2
#
# A walker names its batches from the last to the first: what it names must not matter.

BY_HAND = {
    "a new counter is in pass 0": "=0 h=0.0-3 =0",
    "the tutorial's way": "h=0.0-3 - =1 h=1.0-3 - h=2.0-3 -",
    "an end before the first batch counts": "- =1 h=1.0-3",
    "several ends in a row are one": "h=0.0 - - - =1 h=1.0-3",
    "any batch, any number of times": "h2~0.2 h0=0.0 h0=0.0 h3~0.3 h2~0.2 - h2~1.2 h0=1.0",
    "an epoch begun and ended by hand": "+ h=0.0-3 - + =1 h=1.0-3 - =2",
    "an end between the begin and the first batch": "+ - + h=1.0-3",
    "a number set": "@8 =2 h=2.0-3 - h=3.0-3",
}

LOOPS = {
    "each loop is a pass": "a=0.0-3 b=1.0-3 c=2.0-3",
    "after a loop the number is its own": "a=0.0-3 =0 h=0.0-3 b=1.0",
    "an end between loops adds nothing": "a=0.0-3 - b=1.0-3 - - c=2.0-3",
    "a loop that was left is not gone on with": "a=0.0 b=1.0-3",
    "two loops at once": "a=0.0-1 b=1.0 a~0.2 b=1.1-3 a=0.3 c=2.0",
    "a loop, then a fit": "a=0.0-3 - !A +A b=1.0-3 -A =1",
}

FITS = {
    "fit on JAX and torch": "!A +A a=0.0-3 -A =0 +A b=1.0-3 -A =1",
    "fit on TensorFlow looks at two batches for their shapes": "h=0.0-1 !A +A a=0.0-3 -A +A b=1.0-3 -A =1",
    "fit twice": "!A +A a=0.0-3 -A   h=0.0-1 !B +B b=1.0-3 -B +B c=2.0-3 -B =2",
    "predict sets nothing back": "h=0.0-1 +A a=0.0-3 -A =0 h=0.0-1 +B b=1.0-3 -B =1",
    "validation sets back each time, with one adapter": "!A +A a=0.0-3 -A   !A +A b=1.0-3 -A   !A +A c=2.0-3 -A",
    "by hand, then fit": "h=0.0-3 - !A +A a=1.0-3 -A =1",
    "by hand without an end, then fit": "h=0.0-3 !A +A a=0.0-3 -A",
    "fit, then by hand, then fit": "!A +A a=0.0-3 -A h=0.0-3 - h=1.0-3 - !B +B b=2.0-3 -B",
    "fit, an end by hand, then fit": "!A +A a=0.0-3 -A - !B +B b=1.0-3 -B",
    "a callback looks at batches": "!A +A a=0.0 h2~0.2 h0~0.0 a=0.1-3 h0=0.0 -A =0 +A b=1.0-3 -A",
    "a callback ends by hand": "!A +A a=0.0-1 - a=0.2-3 -A +A b=1.0-3 -A =1",
    "all batches are asked for before the first is trained": "+A a=0.0-3 =0 -A +A b=1.0-3",
    "a generator that is never asked is no walk": "+A a?4 -A +A b=0.0-3 -A",
    "a walker that asks on after its end begins another walk": "+A a=0.0-3 a=1.0 -A +A b=2.0",
    "a sequence made of this one hands on what it is told": "! h=0.0-3 - h=1.0-3 -",
}

STEPS = {
    "steps below the length: one walk over several epochs": "+A a=0.0-1 -A +A a=0.2-3 -A +A b=1.0-1 -A +A b=1.2 -A =1",
    "and TensorFlow asks ahead between epochs": "+A a=0.0-1 -A a=0.2 +A a=0.3 -A +A b=1.0",
    "validation steps: each time a new walk": "!A +A a=0.0-1 -A !A +A b=1.0-1 -A !A +A c=2.0",
    "what is left of it when fit ends is left out": "+A a=0.0-1 -A !B +B b=1.0-3 -B",
    "and has no say in what is read ahead when TensorFlow asks on": "+A a=0.0-1 -A !B +B b=1.0 a~0.2 b=1.1 a~0.3 b=1.2-3",
}

LOOKS = {
    "a model that is not built": "+A a=0.0 !A +A b=0.0-3 -A +A c=1.0-3 -A",
    "two batches, as older releases take on JAX": "+A a=0.0-1 !A +A b=0.0-3 -A",
    "any number, as TensorFlow may with a distribution strategy": "+A a=0.0-2 !A +A b=0.0-3 -A",
    "all there are": "+A a=0.0-3 !A +A b=0.0-3 -A",
    "the looker asks on": "+A a=0.0 !A a=0.1 +A b=0.0 a~0.2 b=0.1 a~0.3 b=0.2-3 -A +A c=1.0",
    "again with another model": "+A a=0.0 !A +A b=0.0-3 -A   +B c=1.0 !B +B d=1.0-3 -B =1",
    "for predict": "+A a=0.0 !A +A b=0.0-3 -A =0",
    "after a walk by hand": "h=0.0-3 - +A a=1.0 !A +A b=1.0-3 -A",
    "from amid a pass": "@6 +A a=1.2 !A +A b?2 b=1.2-3 -A +A c=2.0-3",
}

INTERRUPTS = {
    "the pass is not gone on with": "!A +A a=0.0-2   !B +B b=1.0-3 -B",
    "not even after the first batch, however many TensorFlow asked for ahead": "!A +A a=0.0   !B +B b=1.0-3 -B",
    "until then the number stays": "!A +A a=0.0-1 =0 h2~0.2",
    "the old walker asks on, and gets what is left to it": "!A +A a=0.0-1   !B +B b=1.0-1 a~0.2 b=1.2 a~0.3 b=1.3 -B +B c=2.0-3 -B",
    "the old walker asks between the fits": "!A +A a=0.0-1   a=0.2 !B a=0.3 +B b=1.0-3 -B",
    "a fit that was interrupted before its first batch": "!A +A   !B +B b=0.0-3 -B",
    "a look that was": "+A a=0.0   +B b=1.0 !B +B c=1.0-3 -B",
    "the old walker asks on, and the new one goes on over epochs": "+A a=0.0   !B +B b=1.0-1 -B +B b=1.2 a~0.1 b=1.3 -B",
    "interrupted twice": "!A +A a=0.0   !B +B b=1.0 a~0.1   !C +C c=2.0 a~0.2 b~1.1 c=2.1-3 -C",
    "then by hand": "!A +A a=0.0-1   h0~0.0 - h0~1.0 - =2 !B +B b=2.0-3 -B",
}

AMID = {
    "evaluating the same data amid an epoch": "!A +A a=0.0-1 h0~0.0 !B +B b=1.0-3 -B a=0.2-3 -A +A c=2.0-3 -A",
    "some steps of it": "!A +A a=0.0-1 !B +B b=1.0-1 -B a=0.2 b~1.2 a=0.3 -A +A c=2.0-3 -A",
    "between two epochs of one walk": "+A a=0.0-1 -A !B +B b=1.0-3 -B +A a=0.2-3 -A !B +B c=2.0-3 -B +A d=3.0-3 -A",
    "some steps of it, too": "+A a=0.0-1 -A !B +B b=1.0-1 -B +A a=0.2-3 -A !B +B c=2.0-1 -B +A d=3.0-3",
    "looking at them with a new model": "!A +A a=0.0-1 +B b=1.0 !B +B c=1.0-3 -B a=0.2-3 -A +A d=2.0-3",
    "predicting amid evaluating amid a fit": "+A a=0.0 +B b=1.0 +C c=2.0-3 -C b=1.1-3 -B a=0.1-3 -A =2 +A d=3.0",
}

JUMPS = {
    "to a pass": "@8 =2 a?4 a=2.0-3 b=3.0-3",
    "into a pass: its rest, then whole ones": "@6 =1 a?2 a=1.2-3 b?4 b=2.0-3",
    "batches by hand are those of that pass": "@6 h=1.0-3 a=1.2-3",
    "into a pass and to an end within it: the next goes on": "@5/2 a?2 a=1.1-2 b?1 b=1.3 c?4 c=2.0-3",
    "over again": "a=0.0-3 @0 b=0.0-3",
    "amid a walk, which may ask on": "+A a=0.0-1 @8 !B +B b=2.0 a~0.2 b=2.1-3 -B +B c=3.0",
    "an end by hand leaves the rest out": "@6 - a?4 a=2.0-3",
    "after an end by hand": "h=0.0 - @4 a=1.0-3",
    "how long the others are is no matter of it": "@6 a?2 h?4",
}

# The same with repeat; S is the pass at which the second walk begins.
ENDLESS = {
    "a walk goes from pass to pass": "h?None a?None a=0.0-3 a=1.0-3 a=2.0",
    "over epochs": "+A a=0.0-2 -A +A a=0.3 a=1.0-1 -A +A a=1.2",
    "the next begins at a pass that does not depend on how far it went": "+A a=0.0 -A !B +B b=S.0-3 b=S+1.0",
    "nor on how far it goes": "+A a=0.0 -A !B +B b=S.0 a~0.1 b=S.1",
    "a look is none": "+A a=0.0-3 a=1.0 !A +A b=0.0-3",
    "by hand it is the pass that the walk began with": "+A a=0.0-3 a=1.0 -A =0 h0=0.0 h5~1.1",
    "an end by hand leaves all the walk's passes behind": "+A a=0.0-3 a=1.0 -A - =S h0=S.0 b=S.0",
    "passes by hand": "h=0.0-3 - h=1.0-3 - =2 a=2.0-3 a=3.0 b=S.0",
    "a number set": "@8 a=2.0-3 a=3.0-3 b=S.0",
    "a batch set": "@6 a=1.2-3 a=2.0",
    "and an end has no meaning": "@6/1 a?None a=1.2-3 a=2.0",
    "third": "a=0.0 b=S.0 c=2S.0",
}

STEP = re.compile(r"(?P<who>[a-h])(?P<index>\d*)(?P<sign>[=~])(?P<pass>\w+(?:\+\d)?)\.(?P<first>\d)(?:-(?P<last>\d))?")


def number_of(pass_: str) -> int:
    times, stride, more = pass_.partition("S")
    return int(times or 1) * FIT_STRIDE + int(more or 0) if stride else int(pass_)


class Walks:
    """Takes the steps of a walk and looks at what comes."""

    def __init__(self, num_batches: int = 4, *, repeat: bool = False) -> None:
        self.passes = PassCounter(num_batches, repeat=repeat)
        self.walkers: dict[str, object] = defaultdict(object)
        self.adapters: dict[str, object] = defaultdict(object)
        self.named: dict[str, int] = defaultdict(lambda: 99)

    def check(self, walk: str) -> None:
        for step in walk.split():
            self.take(step)

    def take(self, step: str) -> None:
        sign, rest = step[0], step[1:]
        teller = self.adapters[rest] if rest.isalpha() else None
        if sign == "+":
            self.passes.begin(teller)
        elif sign in "-!":
            self.passes.end(teller, is_reset=sign == "!")
        elif sign == "=":
            assert self.passes.current() == number_of(rest), step
        elif sign == "@":
            number, _, length = rest.partition("/")
            self.passes.jump(int(number), int(length) if length else None)
        elif rest.startswith("?"):
            assert str(self.passes.length(self.walker(sign))) == rest[1:], step
        else:
            self.ask(step)

    def ask(self, step: str) -> None:
        found = STEP.fullmatch(step)
        assert found, step
        who, first, last = found["who"], int(found["first"]), int(found["last"] or found["first"])
        for batch in range(first, last + 1):
            self.named[who] -= 1
            index = self.named[who] if who != "h" else int(found["index"] or batch)
            served = self.passes.serve(index, self.walker(who))
            assert served == (number_of(found["pass"]), batch, found["sign"] == "="), step

    def walker(self, who: str) -> object | None:
        return None if who == "h" else self.walkers[who]


def cases(*tables: dict[str, str]) -> pytest.MarkDecorator:
    table = {name: walk for table in tables for name, walk in table.items()}
    return pytest.mark.parametrize("walk", table.values(), ids=table.keys())


@cases(BY_HAND)
def test_by_hand_a_batch_is_the_one_that_was_named(walk: str) -> None:
    Walks().check(walk)


@cases(LOOPS, FITS, STEPS)
def test_a_walk_is_a_pass_in_its_own_order(walk: str) -> None:
    Walks().check(walk)


@cases(LOOKS)
def test_a_look_at_the_data_is_no_pass(walk: str) -> None:
    Walks().check(walk)


@pytest.mark.parametrize("num_batches", [1, 2])
def test_nor_is_it_where_there_is_hardly_more_to_look_at(num_batches: int) -> None:
    last = f"-{num_batches - 1}" if num_batches > 1 else ""
    Walks(num_batches).check(f"h=0.0 +A a=0.0{last} !A +A b=0.0{last} -A +A c=1.0{last} -A =1")


@cases(INTERRUPTS)
def test_a_walk_that_was_broken_off_is_over(walk: str) -> None:
    Walks().check(walk)


@cases(AMID)
def test_a_walk_amid_another_takes_nothing_from_it(walk: str) -> None:
    Walks().check(walk)


@cases(JUMPS)
def test_the_next_walk_may_begin_anywhere(walk: str) -> None:
    Walks().check(walk)


@cases(ENDLESS)
def test_with_repeat_a_walk_has_no_end(walk: str) -> None:
    Walks(repeat=True).check(walk)


def test_a_batch_that_a_walker_asks_for_once_more_is_the_same_one() -> None:
    passes, walker, adapter = PassCounter(3), object(), object()
    passes.begin(adapter)
    for batch, index in enumerate([2, 0, 1]):
        assert passes.serve(index, walker) == (0, batch, True)
        assert passes.serve(index, walker) == (0, batch, False)
    passes.end(adapter)
    passes.begin(adapter)
    assert passes.serve(1, object()) == (1, 0, True)


def test_a_walk_that_came_to_its_end_holds_on_to_nobody() -> None:
    class Walker:
        pass

    passes, adapter = PassCounter(2), Walker()
    for teller in (None, adapter):
        walker = Walker()
        gone = weakref.ref(walker)
        if teller:
            passes.begin(teller)
        passes.serve(0, walker)
        passes.serve(1, walker)
        if teller:
            passes.end(teller)
        del walker
        gc.collect()
        assert gone() is None


def test_the_number_of_walkers_that_are_remembered_does_not_grow() -> None:
    passes = PassCounter(4)
    for _ in range(100):
        passes.begin(object())
        passes.serve(0, object())
    assert len(passes._begun) < 10


@given(
    num_batches=st.integers(1, 7),
    walks=st.lists(st.tuples(st.permutations(range(7)), st.sampled_from(["whole", "look", "broken off", "amid"])), max_size=6),
)
def test_every_walk_is_exact_whatever_the_others_do(num_batches: int, walks: list[tuple[list[int], str]]) -> None:
    passes, pass_ = PassCounter(num_batches), 0
    stale: list[tuple[object, list[int], int, int]] = []
    for order, kind in walks:
        indices = [index for index in order if index < num_batches]
        adapter, walker = object(), object()
        passes.begin(adapter)
        half = 1 + len(indices) // 2
        for batch, index in enumerate(indices if kind == "whole" else indices[:half]):
            assert passes.serve(index, walker)[:2] == (pass_, batch)
        if kind == "look":
            passes.end(adapter, is_reset=True)
            continue
        if kind == "whole":
            passes.end(adapter)
        elif half < len(indices):
            stale = [*stale, (walker, indices, half, pass_)][-3:]
        pass_ += 1
        if kind == "amid" and stale:
            old, theirs, at, their_pass = stale.pop()
            for batch in range(at, num_batches):
                assert passes.serve(theirs[batch], old)[:2] == (their_pass, batch)


@pytest.mark.parametrize("walkers", [1, 4])
def test_asked_from_many_threads_a_walk_still_gives_each_batch_once(walkers: int) -> None:
    passes = PassCounter(400)
    found: dict[int, list[tuple[int, int]]] = {k: [] for k in range(walkers)}
    everybody = [object() for _ in range(walkers)]
    indices = [iter(range(400)) for _ in range(walkers)]
    locks = [threading.Lock() for _ in range(walkers)]

    def ask(k: int) -> None:
        while True:
            with locks[k]:  # as TensorFlow's threads: another one each time, one after the other
                index = next(indices[k], None)
                if index is None:
                    return
                found[k].append(passes.serve(index, everybody[k])[:2])

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(walkers) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pairs[0][0] for pairs in found.values()) == list(range(walkers))
    for pairs in found.values():
        assert pairs == [(pairs[0][0], batch) for batch in range(400)]

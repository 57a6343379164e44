from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from loader.walker import asking_generator, telling_adapter

# As Keras 3 writes its adapter and Keras 2 its own, so far as it matters here.
KERAS_3 = """
class PyDatasetAdapter:
    def __init__(self, x):
        self.py_dataset = x

    def generator(self, indices):
        for i in indices:
            yield self.py_dataset[i]

    def spec(self):
        return [self.py_dataset[i] for i in range(2)]

    def infinite_generator(self):
        i = -1
        while True:
            i += 1
            yield self.py_dataset[i]

    def on_epoch_begin(self):
        return self.py_dataset.on_epoch_begin()

    def on_epoch_end(self):
        return self.py_dataset.on_epoch_end()


class EpochIterator:
    def __init__(self, adapter):
        self.data_adapter = adapter

    def reset(self):
        return self.data_adapter.on_epoch_end()

    def enumerate_epoch(self):
        yield self.data_adapter.on_epoch_end()


def converted(iterable):
    for batch in iterable:
        yield batch
"""

KERAS_2 = """
class KerasSequenceAdapter:
    def __init__(self, x):
        self._keras_sequence = x

    def generator(self, indices):
        x = self._keras_sequence

        def generator_fn():
            order = list(indices)
            for i in order:
                yield x[i]

        return generator_fn()

    def on_epoch_end(self):
        return self._keras_sequence.on_epoch_end()
"""


def module(name: str, source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": name}
    exec(source, names)  # noqa: S102  # code that lies in another package
    return names


KERAS = module("keras.src.trainers.data_adapters.py_dataset_adapter", KERAS_3)
TF_KERAS = module("tf_keras.src.engine.data_adapter", KERAS_2)
ADAPTERS = pytest.mark.parametrize("adapter", [KERAS["PyDatasetAdapter"], TF_KERAS["KerasSequenceAdapter"]], ids=["keras", "tf_keras"])


class Asked:
    """Returns who asks, as a batch, or who tells."""

    def __getitem__(self, index: int) -> Any:
        return asking_generator(self, index)

    def on_epoch_begin(self) -> Any:
        return telling_adapter(self)

    def on_epoch_end(self) -> Any:
        return telling_adapter(self)


class Overridden(Asked):
    """Asks for its batch through a few calls of its own, once more, and for another one."""

    def __getitem__(self, index: int) -> Any:
        this = self.through(lambda i: super(Overridden, self).__getitem__(i), index)
        return this, super().__getitem__(index), super().__getitem__(index + 1)

    def through(self, function: Callable[[int], Any], index: int) -> Any:
        return function(index)

    def on_epoch_end(self) -> Any:
        return self.through(lambda _: super(Overridden, self).on_epoch_end(), 0)


class MadeOf:
    """A sequence made of another one, whose batches it asks for by hand."""

    def __init__(self, inner: Asked) -> None:
        self.inner = inner

    def __getitem__(self, index: int) -> Any:
        return self.inner[index]

    def on_epoch_begin(self) -> Any:
        return self.inner.on_epoch_begin()

    def on_epoch_end(self) -> Any:
        return self.inner.on_epoch_end()


@ADAPTERS
def test_keras_generator_is_the_walker_of_all_its_batches(adapter: Any) -> None:
    generator = adapter(Asked()).generator([2, 0, 1])
    walkers = list(generator)
    assert isinstance(walkers[0], FrameType)
    assert len(set(map(id, walkers))) == 1


@ADAPTERS
def test_another_generator_is_another_walker(adapter: Any) -> None:
    keras = adapter(Asked())
    first, second = keras.generator([0, 1]), keras.generator([0, 1])
    a, b = next(first), next(second)
    assert a is not b
    assert (next(first), next(second)) == (a, b)


def test_a_generator_around_it_changes_nothing() -> None:
    generator = KERAS["PyDatasetAdapter"](Asked()).generator([1, 0])
    converted = KERAS["converted"](generator)
    assert next(converted) is generator.gi_frame


def test_a_walk_without_end_is_one_too() -> None:
    generator = KERAS["PyDatasetAdapter"](Asked()).infinite_generator()
    assert {next(generator), next(generator)} == {generator.gi_frame}


@ADAPTERS
def test_an_override_asks_for_the_walkers_batch_as_often_as_it_likes_and_for_others_by_hand(adapter: Any) -> None:
    for this, again, other in adapter(Overridden()).generator([2, 0, 5]):
        assert this is again is not None
        assert other is None


@ADAPTERS
def test_an_override_may_use_generators_of_its_own(adapter: Any) -> None:
    class Generating(Asked):
        def __getitem__(self, index: int) -> Any:
            return next(super(Generating, self).__getitem__(i) for i in (index,))

    generator = adapter(Generating()).generator([2, 0])
    assert next(generator) is generator.gi_frame
    assert len(set(map(id, adapter(Generating()).generator([2, 0])))) == 1


def test_keras_looks_at_batches_for_their_shapes_by_hand() -> None:
    assert KERAS["PyDatasetAdapter"](Asked()).spec() == [None, None]


def test_everybody_else_asks_by_hand() -> None:
    asked = Asked()

    def users() -> Iterator[Any]:
        for i in range(2):
            yield asked[i]

    assert asked[0] is None
    assert list(users()) == [None, None]
    assert list(KERAS["converted"](users())) == [None, None]
    assert list(KERAS["converted"](asked[i] for i in range(2))) == [None, None]


@ADAPTERS
def test_a_sequence_made_of_another_asks_it_by_hand(adapter: Any) -> None:
    assert list(adapter(MadeOf(Asked())).generator([1, 0])) == [None, None]


def test_a_caller_far_away_is_not_looked_for() -> None:
    class Deep(Asked):
        def __getitem__(self, index: int) -> Any:
            return self.down(index, 50)

        def down(self, index: int, levels: int) -> Any:
            return self.down(index, levels - 1) if levels else super().__getitem__(index)

    assert list(KERAS["PyDatasetAdapter"](Deep()).generator([0])) == [None]


@pytest.mark.parametrize("sequence", [Asked, Overridden])
def test_the_adapter_tells_of_epochs(sequence: type[Asked]) -> None:
    adapter = KERAS["PyDatasetAdapter"](sequence())
    iterator = KERAS["EpochIterator"](adapter)
    assert adapter.on_epoch_begin() == (adapter, False)
    assert next(iterator.enumerate_epoch()) == (adapter, False)
    assert iterator.reset() == (adapter, True)


def test_so_does_the_one_of_keras_2() -> None:
    adapter = TF_KERAS["KerasSequenceAdapter"](Asked())
    assert adapter.on_epoch_end() == (adapter, False)


def test_a_sequence_made_of_another_tells_it_by_hand_but_of_a_reset() -> None:
    iterator = KERAS["EpochIterator"](KERAS["PyDatasetAdapter"](MadeOf(Asked())))
    assert next(iterator.enumerate_epoch()) == (None, False)
    assert iterator.reset() == (None, True)


def test_a_person_tells_by_hand_wherever_from() -> None:
    class Callback:
        def __init__(self, asked: Asked) -> None:
            self.asked = asked

        def reset(self) -> Any:
            return self.asked.on_epoch_end()

    assert Asked().on_epoch_end() == (None, False)
    assert Callback(Asked()).reset() == (None, False)

"""What users do with a sequence beside `fit`: copies, torch's DataLoader, arguments that Keras loses, overrides."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from loader import BatchIndexError, ManifestSequence, OptionError, TransformError
from loader.passes.index_with_pass import BatchIndex
from manifests import Manifest

MakeDataset = Callable[..., Manifest]
OPTIONS: dict[str, Any] = {"batch_size": 4, "shuffle": True, "seed": 5}


def numbers(batch: Any) -> list[int]:
    return [int(first) for first in np.asarray(batch[0])[:, 0, 0]]


def walked(sequence: ManifestSequence) -> list[list[int]]:
    return [numbers(batch) for batch in sequence]


@pytest.fixture
def model() -> keras.Model:
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy")
    return model


class Weighted(keras.Model):
    """Trains nothing; notes each sample's number and weight."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[int, float]] = []
        self.compile(run_eagerly=True)

    def train_step(self, data: Any) -> dict[str, float]:
        x, _, weights = keras.utils.unpack_x_y_sample_weight(data)
        self.noted += zip(numbers((x,)), np.asarray(weights).tolist(), strict=True)
        return {"loss": 0.0}


# Class weights


@pytest.mark.parametrize("class_weight", [{0: 2.0, 1: 0.5}, {"a": 2, "b": 0.5}, {"a": 2, 1: 0.5}])
@pytest.mark.parametrize("label_mode", ["categorical", "int", "binary"])
def test_class_weights_reach_the_loss(make_dataset: MakeDataset, class_weight: Any, label_mode: Any) -> None:
    model = Weighted()
    model.fit(ManifestSequence(make_dataset(10), label_mode=label_mode, class_weight=class_weight, **OPTIONS), verbose=0)
    assert dict(model.noted) == {number: (2.0, 0.5)[number % 2] for number in range(10)}


def test_classes_that_are_left_out_count_once(make_dataset: MakeDataset) -> None:
    assert ManifestSequence(make_dataset(4), class_weight={"b": 3})[0][2].tolist() == [1, 3, 1, 3]
    sequence = ManifestSequence.from_ids(
        ["s000", "s001"], {"s000": 1, "s001": 0}, data_dir=make_dataset(4).root / "shards", dim=None, class_weight={1: 7.0}, shuffle=False
    )
    assert sequence[0][2].tolist() == [7, 1]
    assert sequence.identity() != ManifestSequence(make_dataset(4)).identity()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weight": {"c": 1.0}}, "class_weight has 'c', expected an index below 2 or one of 'a', 'b'"),
        ({"class_weight": {2: 1.0}}, "class_weight has 2, expected an index below 2"),
        ({"class_weight": {-1: 1.0}}, "class_weight has -1, expected an index below 2"),
        ({"class_weight": {True: 1.0}}, "class_weight has True, expected an index below 2"),
        ({"class_weight": {0: 1.0, "a": 2.0}}, "class_weight names a class twice, by index and by name"),
        ({"class_weight": {0: "x"}}, r"class_weight\[0\] must be a number, got 'x'"),
        ({"class_weight": {0: -1}}, r"class_weight\[0\] must be a finite number from 0, got -1"),
        ({"class_weight": [1.0, 2.0]}, r"class_weight must be a dict of class -> number, got \[1.0, 2.0\]"),
        ({"class_weight": {0: 1.0}, "label_mode": None}, "class_weight needs one class a sample, got label_mode=None"),
        ({"class_weight": {0: 1.0}, "label_mode": "multi_hot"}, "class_weight needs one class a sample, got label_mode='multi_hot'"),
        ({"class_weight": {0: 1.0}, "sample_weight": "w"}, "class_weight and sample_weight cannot be passed at the same time"),
    ],
)
def test_class_weights_that_cannot_be_used(make_dataset: MakeDataset, options: dict[str, Any], message: str) -> None:
    manifest = make_dataset(4)
    path = manifest.root / "manifest.csv"
    rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([rows[0] + ",w", *(row + ",1" for row in rows[1:])]) + "\n", encoding="utf-8")
    from manifests import load_manifest  # noqa: PLC0415  # of the file that was just changed

    with pytest.raises(OptionError, match=message):
        ManifestSequence(load_manifest(manifest.root), **options)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ({"class_weight": {0: 1.0, 1: 3.0}}, "Keras ignores class_weight= for a ManifestSequence; pass it to ManifestSequence instead"),
        ({"y": np.zeros(10)}, "Keras ignores y= for a ManifestSequence; leave it out: the labels come from the sequence"),
        ({"sample_weight": np.ones(10)}, "Keras ignores sample_weight= for a ManifestSequence; pass sample_weight='column' to"),
        ({"batch_size": 7}, "Keras ignores batch_size=7 for a ManifestSequence, which has batch_size=4; leave it out"),
    ],
)
def test_what_keras_would_lose_is_refused(make_dataset: MakeDataset, model: keras.Model, lost: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        model.fit(ManifestSequence(make_dataset(10), **OPTIONS), verbose=0, **lost)


# Samples sorted by class


def test_fit_warns_once_of_samples_that_are_sorted_by_class(make_dataset: MakeDataset, model: keras.Model) -> None:
    sequence = ManifestSequence(make_dataset(12, labels=list("aaaaaabbbbbb")), batch_size=4)
    with pytest.warns(UserWarning, match=r"sorted by class and the sequence does not shuffle them; pass shuffle=True to ManifestSequence"):
        model.fit(sequence, verbose=0)
    model.fit(sequence, verbose=0)


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        ("aaaaaabbbbbb", {"batch_size": 4, "shuffle": True}),
        ("ababababbbbb", {"batch_size": 4}),
        ("aaaaaaaaaaaa", {"batch_size": 4, "class_names": ["a", "b"]}),
        ("aaaaaabbbbbb", {"batch_size": 12}),
    ],
    ids=["shuffled", "mixed", "one class", "one batch"],
)
def test_other_samples_are_no_reason_to_warn(make_dataset: MakeDataset, model: keras.Model, labels: str, options: dict[str, Any]) -> None:
    model.fit(ManifestSequence(make_dataset(12, labels=list(labels)), **options), verbose=0)


def test_nor_is_evaluating_predicting_validating_or_a_fit_that_is_told_not_to_shuffle(
    make_dataset: MakeDataset, model: keras.Model, tmp_path: Path
) -> None:
    val = ManifestSequence(make_dataset(12, labels=list("aaaaaabbbbbb"), root=tmp_path / "val"), batch_size=4)
    train = ManifestSequence(make_dataset(12), **OPTIONS)
    model.fit(train, validation_data=val, verbose=0)
    model.evaluate(val, verbose=0)
    model.predict(val, verbose=0)
    model.fit(val, shuffle=False, verbose=0)


# Attributes and copies


@pytest.mark.parametrize(
    "passed",
    [
        {"workers": 3, "use_multiprocessing": False, "max_queue_size": 7},
        {"workers": 0, "use_multiprocessing": True, "max_queue_size": 1},
        {"workers": 2, "use_multiprocessing": None, "max_queue_size": 5},
    ],
)
def test_attributes_are_what_was_passed(make_dataset: MakeDataset, passed: dict[str, Any]) -> None:
    sequence = ManifestSequence(make_dataset(4), **passed)
    assert {name: getattr(sequence, name) for name in passed} == passed


def test_workers_can_be_set_later(make_dataset: MakeDataset) -> None:
    with ManifestSequence(make_dataset(30), workers=0, **OPTIONS) as sequence:
        expected = walked(sequence)
        sequence.workers, sequence.use_multiprocessing, sequence.max_queue_size = 2, False, 3
        sequence.pass_number = 0
        assert walked(sequence) == expected
        assert type(sequence._delivery.readers).__name__ == "Threads"
        with pytest.raises(OptionError, match="workers must be an integer from 0, got -1"):
            sequence.workers = -1


class Marked(ManifestSequence):
    """Has an attribute of its own, and a transform."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.mark = 1.0

    def transform(self, x: Any, y: Any, rng: Any) -> Any:
        return x + self.mark, y


def halved(x: Any, y: Any, rng: Any) -> Any:
    return x / 2, y


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda sequence: pickle.loads(pickle.dumps(sequence))])  # noqa: S301  # our own
def test_a_copy_works_and_goes_its_own_way(make_dataset: MakeDataset, copied: Any) -> None:
    with Marked(make_dataset(30), batch_transform=halved, workers=2, **OPTIONS) as sequence:
        sequence.mark = 3.0
        walked(sequence)
        twin = copied(sequence)
        assert type(twin) is Marked
        assert (twin.mark, twin.workers, twin.next_batch) == (3.0, 2, sequence.next_batch)
        assert twin.identity() == sequence.identity()
        expected = walked(sequence)
        assert walked(twin) == expected
        other = copied(sequence)
        other.mark = 5.0  # before anything is read ahead
        assert walked(other) != walked(sequence)
        twin.close()
        other.close()


def test_a_method_of_the_sequence_is_the_copys_own(make_dataset: MakeDataset) -> None:
    class Own(ManifestSequence):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, transform=self.moved, **options)
            self.by = 1.0

        def moved(self, x: Any, y: Any, rng: Any) -> Any:
            return x + self.by, y

    twin = copy.deepcopy(Own(make_dataset(4)))
    twin.by = 10.0
    assert numbers(twin[0]) == [10, 11, 12, 13]


# Batches by number


def test_walking_by_number_without_epochs_warns(make_dataset: MakeDataset) -> None:
    sequence = ManifestSequence(make_dataset(12), **OPTIONS)
    for i in range(len(sequence)):
        sequence[i]
    with pytest.warns(UserWarning, match=r"on_epoch_end is not called, so each epoch has the samples of pass 0 in the same order"):
        assert len([sequence[i] for i in range(len(sequence))]) == 3
    for i in range(len(sequence)):  # once is enough
        sequence[i]


def test_not_if_epochs_end_or_all_passes_are_the_same(make_dataset: MakeDataset) -> None:
    for sequence in (ManifestSequence(make_dataset(12), **OPTIONS), ManifestSequence(make_dataset(12), batch_size=4)):
        for _ in range(3):
            for i in range(len(sequence)):
                sequence[i]
            if sequence._feed.options.shuffle:
                sequence.on_epoch_end()


TORCH = pytest.mark.skipif(not __import__("importlib.util", fromlist=["util"]).find_spec("torch"), reason="torch is not installed: large")

LOADERS = """
import sys, warnings
import torch
from torch.utils.data import DataLoader, IterableDataset
from loader import ManifestSequence
from manifests import load_manifest

class Batches(IterableDataset):
    def __init__(self, sequence):
        self.sequence = sequence

    def __iter__(self):
        return iter(self.sequence)

def epochs(loader):
    return [[int(n) for x, y in loader for n in x[:, 0, 0]] for _ in range(2)]

train = ManifestSequence(load_manifest(sys.argv[1]), batch_size=4, shuffle=True, label_mode="int")
with warnings.catch_warnings():
    warnings.simplefilter("error")
    first, second = epochs(DataLoader(Batches(train), batch_size=None))
assert first != second and sorted(first) == sorted(second) == list(range(12)), (first, second)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    first, second = epochs(DataLoader(train, batch_size=None))
assert first == second and len(told) == 1 and "iterate over the sequence instead" in str(told[0].message), told
another = ManifestSequence(load_manifest(sys.argv[1]), batch_size=4, shuffle=True)
list(DataLoader(another, batch_size=None, num_workers=1))  # its worker warns on stderr
"""


@pytest.mark.slow
@TORCH
def test_a_data_loader_takes_an_iterable_and_warns_otherwise(make_dataset: MakeDataset) -> None:
    command = [sys.executable, "-c", LOADERS, str(make_dataset(12).root)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("iterate over the sequence instead") == 1


# Overrides


def test_an_index_knows_its_pass_and_is_an_integer_otherwise(make_dataset: MakeDataset) -> None:
    given: list[Any] = []

    class Noting(ManifestSequence):
        def __getitem__(self, index: int) -> Any:
            given.append(index)
            return super().__getitem__(index)

    sequence = Noting(make_dataset(12), **OPTIONS)
    walked(sequence)
    walked(sequence)
    assert given == [0, 1, 2] * 2
    assert [index.pass_ for index in given] == [0] * 3 + [1] * 3
    following = (given[4] + 1) % 3
    assert (following, following.pass_, (1 + given[4] - 1).pass_) == (2, 1, 1)
    assert type(int(given[0]) + 1) is int
    assert type(pickle.loads(pickle.dumps(given[0]))) is int  # noqa: S301  # our own
    assert isinstance(given[0], BatchIndex)
    other = ManifestSequence(make_dataset(12), **OPTIONS)
    assert other.ids(given[4]) == sequence.ids(given[4])  # of the same pass, in another sequence too
    assert [f"s{number:03d}" for number in numbers(other[given[4]])] == other.ids(given[4])


def test_a_thread_that_cannot_be_told_apart_is_refused(make_dataset: MakeDataset) -> None:
    sequence = ManifestSequence(make_dataset(12), **OPTIONS)
    begun, done, errors = threading.Barrier(3), threading.Event(), []

    def hold(pass_: int) -> None:
        with sequence._override_passes.asking(pass_):
            begun.wait(30)
            done.wait(30)

    def ask() -> None:
        try:
            sequence[0]
        except BatchIndexError as error:
            errors.append(str(error))

    holders = [threading.Thread(target=hold, args=(pass_,)) for pass_ in (3, 4)]
    for thread in holders:
        thread.start()
    begun.wait(30)
    asker = threading.Thread(target=ask, name="helper")
    asker.start()
    asker.join()
    assert numbers(sequence[0])  # who asks in the main thread is a person
    done.set()
    for thread in holders:
        thread.join()
    (error,) = errors
    assert error.startswith("thread 'helper' asks for a batch by number while batches of passes [3, 4] are being made; hand it the index")


@pytest.mark.parametrize(("length", "message"), [(4, "__len__ returned 4, expected 1 to 3"), (0, "__len__ returned 0, expected 1 to 3")])
def test_a_length_that_a_pass_does_not_have_is_refused(make_dataset: MakeDataset, model: keras.Model, length: int, message: str) -> None:
    class Long(ManifestSequence):
        def __len__(self) -> int:
            return length

    with pytest.raises(OptionError, match=message):
        model.fit(Long(make_dataset(12), **OPTIONS), verbose=0)


def test_a_shorter_length_holds_everywhere(make_dataset: MakeDataset) -> None:
    class Short(ManifestSequence):
        def __len__(self) -> int:
            return 2

    whole, sequence = ManifestSequence(make_dataset(12), **OPTIONS), Short(make_dataset(12), **OPTIONS)
    passes = [walked(whole) for _ in range(3)]
    assert [walked(sequence) for _ in range(3)] == [batches[:2] for batches in passes]
    assert sequence.ids() == [f"s{number:03d}" for batch in passes[2][:2] for number in batch]
    assert numbers(sequence[-1]) == passes[2][1]
    with pytest.raises(BatchIndexError, match="no batch 2; the sequence has 2, from 0"):
        sequence[2]


def test_what_an_unknown_keras_asks_for_is_refused(make_dataset: MakeDataset) -> None:
    sequence = ManifestSequence(make_dataset(12), **OPTIONS)
    for ask in (sequence.get_numpy_iterator, sequence.get_jax_iterator, sequence.get_tf_dataset):
        assert ask(wanted=None) is not None
        with pytest.raises(OptionError, match=r"asks for batches with \{'wanted': 3\}, which this release of shardfeed does not know"):
            ask(wanted=3)


def test_several_batches_in_one_for_jax(make_dataset: MakeDataset) -> None:
    utils = pytest.importorskip("keras.src.trainers.data_adapters.data_adapter_utils")
    if not hasattr(utils, "super_batch_iterator"):
        pytest.skip("this Keras takes one batch at a time")
    found = list(ManifestSequence(make_dataset(16), **OPTIONS).get_jax_iterator(super_batch=2))
    assert [x.shape for x, _ in found] == [(2, 4, 4, 3)] * 2


def test_a_keras_that_nobody_has_tried_is_named_once() -> None:
    code = (
        "import keras, warnings\n"
        "keras.__version__ = '3.99.1'\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    from loader import ManifestSequence\n"
        "print(*(str(one.message) for one in told if 'shardfeed' in str(one.message)), sep='\\n')\n"
        "print(ManifestSequence.__mro__[1:])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    line, bases = ran.stdout.splitlines()
    assert line.startswith(
        "this shardfeed was tried with Keras 3.8 to 3.16, and this is Keras 3.99.1: each sample still comes once an epoch"
    )
    assert "DataAdapter" not in bases


def test_several_inputs_without_labels_are_one_part(make_dataset: MakeDataset) -> None:
    sequence = ManifestSequence(make_dataset(4), label_mode=None, batch_transform=lambda x, y, rng: [x, x + 1])
    batch = sequence[0]
    assert isinstance(batch, tuple)
    assert len(batch) == 1
    assert [part.shape for part in batch[0]] == [(4, 4, 3)] * 2
    assert ManifestSequence(make_dataset(4), label_mode=None, transform=lambda x, y, rng: {"a": x})[0].keys() == {"a"}


def test_an_integer_that_is_the_name_of_another_class_is_refused(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(6, labels=list("123123"))
    with pytest.raises(OptionError, match="class_weight has 1, which is the index of class '2' and the name of another; use names"):
        ManifestSequence(manifest, class_weight={1: 10.0})
    assert ManifestSequence(manifest, class_weight={"1": 10.0})[0][2].tolist() == [10, 1, 1, 10, 1, 1]


def test_a_mask_of_the_same_index_is_of_the_same_sample(make_dataset: MakeDataset) -> None:
    class WithMasks(ManifestSequence):
        def __getitem__(self, index: int) -> Any:
            x, _ = super().__getitem__(index)
            return x, self.masks[index][0]

    sequence = WithMasks(make_dataset(12), **OPTIONS)
    sequence.masks = ManifestSequence(make_dataset(12), **OPTIONS)
    for _ in range(3):
        assert all(numbers((x,)) == numbers((mask,)) for x, mask in sequence)


def test_ids_are_those_that_stand_for_what_cannot_be_read(make_dataset: MakeDataset) -> None:
    manifest = make_dataset(12)
    for number in (3, 7):
        (manifest.root / "shards" / f"s{number:03d}.npy").unlink()

    class Targets(ManifestSequence):
        def __getitem__(self, index: int) -> Any:
            x, _ = super().__getitem__(index)
            return x, self.ids(index)

    with pytest.warns(UserWarning, match="Another sample stands for it"):
        passes = [list(Targets(manifest, on_error="skip", **OPTIONS)) for _ in range(2)]
    for batches in passes:
        assert all([f"s{number:03d}" for number in numbers((x,))] == ids for x, ids in batches)

    class Early(ManifestSequence):
        def __getitem__(self, index: int) -> Any:
            return self.ids(index), super().__getitem__(index)

    with pytest.raises(OptionError, match="the samples of a batch are known when it was read; ask for it before its ids"):
        list(Early(manifest, on_error="skip", **OPTIONS))


def test_asking_for_the_number_of_batches_changes_nothing(make_dataset: MakeDataset, model: keras.Model) -> None:
    sequence = ManifestSequence(make_dataset(12), **OPTIONS)
    passes: list[int] = []

    def note(step: int, _: Any) -> None:
        assert sequence.num_batches == 3
        passes.append(sequence.pass_number)

    for at in range(3):
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs, at=at: note(step, logs) if step == at else None)
        model.fit(sequence, epochs=2, callbacks=[callback], verbose=0)
    assert passes == list(range(6))


def test_an_override_of_the_number_of_batches_is_refused(make_dataset: MakeDataset) -> None:
    class Fewer(ManifestSequence):
        @property
        def num_batches(self) -> int:
            return 2

    with pytest.raises(OptionError, match="Fewer overrides num_batches, which only Keras asks for; override __len__ instead"):
        Fewer(make_dataset(12))


def test_a_function_of_the_users_own_may_be_called_as_keras_arguments_are(make_dataset: MakeDataset, model: keras.Model) -> None:
    class Trainer:
        def __init__(self, x: Any, class_weight: Any = None, batch_size: int = 7) -> None:
            model.fit(x, class_weight={}, verbose=0)

    Trainer(ManifestSequence(make_dataset(12), **OPTIONS), {0: 1.0})


def test_a_transform_that_is_given_twice_is_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(OptionError, match="transform is given twice: pass it as an argument, or override the method in a subclass"):
        Marked(make_dataset(4), transform=halved)

    class Early(ManifestSequence):
        def __init__(self, *args: Any) -> None:
            self.batch_transform = halved
            super().__init__(*args)

    with pytest.raises(OptionError, match="batch_transform is given twice"):
        Early(make_dataset(4))


@pytest.mark.parametrize(("parts", "count"), [(lambda x, y: (x, None), 1), (lambda x, y: [x, y], 2), (lambda x, y: (x, y, None), 2)])
def test_parts_of_an_override_that_are_none_are_left_out(make_dataset: MakeDataset, model: keras.Model, parts: Any, count: int) -> None:
    class Parts(ManifestSequence):
        def __getitem__(self, index: int) -> Any:
            return parts(*super().__getitem__(index))

    sequence = Parts(make_dataset(12), **OPTIONS)
    assert [len(batch) for batch in sequence] == [count] * 3
    assert model.predict(sequence, verbose=0).shape == (12, 2)


def test_none_amid_the_parts_is_refused(make_dataset: MakeDataset) -> None:
    class Parts(ManifestSequence):
        def __getitem__(self, index: int) -> Any:
            x, y = super().__getitem__(index)
            return x, None, y

    with pytest.raises(TransformError, match=r"Parts.__getitem__ returned None for one of 3 parts, expected \(X,\), \(X, y\)"):
        list(Parts(make_dataset(12), **OPTIONS))


@pytest.mark.parametrize("kind", [lambda x: x[:, ::-1], lambda x: x.astype(">f4"), keras.ops.convert_to_tensor])
def test_arrays_of_any_kind_arrive(make_dataset: MakeDataset, model: keras.Model, kind: Any) -> None:
    class Kinds(ManifestSequence):
        def __getitem__(self, index: int) -> Any:
            x, y = super().__getitem__(index)
            return kind(x), y

    model.fit(Kinds(make_dataset(12), **OPTIONS), verbose=0)

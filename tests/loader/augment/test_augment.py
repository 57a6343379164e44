from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.stride_tricks import sliding_window_view

import loader
import loader.augment
from loader import OptionError
from loader.augment import CenterCrop, Compose, CutMix, GaussianNoise, MixUp, RandomBrightness, RandomContrast, RandomCrop, RandomFlip

SAMPLE = [
    RandomFlip(),
    RandomFlip(axes=[0, -1]),
    RandomCrop([4, 5], padding=1),
    GaussianNoise(30.0),
    RandomBrightness(0.5, value_range=(0, 100)),
    RandomContrast(0.5, value_range=[0, 100]),
    Compose(RandomFlip("horizontal"), GaussianNoise(10)),
]
BATCH = [MixUp(alpha=1), CutMix(), Compose(CutMix(), MixUp(0.5))]
NUMBERS = ["uint8", "int8", "uint16", "int16", "int32", "int64", "uint64", "float16", "float32", "float64", ">f4", ">i2"]

SEEDS = st.integers(0, 2**32)
VOLUMES = hnp.array_shapes(min_dims=3, max_dims=4, max_side=6)


def samples(shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]], dtypes: list[str] = NUMBERS) -> st.SearchStrategy[np.ndarray]:
    return st.builds(np.ndarray.astype, hnp.arrays(np.int8, shape, elements=st.integers(0, 100)), st.sampled_from(dtypes))


def batch_of(n: int = 4, shape: tuple[int, ...] = (4, 5, 3), dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    """A batch whose elements say where they come from, each sample a class of its own."""
    places = np.arange(int(np.prod(shape))).reshape(shape)
    return np.stack([1000 * sample + places for sample in range(n)]).astype(dtype), np.eye(n, dtype=np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def test_the_public_names() -> None:
    assert loader.augment.__all__ == [
        "CenterCrop",
        "Compose",
        "CutMix",
        "GaussianNoise",
        "MixUp",
        "RandomBrightness",
        "RandomContrast",
        "RandomCrop",
        "RandomFlip",
    ]
    assert not set(loader.augment.__all__).intersection(loader.__all__)


# All of them


@pytest.mark.parametrize("transform", SAMPLE, ids=repr)
@given(x=samples((4, 5, 3)), seed=SEEDS)
def test_a_sample_keeps_shape_dtype_and_target_and_is_not_written_to(transform: Any, x: np.ndarray, seed: int) -> None:
    y = np.float32([0, 1])
    out, target = transform(read_only(x), y, rng(seed))
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    assert target is y
    again, _ = transform(read_only(x), None, rng(seed))
    assert np.array_equal(out, again)


@pytest.mark.parametrize("transform", BATCH, ids=repr)
@given(x=samples((4, 5, 3, 2)), seed=SEEDS, dtype=st.sampled_from(["float16", "float32", "float64"]))
def test_a_batch_keeps_shapes_and_dtypes_and_is_not_written_to(transform: Any, x: np.ndarray, seed: int, dtype: str) -> None:
    y = np.eye(4, 6, dtype=dtype)
    out, targets = transform(read_only(x), read_only(y), rng(seed))
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    assert (targets.shape, targets.dtype) == (y.shape, y.dtype)
    assert not np.shares_memory(out, x)
    again, same_targets = transform(read_only(x), read_only(y), rng(seed))
    assert np.array_equal(out, again)
    assert np.array_equal(targets, same_targets)


@pytest.mark.parametrize("transform", [*SAMPLE, *BATCH], ids=repr)
def test_other_random_numbers_give_another_result(transform: Any) -> None:
    x, y = batch_of(dtype="float64")
    x = x if transform in BATCH else x[0]
    results = {transform(x, y, rng(seed))[0].tobytes() for seed in range(50)}
    assert len(results) >= (2 if isinstance(transform, RandomFlip) else 5)


@pytest.mark.parametrize("transform", [*SAMPLE, *BATCH, CenterCrop((3, 3))], ids=repr)
def test_a_transform_survives_pickling_and_can_be_compared(transform: Any) -> None:
    x, y = batch_of()
    x = x if transform in BATCH else x[0]
    copy = pickle.loads(pickle.dumps(transform))  # noqa: S301  # our own bytes
    assert copy == transform
    assert hash(copy) == hash(transform)
    assert np.array_equal(copy(x, y, rng())[0], transform(x, y, rng())[0])


def test_transforms_with_other_arguments_are_not_equal() -> None:
    assert RandomFlip("horizontal") != RandomFlip("vertical")
    assert RandomCrop((3, 3)) != RandomCrop((3, 3), padding=1)
    assert Compose(GaussianNoise(1)) != Compose(GaussianNoise(2))


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: RandomFlip("left"), "mode must be one of 'horizontal', 'vertical', 'horizontal_and_vertical', got 'left'"),
    (lambda: RandomFlip([0]), "mode must be one of 'horizontal', 'vertical', 'horizontal_and_vertical', got [0]"),
    (lambda: RandomFlip(axes=0), "axes must be distinct integers such as (0, 1), got 0"),
    (lambda: RandomFlip(axes=()), "axes must be distinct integers such as (0, 1), got ()"),
    (lambda: RandomFlip(axes=(0, 0)), "axes must be distinct integers such as (0, 1), got (0, 0)"),
    (lambda: RandomFlip(axes=(0, True)), "axes must be distinct integers such as (0, 1), got (0, True)"),
    (lambda: RandomFlip(axes="01"), "axes must be distinct integers such as (0, 1), got '01'"),
    (lambda: RandomFlip("vertical", axes=(0,)), "mode and axes exclude each other, got 'vertical' and (0,)"),
    (lambda: RandomCrop(28), "shape must be positive integers such as (32, 32), got 28"),
    (lambda: RandomCrop((28, 0)), "shape must be positive integers such as (32, 32), got (28, 0)"),
    (lambda: RandomCrop((28, 2.0)), "shape must be positive integers such as (32, 32), got (28, 2.0)"),
    (lambda: CenterCrop(()), "shape must be positive integers such as (32, 32), got ()"),
    (lambda: RandomCrop((8, 8), padding=-1), "padding must be an integer from 0, or one for each axis of the window (8, 8), got -1"),
    (lambda: RandomCrop((8, 8), padding=(1,)), "padding must be an integer from 0, or one for each axis of the window (8, 8), got (1,)"),
    (
        lambda: RandomCrop((8, 8), padding=(1, -1)),
        "padding must be an integer from 0, or one for each axis of the window (8, 8), got (1, -1)",
    ),
    (lambda: GaussianNoise(-0.1), "stddev must be a number from 0, got -0.1"),
    (lambda: GaussianNoise(True), "stddev must be a number from 0, got True"),
    (lambda: GaussianNoise("1"), "stddev must be a number from 0, got '1'"),
    (lambda: GaussianNoise(float("nan")), "stddev must be a number from 0, got nan"),
    (lambda: RandomBrightness(1.5, value_range=(0, 1)), "factor must be a number from 0 to 1, or (lower, upper) from -1 to 1, got 1.5"),
    (lambda: RandomBrightness(-0.5, value_range=(0, 1)), "factor must be a number from 0 to 1, or (lower, upper) from -1 to 1, got -0.5"),
    (
        lambda: RandomBrightness((0.5, 0), value_range=(0, 1)),
        "factor must be a number from 0 to 1, or (lower, upper) from -1 to 1, got (0.5, 0)",
    ),
    (lambda: RandomBrightness(0.1, value_range=(1, 1)), "value_range must be (low, high) such as (0, 255), got (1, 1)"),
    (lambda: RandomBrightness(0.1, value_range=255), "value_range must be (low, high) such as (0, 255), got 255"),
    (lambda: RandomBrightness(0.1, value_range=(0, float("inf"))), "value_range must be (low, high) such as (0, 255), got (0, inf)"),
    (lambda: RandomContrast(-0.1, value_range=(0, 1)), "factor must be a number from 0 to 1, or two (lower, upper), got -0.1"),
    (lambda: RandomContrast((0.1, 2), value_range=(0, 1)), "factor must be a number from 0 to 1, or two (lower, upper), got (0.1, 2)"),
    (lambda: RandomContrast((0.1,), value_range=(0, 1)), "factor must be a number from 0 to 1, or two (lower, upper), got (0.1,)"),
    (lambda: RandomContrast(0.1, value_range=(0, "1")), "value_range must be (low, high) such as (0, 255), got (0, '1')"),
    (lambda: MixUp(0), "alpha must be a number above 0, got 0"),
    (lambda: MixUp(float("inf")), "alpha must be a number above 0, got inf"),
    (lambda: CutMix(-1), "alpha must be a number above 0, got -1"),
    (lambda: CutMix(10**400), f"alpha must be a number above 0, got {10**400}"),
    (lambda: CutMix(None), "alpha must be a number above 0, got None"),
    (lambda: Compose(RandomFlip), "transforms must be instances, got the class RandomFlip; write RandomFlip(...)"),
    (lambda: Compose([RandomFlip()]), f"transforms must be functions of (x, y, rng), got [{RandomFlip()!r}]"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message[:70] for _, message in BAD])
def test_a_bad_argument_is_refused_and_shown(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomFlip(axes=np.array([0, 1])),
        lambda: RandomCrop(np.array([8, 8]), padding=np.int64(2)),
        lambda: GaussianNoise(np.float32(0.5)),
        lambda: GaussianNoise(0),
        lambda: RandomBrightness(np.float16(0.5), value_range=np.array([0, 1])),
        lambda: MixUp(np.float64(3)),
    ],
)
def test_numbers_may_be_numpys(make: Callable[[], Any]) -> None:
    x, y = batch_of(2, (8, 8, 1))
    transform = make()
    hash(transform)
    transform(x if isinstance(transform, MixUp) else x[0], y, rng())


UNFIT: list[tuple[Any, tuple[int, ...], str, str]] = [
    (
        RandomFlip("vertical"),
        (2, 8, 8, 1),
        "float32",
        "mode 'vertical' flips samples of shape (height, width, channels), got shape (2, 8, 8, 1); use axes=",
    ),
    (
        RandomFlip(),
        (8,),
        "float32",
        "mode 'horizontal_and_vertical' flips samples of shape (height, width, channels), got shape (8,); use axes=",
    ),
    (RandomFlip(axes=(2,)), (8, 3), "uint8", "axes must be distinct axes of the sample, got (2,) for shape (8, 3)"),
    (RandomFlip(axes=(-3,)), (8, 3), "uint8", "axes must be distinct axes of the sample, got (-3,) for shape (8, 3)"),
    (RandomFlip(axes=(1, -1)), (8, 3), "uint8", "axes must be distinct axes of the sample, got (1, -1) for shape (8, 3)"),
    (RandomCrop((9, 8)), (8, 8, 3), "uint8", "shape must fit in the samples, got a window of (9, 8) for a sample of (8, 8, 3)"),
    (
        RandomCrop((9, 11), padding=1),
        (8, 8, 3),
        "uint8",
        "shape must fit in the samples, got a window of (9, 11) for a sample of (8, 8, 3) padded by (1, 1)",
    ),
    (RandomCrop((4, 4, 1)), (8, 8), "uint8", "shape must fit in the samples, got a window of (4, 4, 1) for a sample of (8, 8)"),
    (CenterCrop((4, 9)), (8, 8, 3), "uint8", "shape must fit in the samples, got a window of (4, 9) for a sample of (8, 8, 3)"),
    (GaussianNoise(1), (8, 8), "bool", "GaussianNoise needs samples of integers or floats, got bool"),
    (RandomBrightness(0.1, value_range=(0, 1)), (8, 8), "complex64", "RandomBrightness needs samples of integers or floats, got complex64"),
    (RandomContrast(0.1, value_range=(0, 1)), (8, 8, 1), "bool", "RandomContrast needs samples of integers or floats, got bool"),
    (
        RandomContrast(0.1, value_range=(0, 1)),
        (8, 8),
        "uint8",
        "RandomContrast needs samples of shape (height, width, channels), got shape (8, 8)",
    ),
]


@pytest.mark.parametrize(("transform", "shape", "dtype", "message"), UNFIT, ids=[message[:70] for *_, message in UNFIT])
def test_a_sample_that_does_not_fit_is_an_error_with_its_shape(transform: Any, shape: tuple[int, ...], dtype: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        transform(np.zeros(shape, dtype), None, rng())
    assert str(caught.value) == message


# Flips


@pytest.mark.parametrize(
    ("flip", "axes"),
    [
        (RandomFlip(), (0, 1)),
        (RandomFlip("horizontal_and_vertical"), (0, 1)),
        (RandomFlip("horizontal"), (1,)),
        (RandomFlip("vertical"), (0,)),
        (RandomFlip(axes=(-2,)), (1,)),
        (RandomFlip(axes=(0, 2)), (0, 2)),
    ],
    ids=repr,
)
def test_each_axis_is_flipped_by_itself_half_of_the_time(flip: RandomFlip, axes: tuple[int, ...]) -> None:
    x = np.arange(24).reshape(2, 4, 3)
    combinations = [tuple(axis for bit, axis in enumerate(axes) if number >> bit & 1) for number in range(2 ** len(axes))]
    expected = [np.flip(x, chosen).tobytes() for chosen in combinations]
    seen = [flip(x, None, rng(seed))[0].tobytes() for seed in range(2000)]
    assert set(seen) == set(expected)
    share = 1 / len(expected)
    for flipped in expected:
        assert abs(seen.count(flipped) / 2000 - share) < 5 * np.sqrt(share * (1 - share) / 2000)


@given(x=samples(VOLUMES, [*NUMBERS, "bool", "complex64"]), seed=SEEDS)
def test_to_flip_twice_in_the_same_way_is_to_do_nothing(x: np.ndarray, seed: int) -> None:
    flip = RandomFlip(axes=range(x.ndim))
    once, _ = flip(x, None, rng(seed))
    twice, _ = flip(once, None, rng(seed))
    assert np.array_equal(twice, x)
    assert twice.dtype == x.dtype


def test_a_grey_image_needs_no_axis_of_channels() -> None:
    x = np.arange(6).reshape(2, 3)
    flipped = {RandomFlip("horizontal")(x, None, rng(seed))[0].tobytes() for seed in range(20)}
    assert flipped == {x.tobytes(), x[:, ::-1].tobytes()}


# Crops


@given(shape=VOLUMES, axes=st.integers(1, 3), seed=SEEDS, data=st.data())
def test_a_crop_is_a_window_of_the_padded_sample(shape: tuple[int, ...], axes: int, seed: int, data: st.DataObject) -> None:
    x = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)
    padding = data.draw(st.tuples(*[st.integers(0, 7)] * axes))
    window = data.draw(st.tuples(*[st.integers(1, length + 2 * pad) for length, pad in zip(shape, padding, strict=False)]))
    out, _ = RandomCrop(window, padding=padding)(x, None, rng(seed))
    padded = np.pad(x, [(pad, pad) for pad in padding] + [(0, 0)] * (len(shape) - axes))
    windows = sliding_window_view(padded, (*window, *shape[axes:]))
    assert out.shape == windows.shape[-x.ndim :]
    assert (windows == out).reshape(-1, out.size).all(axis=1).any()


@pytest.mark.parametrize(("window", "padding", "places"), [((3, 2), 0, 2 * 4), ((4, 5), 1, 3 * 3), ((3, 5), (0, 2), 2 * 5), ((4, 5), 0, 1)])
def test_every_place_is_equally_likely(window: tuple[int, ...], padding: Any, places: int) -> None:
    x = np.arange(1, 61).reshape(4, 5, 3)
    crop = RandomCrop(window, padding=padding)
    _, counts = np.unique([crop(x, None, rng(seed))[0].tobytes() for seed in range(3000)], return_counts=True)
    assert len(counts) == places
    share = 1 / places
    assert np.abs(counts / 3000 - share).max() <= 5 * np.sqrt(share * (1 - share) / 3000)


@pytest.mark.parametrize(
    ("length", "window", "expected"),
    [(5, 3, [1, 2, 3]), (6, 3, [1, 2, 3]), (6, 2, [2, 3]), (4, 4, [0, 1, 2, 3]), (4, 1, [1])],
)
def test_the_middle_is_cut_out(length: int, window: int, expected: list[int]) -> None:
    x = np.arange(length)[:, None] + np.array([0, 100])
    out, y = CenterCrop((window,))(x, "y", rng())
    assert out[:, 0].tolist() == expected
    assert out[:, 1].tolist() == [100 + value for value in expected]
    assert y == "y"


@pytest.mark.parametrize("transform", [RandomFlip(), RandomCrop((3, 3)), CenterCrop((3, 3))], ids=repr)
def test_what_only_looks_at_a_part_copies_nothing(transform: Any) -> None:
    x = np.zeros((8, 8, 3))
    assert all(np.shares_memory(x, transform(x, None, rng(seed))[0]) for seed in range(10))


# Values


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int16", "int32", "int64", "uint8"])
@pytest.mark.parametrize("stddev", [3, 12.5])
def test_noise_has_its_mean_and_deviation_in_every_dtype(dtype: str, stddev: float) -> None:
    # In float32, 2**30 + 1 would be lost.
    level = 2**30 + 1 if dtype in {"float64", "int32", "int64"} else 100
    x = np.full((300, 300), level, dtype)
    noise = GaussianNoise(stddev)(x, None, rng())[0].astype(np.float64) - level
    assert abs(noise.mean()) < 5 * stddev / 300
    rounding = 1 / 12 if x.dtype.kind != "f" else 0
    assert abs(noise.std() / np.sqrt(stddev**2 + rounding) - 1) < 5 / np.sqrt(2 * noise.size) + 0.001
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 5 / 300


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"])
def test_integers_with_noise_stop_at_the_ends_of_their_range(dtype: str) -> None:
    info = np.iinfo(dtype)
    # 64 bits end at the last float64 before the limit.
    top = int(info.max) if info.bits < 64 else int(np.nextafter(float(info.max), 0))
    for end in (int(info.min), top):
        out, _ = GaussianNoise(float(info.max) / 10)(np.full(1000, end, dtype), None, rng())
        assert np.all(out > info.max // 2 if end == top else out < info.max // 2), "nothing wraps around"
        assert 400 < np.count_nonzero(out == end) < 600
    assert set(GaussianNoise(1e30)(np.ones(100, dtype), None, rng())[0].tolist()) == {int(info.min), top}


def test_no_noise_changes_nothing() -> None:
    x = np.arange(256, dtype=np.uint8)
    assert np.array_equal(GaussianNoise(0)(x, None, rng())[0], x)


def test_a_sample_may_be_a_single_number() -> None:
    out, _ = GaussianNoise(1)(np.array(5, np.uint8), None, rng())
    assert (out.shape, out.dtype) == ((), np.uint8)


@pytest.mark.parametrize(("factor", "low", "high"), [(0.2, -20, 20), ((-0.1, 0.3), -10, 30), ([0, 0.4], 0, 40), (0, 0, 0)])
def test_brightness_adds_one_evenly_distributed_number(factor: Any, low: float, high: float) -> None:
    x = np.float32([[40, 50], [55, 60]])
    bright = RandomBrightness(factor, value_range=(0, 100))
    added = np.array([bright(x, None, rng(seed))[0] - x for seed in range(2000)]).reshape(2000, 4)
    assert np.ptp(added, axis=1).max() < 1e-4
    assert low - 1e-4 <= added.min() <= low + (high - low) / 50
    assert high - (high - low) / 50 <= added.max() <= high + 1e-4
    assert abs(added[:, 0].mean() - (low + high) / 2) <= 5 * (high - low) / np.sqrt(12 * 2000) + 1e-6


@pytest.mark.parametrize(("factor", "expected"), [((1, 1), 250), ((-1, -1), 10), ((0.5, 0.5), 220), ((-0.25, -0.25), 40)])
def test_brightness_ends_at_its_range(factor: Any, expected: int) -> None:
    out, _ = RandomBrightness(factor, value_range=(10, 250))(np.full((2, 2), 100, np.uint8), None, rng())
    assert out.tolist() == [[expected] * 2] * 2


@pytest.mark.parametrize(("factor", "low", "high"), [(0.5, 0.5, 1.5), ((0.25, 0), 0.75, 1), ((0, 1), 1, 2), (0, 1, 1)])
def test_contrast_stretches_every_channel_about_its_own_mean(factor: Any, low: float, high: float) -> None:
    x = rng().uniform([10, 40, 70], [30, 60, 90], (6, 7, 3))
    contrast = RandomContrast(factor, value_range=(-100, 200))
    stretched = np.array([contrast(x, None, rng(seed))[0] for seed in range(500)])
    means = x.mean(axis=(0, 1))
    assert np.allclose(stretched.mean(axis=(1, 2)), means)
    ratios = (stretched - means) / (x - means)
    assert np.allclose(ratios, ratios[:, :1, :1, :1])
    assert low - 1e-9 <= ratios.min() <= low + (high - low) / 20
    assert high - (high - low) / 20 <= ratios.max() <= high + 1e-9


def test_contrast_ends_at_its_range_and_rounds() -> None:
    x = np.uint8([[[0], [10]], [[245], [255]]])
    out, _ = RandomContrast((0, 1), value_range=(5, 250))(x, None, rng())
    assert out.ravel().tolist() == [5, 5, 250, 250]
    half, _ = RandomContrast((1, 0), value_range=(0, 255))(np.uint8([[[0]], [[255]]]), None, rng(1))
    c = rng(1).uniform(0, 1)
    assert half.ravel().tolist() == [round(127.5 - 127.5 * c), round(127.5 + 127.5 * c)]


# Mixing


@pytest.mark.parametrize("mix", [MixUp(), CutMix()], ids=repr)
@pytest.mark.parametrize(
    ("y", "found"),
    [
        (None, "None"),
        (np.zeros(4, np.int32), "int32 of shape (4,)"),
        (np.zeros((4, 3), np.int32), "int32 of shape (4, 3)"),
        (np.zeros(4, np.float32), "float32 of shape (4,)"),
        (np.zeros((4, 2, 2), np.float32), "float32 of shape (4, 2, 2)"),
        (np.zeros((3, 2), np.float32), "float32 of shape (3, 2)"),
        ([[0.0, 1.0]] * 4, "[[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]"),
    ],
    ids=["none", "int", "int matrix", "flat", "cube", "short", "list"],
)
def test_targets_that_cannot_be_mixed_are_refused(mix: Any, y: Any, found: str) -> None:
    with pytest.raises(OptionError) as caught:
        mix(np.zeros((4, 5, 5, 3), np.float32), y, rng())
    assert str(caught.value) == (
        f"{type(mix).__name__} needs targets that can be mixed, floats of shape (4, n), got {found}; "
        "use label_mode='categorical', or 'binary' or 'multi_hot'"
    )


@pytest.mark.parametrize("mix", [MixUp(1), CutMix()], ids=repr)
@given(n=st.integers(1, 6), classes=st.integers(1, 5), seed=SEEDS)
def test_the_weights_of_a_samples_classes_add_up_to_one(mix: Any, n: int, classes: int, seed: int) -> None:
    y = np.eye(classes, dtype=np.float32)[rng(seed).integers(0, classes, n)]
    _, targets = mix(np.zeros((n, 4, 5, 1), np.float32), y, rng(seed))
    assert np.allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert targets.min() >= 0
    # Where a sample and its partner agree there is nothing to round.
    assert classes > 1 or np.all(targets == 1)


@pytest.mark.parametrize("mix", [MixUp(1), CutMix()], ids=repr)
@given(x=samples((3, 4, 2)), seed=SEEDS)
def test_to_mix_identical_samples_is_to_do_nothing(mix: Any, x: np.ndarray, seed: int) -> None:
    batch, y = np.stack([x] * 3), np.tile(np.float32([0.1, 0.7, 0.2]), (3, 1))
    out, targets = mix(batch, y, rng(seed))
    assert np.array_equal(out, batch)
    assert np.array_equal(targets, y)


@pytest.mark.parametrize("mix", [MixUp(1), CutMix()], ids=repr)
def test_a_batch_of_one_stays_as_it_is(mix: Any) -> None:
    x, y = batch_of(1)
    for seed in range(20):
        out, targets = mix(x, y, rng(seed))
        assert np.array_equal(out, x)
        assert np.array_equal(targets, y)


@pytest.mark.parametrize("mix", [MixUp(1), CutMix()], ids=repr)
def test_every_sample_is_equally_likely_as_partner(mix: Any) -> None:
    x, y = batch_of(4, (9, 9, 1))
    counts = np.zeros((4, 4))
    for seed in range(2000):
        # The diagonal holds what is left of the sample; its own partner leaves it at 1.
        targets = mix(x, y, rng(seed))[1]
        counts += (targets > 0) & ~np.eye(4, dtype=bool)
    unmixed = 0 if isinstance(mix, MixUp) else 0.02  # a box may be cut down to nothing
    off_diagonal = counts[~np.eye(4, dtype=bool)] / 2000
    assert off_diagonal.min() > 0.25 * (1 - unmixed) - 5 * np.sqrt(0.25 * 0.75 / 2000)
    assert off_diagonal.max() < 0.25 + 5 * np.sqrt(0.25 * 0.75 / 2000)


@given(seed=SEEDS, n=st.integers(1, 8))
def test_mixup_blends_samples_and_targets_alike(seed: int, n: int) -> None:
    y = np.eye(n, dtype=np.float32)
    out, targets = MixUp(1)(y.reshape(n, n, 1), y, rng(seed))
    assert np.array_equal(out[..., 0], targets)
    assert np.all((targets > 0).sum(axis=1) <= 2)


@pytest.mark.parametrize("alpha", [0.2, 1, 5])
def test_lambda_is_of_the_beta_distribution_and_each_samples_own(alpha: float) -> None:
    n, draws = 50, 100
    x, y = np.zeros((n, 1)), np.eye(n)
    shares = np.concatenate([np.diag(MixUp(alpha)(x, y, rng(seed))[1]) for seed in range(draws)])
    shares = shares[shares < 1]
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(shares.mean() - 0.5) < 5 * np.sqrt(variance / shares.size)
    assert abs(shares.var() / variance - 1) < 0.08
    assert np.unique(shares.round(9)).size > 0.9 * shares.size or alpha < 1


@pytest.mark.parametrize("alpha", [1e-6, 1e-300, 1e6])
def test_an_extreme_alpha_is_no_trouble(alpha: float) -> None:
    x, y = batch_of(6)
    for mix in (MixUp(alpha), CutMix(alpha)):
        _, targets = mix(x, y, rng())
        assert np.all((targets >= 0) & (targets <= 1))


@given(x=samples((5, 4, 3), ["uint8", "int8", "uint16", "int16", "int32", "int64", "uint64"]), seed=SEEDS)
def test_integers_are_blended_as_floats_and_rounded(x: np.ndarray, seed: int) -> None:
    y = np.eye(5, dtype=np.float32)
    out, targets = MixUp(1)(x, y, rng(seed))
    exact, same_targets = MixUp(1)(x.astype(np.float64), y, rng(seed))
    assert np.array_equal(targets, same_targets)
    assert np.abs(out - exact).max() <= 0.5 + 1e-4


def test_bytes_do_not_wrap_around_when_blended() -> None:
    x = np.array([[0], [255]], np.uint8)
    for seed in range(100):
        out, targets = MixUp(1)(x, np.eye(2, dtype=np.float32), rng(seed))
        assert np.abs(out[:, 0] - 255 * targets[:, 1]).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("dtype", ["bool", "complex64"])
def test_mixup_takes_numbers_only_and_cutmix_anything(dtype: str) -> None:
    x, y = batch_of(dtype=dtype)
    with pytest.raises(OptionError, match=f"MixUp needs samples of integers or floats, got {dtype}"):
        MixUp()(x, y, rng())
    assert CutMix()(x, y, rng())[0].dtype == x.dtype


@pytest.mark.parametrize("shape", [(8,), (8, 3), (8, 0, 4, 1), (8, 4, 4, 0)])
def test_cutmix_needs_something_to_cut(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError) as caught:
        CutMix()(np.zeros(shape), np.zeros((8, 2)), rng())
    assert str(caught.value) == f"CutMix needs batches of shape (batch, height, width, channels), got shape {shape}"


@given(
    spatial=hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=9),
    channels=st.integers(1, 2),
    n=st.integers(2, 5),
    seed=SEEDS,
    alpha=st.sampled_from([0.2, 1, 5]),
)
def test_cutmix_pastes_one_box_and_counts_it(spatial: tuple[int, ...], channels: int, n: int, seed: int, alpha: float) -> None:
    assume(np.prod(spatial) * channels <= 1000)
    x, y = batch_of(n, (*spatial, channels), "float64")
    out, targets = CutMix(alpha)(x, y, rng(seed))
    assert np.array_equal(out % 1000, x % 1000), "what is pasted comes from the same place"
    owner = out // 1000
    for i in range(n):
        pasted = owner[i] != i
        assert np.all(pasted == pasted[..., :1]), "all channels or none"
        corners = [np.flatnonzero(pasted.any(axis=tuple(j for j in range(pasted.ndim) if j != axis))) for axis in range(len(spatial))]
        box = np.zeros_like(pasted)
        if pasted.any():
            box[tuple(slice(c[0], c[-1] + 1) for c in corners)] = True
        assert np.array_equal(pasted, box)
        share = np.float32(np.count_nonzero(pasted) / pasted.size)
        expected = np.zeros(n, np.float32)
        expected[int(owner[i][pasted][0]) if pasted.any() else i] = share
        expected[i] = 1 - share
        assert np.array_equal(targets[i], expected)


@pytest.mark.parametrize(
    ("spatial", "expected"),
    [((300,), 1 / 2 - 1 / 12), ((48, 96), 1 / 2 - 1 / 5 + 1 / 48), ((16, 16, 16), 1 / 2 - 9 / 28 + 9 / 128 - 1 / 192)],
)
def test_the_box_of_cutmix_has_the_papers_area(spatial: tuple[int, ...], expected: float) -> None:
    """At alpha 1 the area is even in [0, 1]; of a side s about a random centre, s - s**2 / 4 stays inside on average."""
    n = 20
    x, y = np.zeros((n, *spatial, 1), np.uint8), np.eye(n)
    kept = np.concatenate([np.diag(CutMix()(x, y, rng(seed))[1]) for seed in range(150)])
    # A sample is its own partner once in n times, and whole then.
    assert abs((1 - kept).mean() - expected * (1 - 1 / n)) < 0.02


def test_each_sample_has_a_box_of_its_own() -> None:
    x, y = batch_of(20, (20, 20, 1), "int64")
    out, _ = CutMix(1e6)(x, y, rng())
    pasted = out // 1000 != np.arange(20).reshape(-1, 1, 1, 1)
    assert len({box.tobytes() for box in pasted}) > 10


def test_boxes_lie_everywhere_in_the_proportions_of_the_sample() -> None:
    x, y = batch_of(2, (10, 30, 1))
    covered = np.zeros((10, 30))
    sides = []
    for seed in range(2000):
        pasted = CutMix(5)(x, y, rng(seed))[0][0, ..., 0] >= 1000
        covered += pasted
        if pasted.any() and not (pasted[0].any() or pasted[-1].any() or pasted[:, 0].any() or pasted[:, -1].any()):
            sides.append((pasted.any(axis=1).sum() + 0.5, pasted.any(axis=0).sum() + 0.5))
    # Not cut at an edge: whole sides, but for rounding down.
    height, width = np.mean(sides, axis=0)
    assert abs(width / height / 3 - 1) < 0.05
    # As often in one half as in the other, and most often in the middle.
    assert abs(covered / covered[::-1, ::-1] - 1).max() < 0.5
    assert abs(covered[:, :15].sum() / covered[:, 15:].sum() - 1) < 0.1
    assert abs(covered[:5].sum() / covered[5:].sum() - 1) < 0.1
    assert covered.min() > 50
    assert covered[5, 15] > 2 * covered[0, 0]


# Several


def add_draw(x: np.ndarray, y: Any, generator: np.random.Generator) -> tuple[np.ndarray, Any]:
    return x + generator.random(), y


def test_transforms_are_applied_in_turn_with_one_generator() -> None:
    def double(x: np.ndarray, y: Any, generator: np.random.Generator) -> tuple[np.ndarray, Any]:
        return 2 * x, [*y, generator]

    generator = rng()
    out, y = Compose(add_draw, double, add_draw, double)(np.zeros(1), [], generator)
    first, second = rng().random(2)
    assert out == pytest.approx([2 * (2 * first + second)])
    assert len(y) == 2
    assert all(seen is generator for seen in y)


def test_one_more_transform_at_the_end_leaves_the_others_draws_alone() -> None:
    x, y = np.zeros((4, 4, 1)), None
    noise, _ = Compose(GaussianNoise(1))(x, y, rng())
    flipped, _ = Compose(GaussianNoise(1), RandomFlip())(x, y, rng())
    assert np.array_equal(np.sort(noise, axis=None), np.sort(flipped, axis=None))


def test_nothing_composed_does_nothing() -> None:
    x = np.zeros(3)
    assert Compose()(x, None, rng()) == (x, None)


@pytest.mark.parametrize(("result", "found"), [(np.zeros((2, 3)), "ndarray"), (None, "NoneType"), ((1, 2, 3), "tuple"), ([1, 2], "list")])
def test_a_transform_that_returns_no_pair_is_named(result: Any, found: str) -> None:
    def crooked(x: np.ndarray, y: Any, generator: np.random.Generator) -> Any:
        return result

    with pytest.raises(OptionError, match=rf"a transform must return the tuple \(x, y\), got {found} from <function .*crooked"):
        Compose(RandomFlip(axes=(0,)), crooked)(np.zeros((2, 3)), None, rng())

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import BatchIndexError, OptionError
from loader.feed.order import MAX_SAMPLES, batch_positions, permuted

ANY_SEED = st.integers(min_value=-(2**130), max_value=2**130)


def whole_pass(n: int, *, seed: int = 0, pass_: int = 0) -> np.ndarray:
    return permuted(np.arange(n, dtype=np.int64), n, seed=seed, pass_=pass_)


def chi_square_z(counts: np.ndarray) -> float:
    """How many standard deviations the chi-square statistic of equally likely cells is above its mean."""
    expected = counts.mean()
    degrees = counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - degrees) / np.sqrt(2 * degrees))


@given(n=st.integers(1, 3000), seed=ANY_SEED, pass_=st.integers(0, 10**6))
def test_a_shuffled_pass_is_a_permutation(n: int, seed: int, pass_: int) -> None:
    assert np.array_equal(np.sort(whole_pass(n, seed=seed, pass_=pass_)), np.arange(n))


@pytest.mark.parametrize("n", [*range(1, 70), 1023, 1024, 1025, 99_999])
def test_every_small_n_is_a_permutation_too(n: int) -> None:
    assert np.array_equal(np.sort(whole_pass(n)), np.arange(n))


@given(n=st.integers(1, 5000), batch_size=st.integers(1, 2500), seed=st.integers(-5, 5), pass_=st.integers(0, 3), shuffle=st.booleans())
def test_batches_cover_a_pass_once_in_its_order(n: int, batch_size: int, seed: int, pass_: int, *, shuffle: bool) -> None:
    batches = [batch_positions(n, batch_size, i, seed=seed, pass_=pass_, shuffle=shuffle) for i in range(-(-n // batch_size))]
    assert all(len(batch) == batch_size for batch in batches[:-1])
    joined = np.concatenate(batches)
    assert joined.dtype == np.int64
    assert np.array_equal(joined, whole_pass(n, seed=seed, pass_=pass_) if shuffle else np.arange(n))


@pytest.mark.parametrize(
    ("n", "seed", "pass_", "golden"),
    [
        (1, 0, 0, [0]),
        (2, 0, 0, [1, 0]),
        (3, 1, 0, [2, 1, 0]),
        (7, 0, 1, [0, 5, 4, 1, 6, 2, 3]),
        (10, 0, 0, [2, 5, 7, 1, 3, 8, 4, 0]),
        (10, -1, 0, [4, 2, 1, 3, 0, 5, 7, 8]),
        (10, 1180591620717411303424, 3, [8, 7, 9, 3, 6, 5, 4, 2]),
        (100, 42, 7, [96, 46, 61, 71, 2, 16, 92, 9]),
        (1797, 0, 0, [602, 507, 174, 1140, 272, 1363, 1678, 1734]),
        (1000000, 0, 0, [276801, 18038, 461672, 716595, 504614, 221941, 662470, 662119]),
        (1000000000, 0, 0, [343146591, 848239080, 453624964, 131231670, 946849508, 995912244, 866830392, 101960718]),
        (1000000000, 123456789, 1000, [948308154, 594457994, 845791842, 722358925, 291228547, 513178348, 919265341, 575874139]),
        (
            281474976710656,
            0,
            0,
            [
                32484277407461,
                71894945400514,
                198277011457999,
                238441670218508,
                179301352809453,
                33029524899557,
                235720897736893,
                207974197134603,
            ],
        ),
    ],
)
def test_an_order_never_changes(n: int, seed: int, pass_: int, golden: list[int]) -> None:
    """A seed's meaning is a promise: whoever sees this fail has broken every recorded experiment."""
    assert permuted(np.arange(min(n, 8), dtype=np.int64), n, seed=seed, pass_=pass_).tolist() == golden


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7])
def test_all_orders_of_a_few_samples_are_equally_frequent(n: int) -> None:
    factorial = int(np.prod(range(1, n + 1)))
    # An order as a number: its positions as digits of base n.
    digits = n ** np.arange(n)
    orders = [int(whole_pass(n, seed=seed) @ digits) for seed in range(6 * factorial + 1000)]
    _, seen = np.unique(orders, return_counts=True)
    assert abs(chi_square_z(np.append(seen, np.zeros(factorial - len(seen))))) < 4.5


@pytest.mark.parametrize("n", [9, 10, 25, 97, 100])
def test_every_sample_is_equally_likely_at_every_position(n: int) -> None:
    counts = np.zeros((n, n))
    for seed in range(100 * n // 5):
        counts[np.arange(n), whole_pass(n, seed=seed)] += 1
    # Each row and each column adds up to the number of seeds, so there are (n - 1) ** 2 degrees of freedom.
    expected = counts.mean()
    degrees = (n - 1) ** 2
    assert abs((((counts - expected) ** 2 / expected).sum() - degrees) / np.sqrt(2 * degrees)) < 4.5


@pytest.mark.parametrize("n", [100_003, 10**6, 10**9])
def test_successive_pairs_are_spread_evenly(n: int) -> None:
    cells = 40
    values = permuted(np.arange(min(n, 200_000), dtype=np.int64), n, seed=1, pass_=2) * cells // n
    pairs = np.bincount(values[:-1] * cells + values[1:], minlength=cells * cells)
    assert chi_square_z(pairs) < 4.5
    # A shuffled pass is not even better than even: a whole pass fills its cells exactly, its pairs by chance.
    assert n == 100_003 or chi_square_z(pairs) > -4.5


@pytest.mark.parametrize("lag", [1, 2, 3, 64])
def test_steps_between_neighbours_take_every_size_and_sign_alike(lag: int) -> None:
    n, cells = 100_000, 50
    values = whole_pass(n, seed=3)
    steps = (values[lag:] - values[:-lag]) % n * cells // n
    assert abs(chi_square_z(np.bincount(steps, minlength=cells))) < 4.5


@pytest.mark.parametrize(
    ("one", "other"),
    [((0, 0), (1, 0)), ((0, 0), (0, 1)), ((0, 1), (1, 0)), ((5, 0), (-5, 0)), ((0, 0), (2**64, 0)), ((1, 0), (2**64 + 1, 0))],
)
def test_other_seeds_and_passes_give_unrelated_orders(one: tuple[int, int], other: tuple[int, int]) -> None:
    n, cells = 100_000, 40
    first, second = (whole_pass(n, seed=seed, pass_=pass_) for seed, pass_ in (one, other))
    # The number of samples at one place in both is Poisson with mean 1.
    assert np.count_nonzero(first == second) <= 8
    joint = np.bincount(first * cells // n * cells + second * cells // n, minlength=cells * cells)
    assert abs(chi_square_z(joint)) < 5
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(n)


def test_memory_does_not_grow_with_n() -> None:
    def peak(n: int) -> int:
        batch_positions(n, 64, 0, seed=0, pass_=0, shuffle=True)  # NumPy's own first-time memory
        tracemalloc.start()
        for batch in (1, n // 64 // 2, n // 64 - 1):
            batch_positions(n, 64, batch, seed=9, pass_=0, shuffle=True)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(10**9) < 2 * peak(10**5) + 50_000 < 500_000


@pytest.mark.parametrize(("n", "batch_size", "batch"), [(10, 3, 4), (10, 3, -1), (10, 5, 2), (0, 5, 0)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_there_is_no_batch_beyond_the_pass(n: int, batch_size: int, batch: int, *, shuffle: bool) -> None:
    with pytest.raises(BatchIndexError, match=f"no batch {batch}; {n} samples"):
        batch_positions(n, batch_size, batch, seed=0, pass_=0, shuffle=shuffle)


def test_too_many_samples_are_refused_and_the_most_that_are_taken_work() -> None:
    with pytest.raises(OptionError, match="at most 281474976710656 samples can be shuffled"):
        batch_positions(MAX_SAMPLES + 1, 64, 0, seed=0, pass_=0, shuffle=True)
    last = batch_positions(MAX_SAMPLES, 64, MAX_SAMPLES // 64 - 1, seed=0, pass_=0, shuffle=True)
    assert len(set(last.tolist())) == 64
    assert 0 <= last.min() <= last.max() < MAX_SAMPLES


def test_what_is_returned_is_the_callers_own() -> None:
    first = batch_positions(10, 10, 0, seed=0, pass_=0, shuffle=True)
    kept = first.copy()
    first[:] = -1
    assert np.array_equal(batch_positions(10, 10, 0, seed=0, pass_=0, shuffle=True), kept)


def test_seeds_may_be_numpy_integers() -> None:
    assert np.array_equal(whole_pass(50, seed=np.int32(7)), whole_pass(50, seed=7))

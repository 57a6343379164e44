"""The order of a pass: a permutation in constant memory, evaluated only where it is asked for.

A shuffled pass is a keyed bijection on 0..n-1: a Feistel network over Z_a x Z_b with modular addition, and cycle-walking
for the few values that a * b has beyond n (J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002,
methods 2 and 3). Its round function is the finaliser of SplitMix64 (G. Steele, D. Lea and C. Flood, "Fast Splittable
Pseudorandom Number Generators", OOPSLA 2014, with D. Stafford's constants "Mix13"), its round keys come from SHAKE-256.

Changing anything here changes what every user's seed means.
"""

from __future__ import annotations

import hashlib
import math
import operator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from loader.errors import BatchIndexError, OptionError

IntArray = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]

MAX_SAMPLES = 1 << 48
"""Up to here the network's halves have at most 24 bits, so that choosing by 32 random bits stays even."""

# With 16 rounds all orders of up to 7 samples are equally frequent as far as a chi-square test can tell; 10 are too few.
_ROUNDS = 16

# A call costs the same for 1 position as for several hundred, and one batch after the other is the rule.
_BLOCK = 512
_CACHED_BLOCKS = 2048


def _word(value: int) -> _Words:
    """Return a constant as an array of no axes, with which NumPy computes faster than with a scalar."""
    return np.array(value, dtype=np.uint64)


_SHIFT_27, _SHIFT_30, _SHIFT_32 = _word(27), _word(30), _word(32)
_MIX_1 = _word(0xBF58476D1CE4E5B9)
_MIX_2 = _word(0x94D049BB133111EB)


def batch_positions(n: int, batch_size: int, batch: int, *, seed: int, pass_: int, shuffle: bool) -> IntArray:
    """Return the positions of one batch's samples.

    A pure function of its arguments: nothing of it depends on earlier calls or on global random state.

    Args:
        n: number of samples, at most 2**48.
        batch_size: samples in a batch.
        batch: number of the batch within the pass, from 0.
        seed: any integer.
        pass_: number of the pass, from 0.
        shuffle: the permutation of (n, seed, pass_) instead of 0, 1, ..., n - 1.

    Returns:
        int64, shape (batch_size,), or fewer in a pass's last batch; each in 0..n-1.

    Raises:
        BatchIndexError: the pass has no such batch.
        OptionError: n is too large.
    """
    batches = -(-n // batch_size)
    if not 0 <= batch < batches:
        raise BatchIndexError(f"no batch {batch}; {n} samples in batches of {batch_size} are batches 0 to {batches - 1}")
    start = batch * batch_size
    stop = min(start + batch_size, n)
    if not shuffle:
        return np.arange(start, stop, dtype=np.int64)
    if n > MAX_SAMPLES:
        raise OptionError(f"at most {MAX_SAMPLES} samples can be shuffled, got {n}")
    seed, pass_ = operator.index(seed), operator.index(pass_)
    first, last = start // _BLOCK, (stop - 1) // _BLOCK
    blocks = [_block(n, seed, pass_, number) for number in range(first, last + 1)]
    offset = first * _BLOCK
    return np.concatenate(blocks)[start - offset : stop - offset]


@lru_cache(maxsize=_CACHED_BLOCKS)
def _block(n: int, seed: int, pass_: int, number: int) -> IntArray:
    """Return the order's values at positions number * _BLOCK onwards; the cache holds 8 MB at most."""
    start = number * _BLOCK
    values = permuted(np.arange(start, min(start + _BLOCK, n), dtype=np.int64), n, seed=seed, pass_=pass_)
    values.flags.writeable = False
    return values


def permuted(positions: IntArray, n: int, *, seed: int, pass_: int) -> IntArray:
    """Return where the permutation of (n, seed, pass_) sends each position.

    Args:
        positions: int64, shape (k,), each in 0..n-1.
        n: number of samples, from 1 to 2**48.
        seed: any integer.
        pass_: number of the pass.

    Returns:
        int64, shape (k,), each in 0..n-1; distinct for distinct positions.
    """
    # An even first half lets the network reach odd permutations too; with two odd halves every round is an even one.
    a = math.isqrt(n - 1) + 1
    a += a % 2
    b = -(-n // a)
    keys = _round_keys(n, seed, pass_)
    values = _network(positions.astype(np.uint64), a, b, keys)
    # Fewer than `a` of the network's a * b values lie beyond n. Following them on until they come back in is a
    # bijection on the rest, and it ends because each of them lies on a cycle with the position it came from.
    while (outside := np.flatnonzero(values >= n)).size:
        values[outside] = _network(values[outside], a, b, keys)
    return values.astype(np.int64)


def _round_keys(n: int, seed: int, pass_: int) -> _Words:
    """Derive one 64-bit key a round; integers of any size and sign have their own keys, none is folded on another."""
    digest = hashlib.shake_256(f"shardfeed order 1: {n:x} {seed:x} {pass_:x}".encode()).digest(8 * _ROUNDS)
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def _network(values: _Words, a: int, b: int, keys: _Words) -> _Words:
    """Apply the Feistel network: a bijection on 0..a*b-1.

    Args:
        values: uint64, shape (k,).
        a: size of the first half.
        b: size of the second half.
        keys: uint64, shape (rounds,).

    Returns:
        uint64, shape (k,).
    """
    first, second = np.divmod(values, np.uint64(b))
    mixed, scratch = np.empty_like(values), np.empty_like(values)
    target, source, size, other = first, second, _word(a), _word(b)
    for round_ in range(len(keys)):
        np.add(source, keys[round_, ...], out=mixed)  # the ellipsis keeps the key an array, see `_word`
        _mix(mixed, scratch)
        # The upper 32 bits as a fraction of 2**32, times the half's size.
        np.right_shift(mixed, _SHIFT_32, out=mixed)
        np.multiply(mixed, size, out=mixed)
        np.right_shift(mixed, _SHIFT_32, out=mixed)
        np.add(target, mixed, out=target)
        # Modulo `size` of a sum below 2 * size: the difference wraps to a huge number unless it is wanted.
        np.subtract(target, size, out=scratch)
        np.minimum(target, scratch, out=target)
        target, source, size, other = source, target, other, size
    return first * np.uint64(b) + second


def _mix(words: _Words, scratch: _Words) -> None:
    """Apply SplitMix64's finaliser in place, without its last step, which would leave bits 33 to 63 as they are."""
    np.right_shift(words, _SHIFT_30, out=scratch)
    np.bitwise_xor(words, scratch, out=words)
    np.multiply(words, _MIX_1, out=words)
    np.right_shift(words, _SHIFT_27, out=scratch)
    np.bitwise_xor(words, scratch, out=words)
    np.multiply(words, _MIX_2, out=words)

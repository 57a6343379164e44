"""The assignment of splits: stratified by label, whole groups only, and never changed by new data."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from manifests.rows import arrow
from manifests.rows.buffers import coded_array, codes_of, mask_array, number_array
from manifests.rows.table import as_column, distinct, in_one_piece, is_in
from prep.errors import SourceError
from prep.splits.keyed_order import KeyedHash, in_order_of_draw
from prep.splits.spec import SplitSpec
from prep.text import counted, shown

if TYPE_CHECKING:
    import pyarrow as pa

IntArray: TypeAlias = npt.NDArray[np.int64]
CodeArray: TypeAlias = npt.NDArray[np.int32]
Strings: TypeAlias = "pa.ChunkedArray | Sequence[str]"

_UNASSIGNED = -1
"""In the place of a split's number."""

_TORN_BEFORE = (
    "IDs keep their split, and these groups have members in several: they were assigned when they were no groups. "
    "Pass another --seed with --split (or --folds) to assign every ID anew by groups, or leave the groups out"
)


class Coded(NamedTuple):
    """A column of few values.

    Attributes:
        codes: which of the values each row has: int32, shape (n,).
        values: distinct ones, of which some may be no row's.
    """

    codes: CodeArray
    values: list[str]

    @classmethod
    def of(cls, column: Strings) -> Coded:
        """Take strings."""
        return cls(*codes_of(as_column(column).dictionary_encode()))


class _Unit(NamedTuple):
    """What is assigned as one: a group, or an ID that stands alone.

    Attributes:
        order: where the draw takes it: keyed hash, and what keeps a group and an ID of one name apart.
        counts: stratum -> how many of its IDs are members.
        members: where its rows stand, in the order in which groups lie together.
    """

    order: tuple[bytes, bool]
    counts: Mapping[str, int]
    members: slice


def assign_splits(
    ids: Strings,
    strata: Strings,
    spec: SplitSpec,
    kept: Strings = (),
    *,
    groups: Strings = (),
    kept_groups: Mapping[str, str] | None = None,
) -> pa.ChunkedArray:
    """Assign every ID a split; the IDs of one group get the same.

    Without groups, each stratum's counts come within one of its share, and what remains of rounding goes where the whole
    dataset is furthest below quota, so that many small strata do not all round to the same split; a class of one sample
    goes to the largest split as long as that is short of samples. Within a stratum, IDs are taken in the order of a keyed
    hash: the assignment depends on the IDs, the strata, the groups and the seed, not on the order of rows.

    With groups, the same quotas hold (integers of IDs per stratum and split, each within one of its share), and:

    - A stratum is said to have enough when every split's quota is at least its largest group's size `s`, and all its
      groups lie within it. Of such a stratum, drawn anew, each split ends less than `s` IDs from its quota. For a group
      goes to a split that lacks at least its size, or else to the one that lacks most, `m`. The sum of what splits lack
      is what remains to be placed, so `m` > 0 and no split ends `s` or more above its quota. Let a split end `d` below.
      It lacked at least `d` all along, so whichever split went over its quota lacked `m` >= `d` before, and ended at most
      `s - d` above. What is lacking and what is over add up to the same, over at most `k - 1` of `k` splits:
      `d` <= (k - 1)(s - d), so `d` <= s(k - 1)/k < s.
    - A stratum that has not enough gives what fits nowhere to the split that is furthest behind over all that was placed
      so far, and its first group to the largest split as long as that is behind: no bound holds for it alone.
    - A group that has IDs of several strata is placed where the sum of squares of what its strata lack, each relative to
      its stratum, becomes least. No bound holds for these strata: a single group can be any share of several at once.

    A group of which members have a split already goes there whatever that does to the proportions; groups of one ID
    each give the same as no groups.

    Args:
        ids: distinct names.
        strata: one label per ID; each distinct one is split on its own.
        spec: shares and seed.
        kept: the split that each ID has already and keeps, whatever that does to the proportions, or an empty string; none at all if no
            ID has one.
        groups: one per ID, empty for an ID that stands alone; none at all if every ID does.
        kept_groups: group -> split, of groups whose members with a split are not among the IDs.

    Returns:
        One split per ID, in the order of `ids`.

    Raises:
        SourceError: a group's members have different splits already; each such group is listed.
    """
    names, ids = list(spec.fractions), in_one_piece(as_column(ids))
    strata, groups = Coded.of(strata), Coded.of(groups)
    assigned = _assigned_before(kept, names, len(ids))
    if any(groups.values):
        of_groups = _splits_of_groups(groups, Coded(assigned, names), _TORN_BEFORE, kept_groups or {})[groups.codes]
        assigned[of_groups >= 0] = of_groups[of_groups >= 0]
    sizes = dict(zip(strata.values, np.bincount(strata.codes, minlength=len(strata.values)).tolist(), strict=True))
    quotas = _quotas(sizes, spec.fractions)
    lacking = _lacking(quotas, strata, assigned)
    if any(groups.values):
        _assign_units(ids, strata, groups, spec, assigned, sizes=sizes, quotas=quotas, lacking=lacking)
    else:
        _assign_alone(ids, strata, spec, assigned, lacking=lacking)
    return arrow.pa.chunked_array([coded_array(assigned, names)])


def _assigned_before(kept: Strings, names: Sequence[str], count: int) -> CodeArray:
    """Return which of the splits each ID has already: int32, shape (count,); `_UNASSIGNED` for none of them."""
    if not len(kept):
        return np.full(count, _UNASSIGNED, dtype=np.int32)
    before = Coded.of(kept)
    return np.array([names.index(name) if name in names else _UNASSIGNED for name in before.values], dtype=np.int32)[before.codes]


def _lacking(quotas: Mapping[str, Mapping[str, int]], strata: Coded, assigned: CodeArray) -> dict[str, dict[str, int]]:
    """Return stratum -> split -> how many IDs it still has to get."""
    splits = len(next(iter(quotas.values()), ()))
    has_split = assigned >= 0
    pairs = strata.codes[has_split] * np.int64(splits) + assigned[has_split]
    there = np.bincount(pairs, minlength=len(strata.values) * splits).reshape(len(strata.values), splits)
    return {
        stratum: {name: quota - count for (name, quota), count in zip(quotas[stratum].items(), counts, strict=True)}
        for stratum, counts in zip(strata.values, there.tolist(), strict=True)
    }


def _assign_alone(ids: pa.Array, strata: Coded, spec: SplitSpec, assigned: CodeArray, *, lacking: Mapping[str, dict[str, int]]) -> None:
    """Assign IDs of which none belongs to a group, in place, where they are not yet: right for groups of one, in less time and memory."""
    weights = _weights(spec.fractions)
    code = {name: number for number, name in enumerate(weights)}
    for rows in _together(strata.codes, np.argsort(strata.codes, kind="stable")):
        missing = lacking[strata.values[strata.codes[rows[0]]]]
        drawn = in_order_of_draw(ids, rows[assigned[rows] < 0], spec.seed)
        for start in range(0, len(drawn), arrow.ROWS_AT_ONCE):
            some = drawn[start : start + arrow.ROWS_AT_ONCE]
            chosen = []
            for _ in range(len(some)):
                name = _furthest_below(missing, weights)
                chosen.append(code[name])
                missing[name] -= 1
            assigned[some] = chosen


def _together(codes: CodeArray, order: IntArray) -> Iterator[IntArray]:
    """Yield positions, which are in the order of their codes, of one code at a time."""
    ends = np.flatnonzero(np.diff(codes[order])) + 1
    for start, stop in pairwise([0, *ends.tolist(), len(order)]):
        if stop > start:
            yield order[start:stop]


def _furthest_below(missing: Mapping[str, int], weights: Mapping[str, int]) -> str:
    """Return the split that is furthest below quota in proportion, so that every split fills evenly along the order of the draw."""
    return max(weights, key=lambda name: missing[name] * weights[name])


class _Placing:
    """Places units one after the other, and keeps count of what each stratum lacks."""

    def __init__(
        self,
        fractions: Mapping[str, Fraction],
        *,
        sizes: Mapping[str, int],
        quotas: Mapping[str, Mapping[str, int]],
        lacking: dict[str, dict[str, int]],
        units: Sequence[_Unit],
        placed: Mapping[str, int],
    ) -> None:
        self._fractions, self._sizes, self._lacking = fractions, sizes, lacking
        self._weights = _weights(fractions)
        self._largest = max(fractions, key=fractions.__getitem__)
        self._placed = Counter(placed)
        self._units = units
        greatest: Counter[str] = Counter()
        for unit in units:
            for stratum, count in unit.counts.items():
                greatest[stratum] = max(greatest[stratum], count)
        self._enough = {stratum: min(quotas[stratum].values()) >= greatest[stratum] for stratum in quotas}
        self._without_largest = {stratum for stratum, quota in quotas.items() if lacking[stratum][self._largest] == quota[self._largest]}

    def in_order(self) -> list[_Unit]:
        """Return the units as they are to be placed: those of several strata first, those that mend the proportions last."""

        def rank(unit: _Unit) -> tuple[int, str, tuple[bytes, bool]]:
            if len(unit.counts) > 1:
                return 0, "", unit.order
            stratum = next(iter(unit.counts))
            return 1 if self._enough[stratum] else 2, stratum, unit.order

        return sorted(self._units, key=rank)

    def place(self, unit: _Unit) -> str:
        """Choose a unit's split and count it in."""
        name = self._choose(unit)
        for stratum, count in unit.counts.items():
            self._lacking[stratum][name] -= count
            if name == self._largest:
                self._without_largest.discard(stratum)
        self._placed[name] += sum(unit.counts.values())
        return name

    def _choose(self, unit: _Unit) -> str:
        counts = unit.counts
        fitting = {
            name: weight
            for name, weight in self._weights.items()
            if all(self._lacking[stratum][name] >= count for stratum, count in counts.items())
        }
        if len(counts) > 1:
            among = fitting or self._fractions
            return max(among, key=lambda name: sum(Fraction(c * self._lacking[s][name], self._sizes[s]) for s, c in counts.items()))
        ((stratum, size),) = counts.items()
        missing = self._lacking[stratum]
        if fitting:
            return _furthest_below(missing, fitting)
        if self._enough[stratum]:
            return max(self._fractions, key=missing.__getitem__)
        total = sum(self._placed.values()) + size
        behind = {name: share * total - self._placed[name] for name, share in self._fractions.items()}
        if stratum in self._without_largest and behind[self._largest] > 0:
            return self._largest
        return max(behind, key=behind.__getitem__)


def _assign_units(
    ids: pa.Array,
    strata: Coded,
    groups: Coded,
    spec: SplitSpec,
    assigned: CodeArray,
    *,
    sizes: Mapping[str, int],
    quotas: Mapping[str, Mapping[str, int]],
    lacking: dict[str, dict[str, int]],
) -> None:
    """Assign groups and IDs that stand alone, in place, where they are not yet."""
    code = {name: number for number, name in enumerate(spec.fractions)}
    placed = dict(zip(code, np.bincount(assigned[assigned >= 0], minlength=len(code)).tolist(), strict=True))
    rows = np.flatnonzero(assigned < 0)
    rows = rows[np.argsort(groups.codes[rows], kind="stable")]
    units = list(_units(ids, strata, groups, rows, spec.seed))
    placing = _Placing(spec.fractions, sizes=sizes, quotas=quotas, lacking=lacking, units=units, placed=placed)
    for unit in placing.in_order():
        assigned[rows[unit.members]] = code[placing.place(unit)]


def _units(ids: pa.Array, strata: Coded, groups: Coded, rows: IntArray, seed: int) -> Iterator[_Unit]:
    """Yield what is assigned as one, of some rows in the order of their groups."""
    digest = KeyedHash(seed)
    alone = [{stratum: 1} for stratum in strata.values]
    start = 0
    for members in _together(groups.codes, rows):
        group = groups.values[groups.codes[members[0]]]
        if group:
            counts = Counter(strata.values[stratum] for stratum in strata.codes[members].tolist())
            yield _Unit((digest(group), True), counts, slice(start, start + len(members)))
        for first in () if group else range(0, len(members), arrow.ROWS_AT_ONCE):
            some = members[first : first + arrow.ROWS_AT_ONCE]
            pairs = zip(ids.take(number_array(some)).to_pylist(), strata.codes[some].tolist(), strict=True)
            for at, (id_, stratum) in enumerate(pairs, start + first):
                yield _Unit((digest(id_), False), alone[stratum], slice(at, at + 1))
        start += len(members)


def check_groups_whole(groups: Strings, splits: Strings, message: str) -> None:
    """Refuse groups that lie in several splits.

    Args:
        groups: of each row, empty for none.
        splits: likewise.
        message: what is wrong and what to do.

    Raises:
        SourceError: there are any; each is listed.
    """
    _splits_of_groups(Coded.of(groups), Coded.of(splits), message, {})


def _splits_of_groups(groups: Coded, splits: Coded, message: str, kept_groups: Mapping[str, str]) -> CodeArray:
    """Return which split the rows of each group have, as far as they have one: int32, shape (len(groups.values),).

    Args:
        groups: of each row, empty for none.
        splits: of each row, empty or `_UNASSIGNED` for none.
        message: what to do about groups in several.
        kept_groups: group -> split of rows that are not among these.

    Raises:
        SourceError: there are groups in several; each is listed.
    """
    count = len(splits.values) or 1
    is_group, is_split = (np.array([*map(bool, values), False]) for values in (groups.values, splits.values))
    told = is_group[groups.codes] & is_split[splits.codes]
    of_groups = {group: number for number, group in enumerate(groups.values)} if kept_groups else {}
    others = [
        of_groups[group] * count + splits.values.index(split)
        for group, split in kept_groups.items()
        if group in of_groups and split in splits.values
    ]
    pairs = np.concatenate([np.array(others, dtype=np.int64), groups.codes[told] * np.int64(count) + splits.codes[told]])
    pairs, rows = np.unique(pairs, return_counts=True)
    numbers, names = np.divmod(pairs, count)
    found = np.full(len(groups.values), _UNASSIGNED, dtype=np.int32)
    found[numbers] = names
    torn: dict[str, dict[str, int]] = defaultdict(dict)
    for at in np.flatnonzero(np.bincount(numbers, minlength=1)[numbers] > 1):
        torn[groups.values[numbers[at]]][splits.values[names[at]]] = rows[at]
    if torn:
        raise SourceError(
            f"{counted(len(torn), 'group')} in more than one split or fold. {message}:",
            [
                f"group {group!r}: {', '.join(f'{split} {count:,}' for split, count in sorted(counts.items()))}"
                for group, counts in sorted(torn.items())
            ],
        )
    return found


def check_enough_for_folds(ids: Strings, groups: Strings, folds: int) -> None:
    """Refuse fewer groups (or IDs that stand alone) than folds, of which some would be empty.

    Args:
        ids: distinct names.
        groups: one per ID, empty for an ID that stands alone; none at all if every ID does.
        folds: how many.

    Raises:
        SourceError: there are fewer.
    """
    names = set(distinct(as_column(groups))) - {""}
    ids = as_column(ids)
    alone = ids if not len(groups) else ids.filter(mask_array(is_in(as_column(groups), [""])))
    if len(names) + len(alone) < folds:
        units = sorted([*(f"g{name}" for name in names), *(f"i{id_}" for id_ in alone.to_pylist())])
        raise SourceError(
            f"{folds} folds need at least as many groups or IDs that stand alone; there are {len(units)}: {shown(units)}; "
            "choose fewer --folds"
        )


def _quotas(sizes: Mapping[str, int], fractions: Mapping[str, Fraction]) -> dict[str, dict[str, int]]:
    """Return how many IDs of each stratum each split should have: integers that add up to the stratum's size."""
    quotas = {stratum: {name: math.floor(share * size) for name, share in fractions.items()} for stratum, size in sizes.items()}
    total = sum(sizes.values())
    behind = {name: share * total - sum(quota[name] for quota in quotas.values()) for name, share in fractions.items()}
    largest = max(fractions, key=fractions.__getitem__)
    # Small strata first: while the largest split is short of IDs, it gets those of which there are too few for all.
    for stratum in sorted(sizes, key=lambda stratum: (sizes[stratum], stratum)):
        quota = quotas[stratum]
        rounded_down = [name for name, share in fractions.items() if (share * sizes[stratum]).denominator != 1]
        for _ in range(sizes[stratum] - sum(quota.values())):
            first = largest in rounded_down and not quota[largest] and behind[largest] > 0
            name = largest if first else max(rounded_down, key=behind.__getitem__)
            rounded_down.remove(name)
            quota[name] += 1
            behind[name] -= 1
    return quotas


def _weights(fractions: Mapping[str, Fraction]) -> dict[str, int]:
    """Return integers in inverse proportion to the shares: comparing them is exact, and faster than dividing by fractions."""
    common = math.lcm(*(share.numerator for share in fractions.values()))
    return _in_lowest_terms({name: (common // share.numerator) * share.denominator for name, share in fractions.items()})


def _in_lowest_terms(weights: dict[str, int]) -> dict[str, int]:
    divisor = math.gcd(*weights.values())
    return {name: weight // divisor for name, weight in weights.items()}

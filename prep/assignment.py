"""The assignment of splits: stratified by label, whole groups only, and never changed by new data."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from manifests.strings import Names, PackedStrings
from prep.draws import KeyedHash, in_order_of_draw
from prep.errors import SourceError
from prep.keptvalues import KeptValues
from prep.splits import SplitSpec
from prep.text import counted, shown


class _Unit(NamedTuple):
    """What is assigned as one: a group, or an ID that stands alone.

    Attributes:
        order: where the draw takes it: keyed hash, and what keeps a group and an ID of one name apart.
        counts: stratum -> how many of its IDs are members.
        members: positions of its IDs.
    """

    order: tuple[bytes, bool]
    counts: Mapping[str, int]
    members: Sequence[int]


def assign_splits(
    ids: Names,
    strata: Sequence[str],
    spec: SplitSpec,
    kept: Mapping[str, str] | KeptValues,
    *,
    groups: Sequence[str] = (),
    kept_groups: Mapping[str, str] | None = None,
) -> list[str]:
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
        kept: ID -> split that it has already and keeps, whatever that does to the proportions.
        groups: one per ID, empty for an ID that stands alone; none at all if every ID does.
        kept_groups: group -> split, of groups whose members with a split are not among the IDs.

    Returns:
        One split per ID, in the order of `ids`.

    Raises:
        SourceError: a group's members have different splits already; each such group is listed.
    """
    before = kept.of(ids) if isinstance(kept, KeptValues) else [kept.get(id_, "") for id_ in ids]
    before = [name if name in spec.fractions else "" for name in before]
    sizes = Counter(strata)
    quotas = _quotas(sizes, spec.fractions)
    lacking = {stratum: dict(quota) for stratum, quota in quotas.items()}
    weights = _weights(spec.fractions)
    if not any(groups):
        return _assign_alone(ids, strata, spec.seed, before, lacking=lacking, weights=weights)
    ids = list(ids)
    kept = {id_: name for id_, name in zip(ids, before, strict=True) if name}
    of_group = _splits_of_groups(ids, groups, kept, {name: split for name, split in (kept_groups or {}).items() if split in spec.fractions})
    assigned: dict[int, str] = {}
    units: list[_Unit] = []
    for unit, name in _units(ids, strata, groups, spec.seed):
        there = of_group.get(groups[unit.members[0]]) if name else kept.get(ids[unit.members[0]])
        if there is None:
            units.append(unit)
            continue
        for stratum, count in unit.counts.items():
            lacking[stratum][there] -= count
        assigned.update(dict.fromkeys(unit.members, there))
    placing = _Placing(spec.fractions, sizes=sizes, quotas=quotas, lacking=lacking, units=units, placed=Counter(assigned.values()))
    for unit in placing.in_order():
        assigned.update(dict.fromkeys(unit.members, placing.place(unit)))
    return [assigned[position] for position in range(len(ids))]


def _assign_alone(
    ids: Names,
    strata: Sequence[str],
    seed: int,
    assigned: list[str],
    *,
    lacking: dict[str, dict[str, int]],
    weights: Mapping[str, int],
) -> list[str]:
    """Assign IDs of which none belongs to a group, in place, where they are not yet: right for groups of one, in less time and memory."""
    members: dict[str, array[int]] = {stratum: array("q") for stratum in lacking}
    for position, stratum in enumerate(strata):
        if assigned[position]:
            lacking[stratum][assigned[position]] -= 1
        else:
            members[stratum].append(position)
    packed = ids if isinstance(ids, PackedStrings) else PackedStrings(ids)
    for stratum, positions in members.items():
        missing = lacking[stratum]
        for position in in_order_of_draw(packed, np.frombuffer(positions, dtype=np.int64), seed):
            name = _furthest_below(missing, weights)
            assigned[position] = name
            missing[name] -= 1
    return assigned


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
        self._placed[name] += len(unit.members)
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


def _units(ids: Sequence[str], strata: Sequence[str], groups: Sequence[str], seed: int) -> list[tuple[_Unit, bool]]:
    """Return what is assigned as one, and whether it is a group."""
    digest = KeyedHash(seed)
    members: dict[str, list[int]] = defaultdict(list)
    units: list[tuple[_Unit, bool]] = []
    for position, group in enumerate(groups):
        if group:
            members[group].append(position)
        else:
            units.append((_Unit((digest(ids[position]), False), {strata[position]: 1}, [position]), False))
    for group, positions in members.items():
        units.append((_Unit((digest(group), True), Counter(sorted(strata[position] for position in positions)), positions), True))
    return units


def _splits_of_groups(ids: Sequence[str], groups: Sequence[str], kept: Mapping[str, str], kept_groups: Mapping[str, str]) -> dict[str, str]:
    """Return group -> the split of its members that have one.

    Raises:
        SourceError: they have different ones.
    """
    found = {group: {split: 1} for group, split in kept_groups.items()}
    for id_, group in zip(ids, groups, strict=True):
        if group and id_ in kept:
            counts = found.setdefault(group, {})
            counts[kept[id_]] = counts.get(kept[id_], 0) + 1
    check_groups_whole(
        found,
        "IDs keep their split, and these groups have members in several: they were assigned when they were no groups. "
        "Pass another --seed with --split (or --folds) to assign every ID anew by groups, or leave the groups out",
    )
    return {group: next(iter(counts)) for group, counts in found.items()}


def check_groups_whole(found: Mapping[str, Mapping[str, int]], message: str) -> None:
    """Refuse groups that lie in several splits.

    Args:
        found: group -> split -> number of IDs.
        message: what is wrong and what to do.

    Raises:
        SourceError: there are any; each is listed.
    """
    torn = [
        f"group {group!r}: {', '.join(f'{split} {count:,}' for split, count in sorted(counts.items()))}"
        for group, counts in sorted(found.items())
        if len(counts) > 1
    ]
    if torn:
        raise SourceError(f"{counted(len(torn), 'group')} in more than one split or fold. {message}:", torn)


def check_enough_for_folds(units: Sequence[str], folds: int) -> None:
    """Refuse fewer groups (or IDs that stand alone) than folds, of which some would be empty.

    Raises:
        SourceError: there are fewer.
    """
    distinct = sorted(set(units))
    if len(distinct) < folds:
        raise SourceError(
            f"{folds} folds need at least as many groups or IDs that stand alone; there are {len(distinct)}: {shown(distinct)}; "
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

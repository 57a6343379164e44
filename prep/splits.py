"""Splits: which IDs train and which are held out; stratified by label, and never changed by new data."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from prep.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """How to split.

    Attributes:
        fractions: split -> its share of the IDs, as the user wrote it; the shares add up to 1.
        seed: of the assignment.
    """

    fractions: Mapping[str, Fraction]
    seed: int = 0

    def __post_init__(self) -> None:
        bad = [name for name, share in self.fractions.items() if not name or not 0 < share <= 1]
        if bad or not self.fractions:
            raise UsageError(f"a split needs a name and a share above 0 and up to 1, got {_written(self.fractions)}")
        total = sum(self.fractions.values())
        if total != 1:
            raise UsageError(f"splits add up to {float(total):g}; expected 1 (got {_written(self.fractions)})")

    def as_dict(self) -> dict[str, Any]:
        """Return the form that is stored in `dataset.json`."""
        return {"names": list(self.fractions), "fractions": {name: str(share) for name, share in self.fractions.items()}, "seed": self.seed}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> SplitSpec | None:
        """Take a spec back from `dataset.json`; None when splits were not made by shares.

        Raises:
            UsageError: the stored shares are none.
        """
        if not raw.get("fractions"):
            return None
        try:
            fractions = {name: Fraction(share) for name, share in raw["fractions"].items()}
            return cls(fractions=fractions, seed=int(raw.get("seed", 0)))
        except (ValueError, ZeroDivisionError, AttributeError, TypeError) as error:
            raise UsageError(f"dataset.json: splits cannot be understood: {error}") from error


def parse_splits(text: str, seed: int) -> SplitSpec:
    """Read `train=0.8,val=0.1,test=0.1`; shares may be fractions, `1/3`.

    Raises:
        UsageError: the text is of another form, names a split twice, or the shares do not add up to 1.
    """
    fractions: dict[str, Fraction] = {}
    for part in text.split(","):
        name, equals, share = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"splits must look like train=0.8,val=0.1,test=0.1, got {text!r}")
        if name in fractions:
            raise UsageError(f"splits name {name!r} twice, got {text!r}")
        try:
            fractions[name] = Fraction(share)
        except (ValueError, ZeroDivisionError):
            raise UsageError(f"the share of split {name!r} must be a number such as 0.8 or 1/3, got {share!r}") from None
    return SplitSpec(fractions=fractions, seed=seed)


def assign_splits(ids: Sequence[str], strata: Sequence[str], spec: SplitSpec, kept: Mapping[str, str]) -> list[str]:
    """Assign every ID a split.

    Each stratum's counts come within one of its quota, and what remains of rounding goes where the whole dataset is
    furthest below quota, so that many small strata do not all round to the same split; a class of one sample goes to the
    largest split as long as that is short of samples. Within a stratum, IDs are taken
    in the order of a keyed hash: the assignment depends on the IDs, the strata and the seed, not on the order of rows.

    Args:
        ids: distinct names.
        strata: one label per ID; each distinct one is split on its own.
        spec: shares and seed.
        kept: ID -> split that it has already and keeps, whatever that does to the proportions.

    Returns:
        One split per ID, in the order of `ids`.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for id_, stratum in zip(ids, strata, strict=True):
        members[stratum].append(id_)
    quotas = _quotas({stratum: len(group) for stratum, group in members.items()}, spec.fractions)
    assigned: dict[str, str] = {}
    for stratum in sorted(members):
        group = members[stratum]
        assigned |= {id_: kept[id_] for id_ in group if kept.get(id_) in spec.fractions}
        counts = Counter(assigned[id_] for id_ in group if id_ in assigned)
        for id_ in sorted((id_ for id_ in group if id_ not in assigned), key=lambda id_: _keyed_hash(spec.seed, id_)):
            missing = {name: quotas[stratum][name] - counts[name] for name in spec.fractions}
            # Furthest below quota in proportion, so that every split fills evenly along the hash order.
            name = max(missing, key=lambda name: (missing[name] > 0, missing[name] / spec.fractions[name]))
            assigned[id_] = name
            counts[name] += 1
    return [assigned[id_] for id_ in ids]


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


def _keyed_hash(seed: int, id_: str) -> bytes:
    return hashlib.blake2b(id_.encode(), digest_size=16, key=str(seed).encode()[:64]).digest()


def _written(fractions: Mapping[str, Fraction]) -> str:
    return ",".join(f"{name}={float(share):g}" for name, share in fractions.items()) or "none"

"""What splits, groups and folds are asked for: one spec, as the user writes it and as `dataset.json` keeps it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from prep.errors import UsageError
from prep.readers.parameters import exact_number

HELD_OUT = "test"
"""The split, in whatever case, whose rows belong to no fold."""

_MAX_FOLDS = 1000
_ASSIGNING = ("fractions", "column", "folders")


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """How to split; at most one of `fractions`, `column` and `folders`, and of `group_by` and `group_regex`.

    Attributes:
        fractions: split -> its share of the IDs, as the user wrote it; the shares add up to 1. Empty if none is drawn.
        seed: of what is drawn: splits by shares, and folds.
        column: of the table, that names each row's split.
        folders: top folders of the source that are the splits.
        group_by: column of the table; IDs of one value share a split and a fold.
        group_regex: searched in each raw item's path; the group named `group`, else the first one, is the item's group.
        folds: how many folds there are of all that is not held out.
    """

    fractions: Mapping[str, Fraction] = field(default_factory=dict)
    seed: int = 0
    column: str | None = None
    folders: tuple[str, ...] = ()
    group_by: str | None = None
    group_regex: str | None = None
    folds: int | None = None

    def __post_init__(self) -> None:
        for name in ("column", "group_by", "group_regex"):
            if not isinstance(getattr(self, name), str | None):
                raise UsageError(f"{name} must be text, got {getattr(self, name)!r}")
        if sum(bool(getattr(self, name)) for name in _ASSIGNING) > 1:
            raise UsageError("--split, --split-column and --split-from-folders each say what the splits are; choose one")
        if self.group_by and self.group_regex:
            raise UsageError("--group-by and --group-regex both say what the groups are; choose one")
        if not any((self.fractions, self.column, self.folders, self.group_by, self.group_regex, self.folds is not None)):
            raise UsageError("a split needs a name and a share above 0 and up to 1, got none")
        if self.fractions:
            self._check_fractions()
        if self.folders:
            _check_folders(self.folders)
        if self.group_regex is not None:
            _check_regex(self.group_regex)
        self._check_folds()

    def _check_fractions(self) -> None:
        if any(not name or not 0 < share <= 1 for name, share in self.fractions.items()):
            raise UsageError(f"a split needs a name and a share above 0 and up to 1, got {_written(self.fractions)}")
        total = sum(self.fractions.values())
        if total != 1:
            raise UsageError(f"splits add up to {float(total):g}; expected 1 (got {_written(self.fractions)})")

    def _check_folds(self) -> None:
        if self.folds is None:
            return
        if type(self.folds) is not int or not 2 <= self.folds <= _MAX_FOLDS:
            raise UsageError(f"folds must be an integer from 2 to {_MAX_FOLDS:,}, got {self.folds!r}")
        names = list(self.fractions) or list(self.folders)
        if names:
            check_held_out(names)

    @property
    def assigns(self) -> bool:
        """Whether this fills the column `split`."""
        return any(getattr(self, name) for name in _ASSIGNING)

    @property
    def columns(self) -> tuple[str, ...]:
        """The table's columns that this reads."""
        return tuple(name for name in (self.group_by, self.column) if name)

    def draws_as(self, other: SplitSpec | None) -> bool:
        """Return whether splits that the other spec drew are to stay: shares and seed are the same."""
        return other is not None and bool(self.fractions) and (self.fractions, self.seed) == (other.fractions, other.seed)

    def folds_as(self, other: SplitSpec | None) -> bool:
        """Return whether folds that the other spec drew are to stay: so are the seed, their number and what they are folds of."""
        if other is None or self.folds is None or (self.folds, self.seed) != (other.folds, other.seed):
            return False
        return (dict(self.fractions), self.column, self.folders) == (dict(other.fractions), other.column, other.folders)

    def filled_from(self, stored: SplitSpec | None) -> SplitSpec:
        """Return this spec, with what it leaves out taken from that of the dataset that is there."""
        if stored is None:
            return self
        filled: dict[str, Any] = {}
        if not self.assigns:
            filled = {name: getattr(stored, name) for name in _ASSIGNING} | {"seed": self.seed or stored.seed}
        if not (self.group_by or self.group_regex):
            filled |= {"group_by": stored.group_by, "group_regex": stored.group_regex}
        if self.folds is None:
            filled["folds"] = stored.folds
        return replace(self, **filled)

    def as_dict(self) -> dict[str, Any]:
        """Return the form that is stored in `dataset.json`; `names` are left to the rows where only they know them."""
        raw: dict[str, Any] = {}
        if self.fractions:
            raw = {"names": list(self.fractions), "fractions": {name: str(share) for name, share in self.fractions.items()}}
        if self.fractions or self.folds:
            raw["seed"] = self.seed
        given = {
            "column": self.column,
            "folders": list(self.folders),
            "group_by": self.group_by,
            "group_regex": self.group_regex,
            "folds": self.folds,
        }
        return raw | {name: value for name, value in given.items() if value}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> SplitSpec | None:
        """Take a spec back from `dataset.json`; None when splits were not made by one.

        Raises:
            UsageError: what is stored is no spec.
        """
        known = {name: raw[name] for name in ("fractions", "column", "folders", "group_by", "group_regex", "folds") if raw.get(name)}
        if not known:
            return None
        try:
            if "fractions" in known:
                known["fractions"] = {name: exact_number(share) for name, share in known["fractions"].items()}
            if "folders" in known:
                known["folders"] = tuple(known["folders"])
            return cls(**known, seed=int(raw.get("seed", 0)))
        except (UsageError, ValueError, ZeroDivisionError, AttributeError, TypeError) as error:
            raise UsageError(f"dataset.json: splits cannot be understood: {error}") from error

    def __str__(self) -> str:
        """Write the spec as its flags."""
        parts = [f"--split {_written(self.fractions)}"] if self.fractions else []
        parts += [f"--seed {self.seed}"] if self.fractions or self.folds else []
        parts += [f"--split-column {self.column!r}"] if self.column else []
        parts += [f"--split-from-folders {'/'.join(self.folders)}"] if self.folders else []
        parts += [f"--group-by {self.group_by!r}"] if self.group_by else []
        parts += [f"--group-regex {self.group_regex!r}"] if self.group_regex else []
        parts += [f"--folds {self.folds}"] if self.folds else []
        return " ".join(parts)


def spec_differences(old: SplitSpec | None, new: SplitSpec) -> list[str]:
    """Say in what two specs differ: `seed: 0 -> 3`."""
    before, after = ({} if spec is None else _told(spec) for spec in (old, new))
    names = ("fractions", "seed", "column", "folders", "group_by", "group_regex", "folds")
    return [f"{name}: {before.get(name, 'none')} -> {after.get(name, 'none')}" for name in names if before.get(name) != after.get(name)]


def _told(spec: SplitSpec) -> dict[str, Any]:
    return spec.as_dict() | ({"fractions": _written(spec.fractions)} if spec.fractions else {})


def parse_splits(text: str, seed: int) -> SplitSpec:
    """Read `train=0.8,val=0.1,test=0.1`; shares may be fractions, `1/3`.

    Raises:
        UsageError: the text is of another form, names a split twice, or the shares do not add up to 1.
    """
    return SplitSpec(fractions=parse_fractions(text), seed=seed)


def parse_fractions(text: str) -> dict[str, Fraction]:
    """Read the shares of `parse_splits`, whose sum is left to `SplitSpec`.

    Raises:
        UsageError: the text is of another form, or names a split twice.
    """
    fractions: dict[str, Fraction] = {}
    for part in text.split(","):
        name, equals, share = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"splits must look like train=0.8,val=0.1,test=0.1, got {text!r}")
        if name in fractions:
            raise UsageError(f"splits name {name!r} twice, got {text!r}")
        try:
            fractions[name] = exact_number(share)
        except (ValueError, ZeroDivisionError):
            raise UsageError(f"the share of split {name!r} must be a number such as 0.8 or 1/3, got {share!r}") from None
    return fractions


def parse_folders(text: str) -> tuple[str, ...]:
    """Read `train/val/test` or `train,val,test`.

    Raises:
        UsageError: a name is empty, stands twice, or cannot be that of a folder.
    """
    folders = tuple(name.strip() for name in re.split("[,/]", text))
    _check_folders(folders)
    return folders


def check_held_out(names: Sequence[str]) -> set[str]:
    """Return which of these splits belong to no fold.

    Raises:
        UsageError: none does, so that folds beside these splits would take in what was meant to be held out.
    """
    held_out = {name for name in names if name.casefold() == HELD_OUT}
    if not held_out:
        raise UsageError(
            f"folds beside splits are drawn from all that is not {HELD_OUT!r}, and no split has that name (got {', '.join(names)}); "
            f"call the split that is held out {HELD_OUT!r}, or leave the splits out"
        )
    return held_out


def _check_folders(folders: Sequence[object]) -> None:
    bad = [name for name in folders if not isinstance(name, str) or name in {"", ".", ".."} or "/" in name]
    written = "/".join(map(str, folders))
    if bad:
        raise UsageError(f"the folders that are splits must look like train/val/test or train,val,test, got {written!r}")
    if len(set(folders)) < len(folders):
        raise UsageError(f"the folders that are splits name one twice: {written!r}")


def _check_regex(pattern: str) -> None:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"the pattern of groups {pattern!r} is no regular expression: {error}") from error
    if not compiled.groups:
        raise UsageError(f"the pattern of groups {pattern!r} has no group in parentheses; expected one such as '(patient[0-9]+)'")


def _written(fractions: Mapping[str, Fraction]) -> str:
    return ",".join(f"{name}={float(share):g}" for name, share in fractions.items()) or "none"

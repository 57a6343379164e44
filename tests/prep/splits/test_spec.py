"""Splits: the shares that were asked for, per class and as a whole, and no ID that ever changes sides."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prep.errors import UsageError
from prep.splits.assignment import assign_splits
from prep.splits.spec import SplitSpec, parse_splits, spec_differences

USUAL = {"train": Fraction(8, 10), "val": Fraction(1, 10), "test": Fraction(1, 10)}


def spec(text: str = "train=0.8,val=0.1,test=0.1", seed: int = 0) -> SplitSpec:
    return parse_splits(text, seed)


def assign(ids: list[str], strata: list[str], made: SplitSpec, kept: dict[str, str]) -> list[str]:
    """Return the split of each ID, of which some have one already."""
    found: list[str] = assign_splits(ids, strata, made, [kept.get(id_, "") for id_ in ids]).to_pylist()
    return found


specs = st.builds(
    lambda parts, seed: SplitSpec(fractions={f"s{i}": Fraction(part, sum(parts)) for i, part in enumerate(parts)}, seed=seed),
    st.lists(st.integers(1, 20), min_size=1, max_size=4),
    st.integers(0, 2**70),
)
labelled = st.lists(st.sampled_from("abcd"), max_size=80).map(lambda labels: ([f"id-{i}" for i in range(len(labels))], labels))


# The shares


@pytest.mark.parametrize(
    ("text", "fractions"),
    [
        ("train=0.8,val=0.1,test=0.1", USUAL),
        (" train = 0.8 , val=0.1,test=1/10 ", USUAL),
        ("a=1/3,b=1/3,c=1/3", {"a": Fraction(1, 3), "b": Fraction(1, 3), "c": Fraction(1, 3)}),
        ("train=1", {"train": Fraction(1)}),
        ("train=9e-1,val=.1", {"train": Fraction(9, 10), "val": Fraction(1, 10)}),
        ("été=0.5,日=0.5", {"été": Fraction(1, 2), "日": Fraction(1, 2)}),
    ],
)
def test_shares_are_exact(text: str, fractions: dict[str, Fraction]) -> None:
    found = parse_splits(text, 7)
    assert dict(found.fractions) == fractions
    assert list(found.fractions) == list(fractions)
    assert found.seed == 7


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "splits must look like train=0.8,val=0.1,test=0.1, got ''"),
        ("train", "splits must look like"),
        ("train=0.5,", "splits must look like"),
        ("train:0.8", "splits must look like"),
        ("0.8,0.1,0.1", "splits must look like"),
        ("train=0.5,train=0.5", "splits name 'train' twice"),
        ("train=many", "the share of split 'train' must be a number such as 0.8 or 1/3, got 'many'"),
        ("train=", "the share of split 'train' must be a number"),
        ("train=1/0", "the share of split 'train' must be a number"),
        ("train=nan", "the share of split 'train' must be a number"),
        ("train=0.8=0.2", "the share of split 'train' must be a number"),
        ("train=80%", "the share of split 'train' must be a number"),
        ("train=0.8,val=0.1", r"splits add up to 0\.9; expected 1 \(got train=0\.8,val=0\.1\)"),
        ("train=80,val=20", "a share above 0 and up to 1, got train=80,val=20"),
        ("train=1.1,val=-0.1", "a share above 0 and up to 1"),
        ("train=1,val=0", "a share above 0 and up to 1"),
        ("=1", "a split needs a name"),
    ],
)
def test_shares_that_cannot_be_are_refused_with_what_was_given(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_splits(text, 0)


@given(specs)
def test_a_spec_survives_json(made: SplitSpec) -> None:
    stored = json.loads(json.dumps(made.as_dict()))
    assert stored["names"] == list(made.fractions)
    assert SplitSpec.from_dict(stored) == made


@pytest.mark.parametrize("raw", [{}, {"names": ["train"]}, {"fractions": {}}])
def test_splits_that_were_not_made_by_shares_have_no_spec(raw: dict[str, Any]) -> None:
    assert SplitSpec.from_dict(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        {"fractions": {"a": "x"}},
        {"fractions": {"a": "1/0"}},
        {"fractions": ["a"]},
        {"fractions": {"a": None}},
        {"fractions": {"a": "1"}, "seed": "x"},
        {"fractions": {"a": "1"}, "seed": None},
        {"fractions": {"a": "1/2"}},
    ],
)
def test_stored_shares_that_cannot_be_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="splits"):
        SplitSpec.from_dict(raw)


# The assignment


@given(labelled, specs)
def test_every_id_gets_a_split(data: tuple[list[str], list[str]], made: SplitSpec) -> None:
    ids, strata = data
    found = assign(ids, strata, made, {})
    assert len(found) == len(ids)
    assert set(found) <= set(made.fractions)


@given(labelled, specs)
def test_shares_are_honoured_within_one_per_class(data: tuple[list[str], list[str]], made: SplitSpec) -> None:
    ids, strata = data
    found = Counter(zip(strata, assign(ids, strata, made, {}), strict=True))
    for stratum, size in Counter(strata).items():
        for name, share in made.fractions.items():
            assert abs(found[stratum, name] - share * size) < 1


@given(labelled, specs, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(data: tuple[list[str], list[str]], made: SplitSpec, random: Any) -> None:
    rows = list(zip(*data, strict=True))
    before = dict(zip(data[0], assign(*data, made, {}), strict=True))
    random.shuffle(rows)
    ids, strata = [id_ for id_, _ in rows], [label for _, label in rows]
    assert dict(zip(ids, assign(ids, strata, made, {}), strict=True)) == before


@given(labelled, labelled, specs)
def test_new_data_moves_no_id(data: tuple[list[str], list[str]], more: tuple[list[str], list[str]], made: SplitSpec) -> None:
    ids, strata = data
    before = dict(zip(ids, assign(ids, strata, made, {}), strict=True))
    grown_ids = [*(f"new-{id_}" for id_ in more[0]), *ids]
    after = dict(zip(grown_ids, assign(grown_ids, [*more[1], *strata], made, before), strict=True))
    assert {id_: after[id_] for id_ in ids} == before


@given(labelled, specs)
def test_a_new_label_moves_no_id(data: tuple[list[str], list[str]], made: SplitSpec) -> None:
    ids, strata = data
    before = dict(zip(ids, assign(ids, strata, made, {}), strict=True))
    assert assign(ids, ["other"] * len(ids), made, before) == list(before.values())


def test_growth_tops_up_what_is_below_its_share() -> None:
    old = {f"old-{i}": "train" for i in range(80)}
    ids = [*old, *(f"new-{i}" for i in range(20))]
    found = Counter(assign(ids, [""] * 100, spec(), old))
    assert found == {"train": 80, "val": 10, "test": 10}


def test_a_split_that_is_no_longer_wanted_is_drawn_anew() -> None:
    found = assign(["a", "b"], ["", ""], spec("train=1"), {"a": "holdout", "b": "train"})
    assert found == ["train", "train"]


def test_weekly_growth_keeps_the_shares() -> None:
    kept: dict[str, str] = {}
    for week in range(1, 30):
        ids = [f"{i}" for i in range(7 * week)]
        strata = [f"class-{i % 3}" for i in range(7 * week)]
        kept = dict(zip(ids, assign(ids, strata, spec(), kept), strict=True))
    found = Counter(kept.values())
    for name, share in USUAL.items():
        assert abs(found[name] - share * len(kept)) <= 3  # one per class


def test_seeds_differ() -> None:
    ids = [f"{i}" for i in range(200)]
    assignments = [tuple(assign(ids, [""] * 200, spec(seed=seed), {})) for seed in range(5)]
    assert len(set(assignments)) == 5
    assert len({tuple(sorted(Counter(found).items())) for found in assignments}) == 1


@pytest.mark.parametrize("size", [1, 2, 3])
def test_many_small_classes_do_not_starve_the_small_splits(size: int) -> None:
    ids = [f"{i}" for i in range(100 * size)]
    found = Counter(assign(ids, [f"class-{i // size}" for i in range(100 * size)], spec(), {}))
    assert found == {"train": 80 * size, "val": 10 * size, "test": 10 * size}


def test_the_draw_does_not_follow_the_order_of_names() -> None:
    ids = [f"{i:04}" for i in range(1000)]
    held_out = [i for i, name in enumerate(assign(ids, [""] * 1000, spec(), {})) if name == "test"]
    assert 350 < sum(held_out) / len(held_out) < 650


def test_the_draw_is_the_same_on_every_machine() -> None:
    assert assign(list("abcdefghij"), [""] * 10, spec(), {}) == [
        "train",
        "train",
        "train",
        "train",
        "val",
        "train",
        "train",
        "train",
        "train",
        "test",
    ]


def test_a_class_of_one_sample_is_trained_on_while_training_is_short_of_samples() -> None:
    ids = [f"{label}{number}" for label in "abcdef" for number in range(9)] + ["lonely"]
    strata = [id_[0] if id_ != "lonely" else "lonely" for id_ in ids]
    for seed in range(20):
        made = parse_splits("train=0.8,val=0.1,test=0.1", seed)
        assert dict(zip(ids, assign(ids, strata, made, {}), strict=True))["lonely"] == "train"


def test_classes_of_one_sample_do_not_starve_the_small_splits() -> None:
    ids = [f"{number:03d}" for number in range(100)]
    found = Counter(assign(ids, ids, parse_splits("train=0.8,val=0.1,test=0.1", 0), {}))
    assert found == {"train": 80, "val": 10, "test": 10}


# Groups, columns, folders, folds


FULL = [
    SplitSpec(column="part"),
    SplitSpec(folders=("train", "valid", "test"), group_regex="(p[0-9]+)"),
    SplitSpec(group_by="patient"),
    SplitSpec(folds=5, seed=3),
    SplitSpec(fractions={"dev": Fraction(4, 5), "test": Fraction(1, 5)}, seed=7, group_by="patient", folds=2),
]


@pytest.mark.parametrize("made", FULL, ids=str)
def test_every_spec_survives_json(made: SplitSpec) -> None:
    assert SplitSpec.from_dict(json.loads(json.dumps(made.as_dict()))) == made


def test_a_plain_spec_is_stored_as_it_always_was() -> None:
    assert list(spec(seed=7).as_dict().items()) == [
        ("names", ["train", "val", "test"]),
        ("fractions", {"train": "4/5", "val": "1/10", "test": "1/10"}),
        ("seed", 7),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        {"column": 3},
        {"group_by": ["a"]},
        {"group_regex": "("},
        {"folds": "5"},
        {"folds": 1.5},
        {"folds": True},
        {"folds": -2},
        {"folders": 3},
        {"folders": [3, 4]},
        {"folders": ["a/b"]},
        {"column": "a", "folders": ["b"]},
    ],
)
def test_stored_specs_that_cannot_be_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"dataset\.json: splits cannot be understood"):
        SplitSpec.from_dict(raw)


@pytest.mark.parametrize(
    ("given_", "stored", "expected"),
    [
        (SplitSpec(folds=3), None, SplitSpec(folds=3)),
        (SplitSpec(folds=3), SplitSpec(column="part", group_by="p"), SplitSpec(column="part", group_by="p", folds=3)),
        (spec("a=1"), SplitSpec(column="part", group_by="p"), SplitSpec(fractions={"a": Fraction(1)}, group_by="p")),
        (SplitSpec(group_by="p"), spec(seed=7), SplitSpec(fractions=USUAL, seed=7, group_by="p")),
        (SplitSpec(group_regex="(x)"), SplitSpec(group_by="p", folds=2), SplitSpec(group_regex="(x)", folds=2)),
        (SplitSpec(folds=3, seed=5), spec(seed=7), SplitSpec(fractions=USUAL, seed=5, folds=3)),
        (spec(), spec(seed=7), spec()),
    ],
)
def test_what_is_left_out_is_as_it_was(given_: SplitSpec, stored: SplitSpec | None, expected: SplitSpec) -> None:
    assert given_.filled_from(stored) == expected


def test_specs_say_in_what_they_differ() -> None:
    assert spec_differences(spec(), spec()) == []
    assert spec_differences(spec("a=1"), SplitSpec(fractions={"b": Fraction(1)}, seed=3, group_by="p")) == [
        "fractions: a=1 -> b=1",
        "seed: 0 -> 3",
        "group_by: none -> p",
    ]
    assert spec_differences(None, SplitSpec(folds=2)) == ["seed: none -> 0", "folds: none -> 2"]

"""The union of two manifests, and what stands against it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import ArraySpec, LabelSpec, Manifest, Metadata
from prep.datasets.merge.conflicts import array_conflict
from prep.datasets.merge.union import MERGED, MergeOptions, Union, unite
from prep.errors import UsageError

Rows = Mapping[str, Mapping[str, str]]
Told = tuple[str, tuple[str, ...], str, str, str]

S1, S2 = "1" * 64, "2" * 64


def manifest(rows: Rows, **metadata: Any) -> Manifest:
    frame = pd.DataFrame(
        [{"id": id_, "sha256": S1, **values} for id_, values in rows.items()], columns=None if rows else ["id"], dtype=object
    )
    return Manifest(frame.fillna(""), Path("nowhere"), Metadata(**metadata))


def united(a: Rows, b: Rows, **options: Any) -> Union:
    return unite(manifest(a), manifest(b), MergeOptions(**options))


def conflicts(union: Union) -> list[Told]:
    return [(c.kind, tuple(c.ids), c.column, c.a, c.b) for c in union.conflicts]


def rows_of(union: Union) -> dict[str, dict[str, str]]:
    return {row.pop("id"): row for row in union.frame.to_dict("records")}


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"x": {}}, {"y": {}}, []),
        ({"x": {"label": "c"}}, {"x": {"label": "c"}}, []),
        ({"x": {"label": "c"}}, {"x": {}}, []),
        ({"x": {"label": "c"}}, {"x": {"label": "d"}}, [("value", ("x",), "label", "c", "d")]),
        ({"x": {"label": "c"}}, {"x": {"label": ""}}, [("value", ("x",), "label", "c", "")]),
        ({"x": {"age": "1"}}, {"x": {"age": "2"}}, [("value", ("x",), "age", "1", "2")]),
        ({"x": {}}, {"x": {"sha256": S2}}, [("content", ("x",), "sha256", S1, S2)]),
        ({"x": {"split": "train"}}, {"x": {"split": "val"}}, [("split", ("x",), "split", "train", "val")]),
        ({"x": {"group": "p"}}, {"x": {"group": "q"}}, [("group", ("x",), "group", "p", "q")]),
        ({"x": {"source": "1", "fingerprint": "1"}}, {"x": {"source": "2", "fingerprint": "2"}}, []),
        ({"x": {}}, {"X": {}}, [("name", ("x", "X"), "", "'x'", "'X'")]),
        ({"x": {}}, {"x.npy/1": {}}, [("name", ("x.npy/1", "x"), "", "'x'", "'x.npy/1'")]),
        (
            {"x": {"group": "p", "split": "train"}},
            {"y": {"group": "p", "split": "val"}},
            [("group in two splits", ("x", "y"), "p", "train", "val")],
        ),
        ({"x": {"group": "p", "split": "train"}}, {"y": {"group": "p", "split": ""}}, []),
        ({"x": {"group": "", "split": "train"}}, {"y": {"group": "", "split": "val"}}, []),
        ({"x": {"group": "p", "split": "train"}}, {"y": {"group": "p"}}, []),
    ],
)
def test_what_contradicts(a: Rows, b: Rows, expected: list[Told]) -> None:
    assert conflicts(united(a, b)) == expected


BOTH: tuple[Rows, Rows] = (
    {"x": {"label": "c", "split": "train"}, "a": {"label": "c", "split": "train"}},
    {"x": {"label": "d", "split": "val", "age": "3"}, "b": {"label": "d", "split": "val", "age": "4"}},
)


def test_preferring_takes_the_whole_row_of_one_side_where_the_two_contradict() -> None:
    for side, label, split in (("a", "c", "train"), ("b", "d", "val")):
        union = united(*BOTH, prefer=side)
        assert union.conflicts == []
        assert len(union.resolved) == 2
        assert rows_of(union)["x"] == {"label": label, "split": split, "age": "3"}
        assert union.from_b == ({"b", "x"} if side == "b" else {"b"})


def test_preferring_leaves_groups_in_two_splits_a_conflict() -> None:
    a, b = {"x": {"group": "p", "split": "train"}}, {"y": {"group": "p", "split": "val"}}
    assert [kind for kind, *_ in conflicts(united(a, b, prefer="a"))] == ["group in two splits"]


def test_prefixes_keep_both() -> None:
    union = united(*BOTH, prefix_a="one/", prefix_b="two-")
    assert union.conflicts == []
    assert sorted(rows_of(union)) == ["one/a", "one/x", "two-b", "two-x"]
    assert rows_of(union)["one/x"] == {"label": "c", "split": "train", "age": ""}


@pytest.mark.parametrize("prefix", ["../", "/", "a//", "\x1b", "C:", "x" * 300])
def test_a_prefix_that_makes_unsafe_ids_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="--prefix-b"):
        united({"x": {}}, {"x": {}}, prefix_b=prefix)


def test_prefer_knows_two_sides() -> None:
    with pytest.raises(UsageError, match="'c'"):
        MergeOptions(prefer="c")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("a", "b", "prefer", "expected"),
    [
        (("cat", "dog"), ("cat", "dog"), None, ("cat", "dog")),
        (("dog", "cat"), ("cat",), None, ("dog", "cat")),
        (("dog", "cat"), ("ant", "cat", "bee"), None, ("dog", "cat", "ant", "bee")),
        (("dog", "cat"), ("cat", "dog"), None, None),
        (("dog", "cat"), ("cat", "dog", "ant"), "a", ("dog", "cat", "ant")),
        (("dog", "cat"), ("cat", "dog", "ant"), "b", ("cat", "dog", "ant")),
    ],
)
def test_class_order(a: tuple[str, ...], b: tuple[str, ...], prefer: Any, expected: tuple[str, ...] | None) -> None:
    first, second = (
        manifest({f"{side}{name}": {"label": name} for name in names}, labels={"label": LabelSpec(classes=names)})
        for side, names in (("a", a), ("b", b))
    )
    union = unite(first, second, MergeOptions(prefer=prefer))
    if expected is None:
        assert [conflict.kind for conflict in union.conflicts] == ["classes"]
    else:
        assert union.conflicts == []
        assert union.labels["label"].classes == expected


def test_classes_of_hand_written_manifests_keep_their_index_too() -> None:
    union = united({"x": {"label": "dog"}}, {"y": {"label": "ant"}})
    assert union.labels == {"label": LabelSpec(classes=("dog", "ant"))}


def test_measurements_have_no_classes() -> None:
    assert united({"x": {"label": "0.5"}}, {"y": {"label": "0.25"}}).labels == {"label": LabelSpec(kind="number")}
    assert united({"x": {"label": "0.5"}}, {"y": {"label": "1"}}).labels == {"label": LabelSpec(kind="number")}


CLASS, NUMBER = LabelSpec(kind="class", classes=("1.5",)), LabelSpec(kind="number")


@pytest.mark.parametrize(
    ("a", "b", "prefer", "expected"),
    [
        (("1", NUMBER), ("2", LabelSpec(classes=("2",))), None, NUMBER),
        (("1.5", CLASS), ("2.5", NUMBER), None, None),
        (("1.5", CLASS), ("2.5", NUMBER), "b", NUMBER),
        (("1.5", CLASS), ("2.5", NUMBER), "a", LabelSpec(kind="class", classes=("1.5", "2.5"))),
        (("cat", LabelSpec(classes=("cat",))), ("2.5", NUMBER), None, None),
        (("cat", LabelSpec(classes=("cat",))), ("2.5", NUMBER), "a", LabelSpec(classes=("cat", "2.5"))),
    ],
)
def test_classes_and_numbers_do_not_mix_unasked(
    a: tuple[str, LabelSpec], b: tuple[str, LabelSpec], prefer: Any, expected: LabelSpec | None
) -> None:
    first, second = (manifest({id_: {"label": label}}, labels={"label": spec}) for id_, (label, spec) in zip("xy", (a, b), strict=True))
    union = unite(first, second, MergeOptions(prefer=prefer))
    if expected is None:
        assert conflicts(union) == [("classes", (), "label", "names of classes", "numbers")]
    else:
        assert (union.conflicts, union.labels) == ([], {"label": expected})


@pytest.mark.parametrize(
    ("a", "b", "fits"),
    [
        (((2, 3), "uint8"), ((2, 3), "uint8"), True),
        (((2, 3), "uint8"), ((2, 4), "uint8"), False),
        (((2, 3), "uint8"), ((2, 3, 1), "uint8"), False),
        (((2, 3), "uint8"), ((2, 3), "int8"), False),
        (((None, 3), "uint8"), ((2, 3), "uint8"), True),
        (((None, 3), "uint8"), ((2, 4), "uint8"), False),
        ((None, "uint8"), ((2, 4), "uint8"), True),
        ((None, None), ((2, 4), "uint8"), True),
    ],
)
def test_arrays_that_do_not_go_into_one_batch_conflict(a: Any, b: Any, fits: bool) -> None:
    first, second = (ArraySpec(shape=shape, dtype=dtype) for shape, dtype in (a, b))
    assert (array_conflict(first, second) is None) == (array_conflict(second, first) is None) == fits
    assert array_conflict(first, None) is None
    union = unite(manifest({"x": {}}, array=first), manifest({"y": {}}, array=second), MergeOptions())
    assert [conflict.kind for conflict in union.conflicts] == ([] if fits else ["array"])


RECIPE: dict[str, Any] = {"format": "images", "recipe": {"scale": None}, "digest": "d", "options": {}, "labels": "none"}


def test_other_recipes_conflict_unless_mixed_and_only_one_and_the_same_is_kept() -> None:
    a, b = ({id_: {"fingerprint": "f"}} for id_ in "xy")
    other = RECIPE | {"recipe": {"scale": "unit"}, "digest": "e"}
    same = unite(manifest(a, recipe=RECIPE), manifest(b, recipe=RECIPE), MergeOptions())
    assert (same.conflicts, same.recipe) == ([], RECIPE)
    differing = unite(manifest(a, recipe=RECIPE), manifest(b, recipe=other), MergeOptions())
    assert conflicts(differing) == [("recipe", (), "", "scale None", "scale unit")]
    mixed = unite(manifest(a, recipe=RECIPE), manifest(b, recipe=other), MergeOptions(mixed=True))
    assert (mixed.conflicts, mixed.recipe) == ([], MERGED)
    for recipe in ({}, {"format": "adopted"}, RECIPE | {"labels": "elsewhere"}):
        union = unite(manifest(a, recipe=RECIPE), manifest(b, recipe=recipe), MergeOptions())
        assert (union.conflicts, union.recipe) == ([], MERGED)
    assert unite(manifest(a, recipe=RECIPE), manifest(b, recipe=RECIPE), MergeOptions(prefix_b="b/")).recipe == MERGED


def test_split_shares_are_kept_if_they_are_the_same_with_the_splits_of_absent_ids() -> None:
    shares = {"names": ["train", "val"], "fractions": {"train": "1/2", "val": "1/2"}, "seed": 0}
    a = manifest({"x": {"split": "val"}}, splits={**shares, "absent": {"p": "val", "q": "val", "y": "train"}})
    b = manifest({"y": {"split": "train"}}, splits={**shares, "absent": {"q": "train", "r": "train"}})
    assert unite(a, b, MergeOptions()).splits == {**shares, "absent": {"p": "val", "r": "train"}}
    other = manifest({"y": {"split": "train"}}, splits={**shares, "seed": 1})
    assert unite(a, other, MergeOptions()).splits == {"names": ["train", "val"]}


@pytest.mark.parametrize(("key", "one", "other"), [("absent", "val", "train"), ("absent_folds", "0", "1"), ("absent_groups", "g", "h")])
def test_what_absent_ids_keep_is_kept_where_the_two_do_not_differ(key: str, one: str, other: str) -> None:
    made = {"names": ["train", "val"], "fractions": {"train": "1/2", "val": "1/2"}, "seed": 0, "group_by": "patient", "folds": 2}
    a = manifest({"x": {"split": "val"}}, splits={**made, key: {"p": one, "q": one, "s": one, "y": one}})
    b = manifest({"y": {"split": "train"}}, splits={**made, key: {"q": other, "r": other, "s": one}})
    assert unite(a, b, MergeOptions()).splits == {**made, key: {"p": one, "r": other, "s": one}}
    assert unite(a, b, MergeOptions(prefix_a="a/")).splits == made


values = st.fixed_dictionaries({"label": st.sampled_from(["cat", "dog"]), "split": st.sampled_from(["train", "val"])})
datasets = st.dictionaries(st.sampled_from("abcdefg"), values)


@given(datasets, datasets, st.sampled_from([None, "a", "b"]))
def test_the_rows_are_the_union_and_a_conflict_is_told_for_each_difference(a: Rows, b: Rows, prefer: Any) -> None:
    union = united(a, b, prefer=prefer)
    first, then = (b, a) if prefer == "b" else (a, b)
    assert rows_of(union) == {id_: dict(first.get(id_, then.get(id_, {}))) for id_ in sorted({*a, *b})}
    differing = {(id_, column) for id_ in {*a} & {*b} for column in ("label", "split") if a[id_][column] != b[id_][column]}
    told = {(conflict.ids[0], conflict.column) for conflict in (union.resolved if prefer else union.conflicts) if conflict.ids}
    assert told == differing


@given(datasets)
def test_a_dataset_united_with_itself_is_itself(rows: Rows) -> None:
    union = united(rows, rows)
    assert union.conflicts == []
    assert rows_of(union) == {id_: dict(rows[id_]) for id_ in sorted(rows)}
    assert union.from_b == frozenset()


@pytest.mark.parametrize(("given", "kept"), [({"labels": "x.csv"}, {"source": {"labels": "x.csv"}}), ({"labels": "y.csv"}, {}), ({}, {})])
def test_what_was_given_of_two_sources_is_kept_where_it_is_one(given: dict[str, str], kept: dict[str, Any]) -> None:
    one, other = RECIPE | {"source": {"labels": "x.csv"}}, RECIPE | ({"source": given} if given else {})
    a, b = ({id_: {"label": "cat", "fingerprint": "f"}} for id_ in "xy")
    assert unite(manifest(a, recipe=one), manifest(b, recipe=other), MergeOptions()).recipe == RECIPE | kept

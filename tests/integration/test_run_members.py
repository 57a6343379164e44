"""Items inside container files, read by a reader of another package: a file of lines, each of which is an item with a name."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from command_line import build, check_refused, prep, set_age, snapshot

from manifests import load_manifest
from manifests.rows.buffers import string_array
from prep import BuildOptions, SilentReporter, SourceError, build_shards
from prep.build.scan import headers
from prep.build.state.state import State
from prep.sources import members as member_names

LINES = """
    import json
    import os
    import signal
    import time

    import numpy as np
    from prep.errors import ItemError
    from prep.readers.reader import Reader, Reading

    class Lines(Reader):
        name = "lines"
        singular = "file of lines"
        files = ".lines files"
        suffixes = frozenset({".lines"})

        def members(self, path):
            with open(OPENED, "a") as file:
                print(path.name, file=file)
            text = path.read_text()
            if text == "greedy":
                raise MemoryError("too much")
            if text == "broken":
                raise ItemError("is broken")
            if text == "deadly":
                os.kill(os.getpid(), signal.SIGKILL)
            while text == "endless":
                time.sleep(0.1)
            return None if text == "itself" else [json.loads(line)[0] for line in text.splitlines()]

        def read(self, path, member, wanted):
            with open(path) as file:
                text = file.read()
            if text == "itself":
                return Reading(array=np.zeros(2, np.float32))
            numbers = dict(json.loads(line) for line in text.splitlines())[member]
            if numbers is None:
                raise ItemError("has no numbers")
            return Reading(array=np.array(numbers, dtype=np.float32))

        def libraries(self):
            return {"lines": RELEASE}
"""
"""A package with a reader of `.lines` files: a name and its numbers a line, as JSON has them."""

SOME = {"a/one": {"x": [1, 2], "y": [3, 4]}, "a/two": {"x": [5, 6]}, "b/three": {"deep/z": [7, 8], "w": [9, 10]}}
IDS = ["a/one/x", "a/one/y", "a/two/x", "b/three/deep/z", "b/three/w"]

Write = Callable[..., Path]


@pytest.fixture
def code() -> str:
    """Return the package's code."""
    return LINES


@pytest.fixture
def opened(code: str, install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the reader, and return the file that has a line for each time that members were listed."""
    monkeypatch.delitem(sys.modules, "lines", raising=False)
    path = tmp_path / "opened.txt"
    path.touch()
    install("lines", f"OPENED = {str(path)!r}\nRELEASE = '1.0'\n{dedent(code)}", "lines = lines:Lines")
    return path


@pytest.fixture
def write(opened: Path, raw: Path) -> Write:
    """Return a function that writes containers below the source: by name, members and their numbers, or a text as it is."""
    assert opened.exists()

    def add(files: dict[str, Any], age: int = 1_000) -> Path:
        for name, members in files.items():
            path = raw / f"{name}.lines"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = members.items() if isinstance(members, dict) else members
            path.write_text(members if isinstance(members, str) else "\n".join(json.dumps([*line]) for line in lines))
            set_age(path, age)
        return raw

    return add


def failures_of(out: Path) -> list[tuple[str, str, str]]:
    """Return ID, source and stage of each failure."""
    if not (out / "failures.csv").exists():
        return []
    with open(out / "failures.csv", encoding="utf-8", newline="") as file:
        return [(row["id"], row["source"], row["stage"]) for row in csv.DictReader(file)]


def values(out: Path) -> dict[str, list[float]]:
    """Return the numbers of each ID."""
    manifest = load_manifest(out)
    return {id_: np.asarray(manifest.load(id_)).tolist() for id_ in manifest.ids}


def column(out: Path, name: str) -> list[str]:
    return list(load_manifest(out).frame[name])


# What becomes of a container


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_member_is_an_item(write: Write, raw: Path, out: Path, workers: str) -> None:
    write({**SOME, "b/plain": "itself"})
    outcome = prep("build-shards", raw, out, "--workers", workers)
    assert outcome.code == 0, outcome.err
    assert "items: 6 items in 4 files\n" in outcome.err
    numbers = [value for members in SOME.values() for value in members.values()]
    assert values(out) == {**dict(zip(IDS, numbers, strict=True)), "b/plain": [0, 0]}
    assert column(out, "label") == ["a", "a", "a", "b", "b", "b"]
    assert column(out, "source") == [f"{name}.lines" for name in ("a/one", "a/one", "a/two", "b/plain", "b/three", "b/three")]
    assert column(out, "member") == ["x", "y", "x", "", "deep/z", "w"]
    assert column(out, "group") == ["a/one.lines", "a/one.lines", "a/two.lines", "", "b/three.lines", "b/three.lines"]
    assert len(set(column(out, "fingerprint"))) == 6
    assert prep("verify", out).code == 0


def test_how_many_workers_there_are_makes_no_difference(write: Write, raw: Path, out: Path, tmp_path: Path) -> None:
    write(SOME)
    build(raw, out)
    assert prep("build-shards", raw, tmp_path / "other", "--workers", "2").code == 0
    assert snapshot(tmp_path / "other") == snapshot(out)


def test_where_no_file_is_a_container_there_is_no_column(write: Write, raw: Path, out: Path) -> None:
    write({"a": "itself", "b": "itself"})
    build(raw, out)
    assert not {"member", "group"} & {*load_manifest(out).columns}


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, "holds no items"),
        ({"": [1]}, "holds 1 item whose name cannot be part of an ID: the name '' is empty"),
        ({"../x": [1], "/y": [2]}, "holds 2 items whose name cannot be part of an ID: the name '../x' has the component '..'"),
        ({"a\nb": [1]}, "has a control character"),
        ({"a\\b": [1]}, "has a backslash"),
        ({"a" * 256: [1]}, "has a component of 256 bytes"),
        ({"\ud800": [1]}, "cannot be encoded as UTF-8"),
        ([("x", [1]), ("x", [2])], "holds 'x' twice"),
        ({"x": [1], "X": [2]}, "holds 'x' and 'X', which are one name on a case-insensitive disk"),
        ({"x": [1], "x.npy/y": [2]}, "item 'x.npy/y' needs a folder where item 'x' has its shard"),
        ([(1, [1])], "its reader 'lines' returned names of items that are not text"),
        ({str(number): [1] for number in range(6)}, "holds 6 items; at most 5 are taken of one file"),
        ("broken", "is broken"),
        ("greedy", "MemoryError: too much"),
    ],
)
def test_a_file_whose_members_cannot_be_used_is_one_failure(
    write: Write, raw: Path, out: Path, monkeypatch: pytest.MonkeyPatch, members: Any, says: str
) -> None:
    monkeypatch.setattr(member_names, "MAX_SAMPLES", 5)
    write({**SOME, "a/bad": members})
    outcome = prep("build-shards", raw, out, "--workers", "1")
    assert outcome.code == 1
    assert failures_of(out) == [("", "a/bad.lines", "read")]
    with open(out / "failures.csv", encoding="utf-8", newline="") as file:
        assert says in next(csv.DictReader(file))["error"].replace("\\\\", "\\")
    assert list(load_manifest(out).ids) == IDS
    assert prep("build-shards", raw, out, "--workers", "1", "--max-failures", "1").code == 0


@pytest.mark.parametrize(("text", "stage", "timeout"), [("deadly", "worker-died", "60"), ("endless", "timeout", "1")])
def test_a_file_that_brings_its_worker_down_is_one_failure(write: Write, raw: Path, out: Path, text: str, stage: str, timeout: str) -> None:
    write({**SOME, "a/bad": text})
    outcome = prep("build-shards", raw, out, "--workers", "2", "--item-timeout", timeout)
    assert outcome.code == 1, outcome.err
    assert failures_of(out) == [("", "a/bad.lines", stage)]
    assert list(load_manifest(out).ids) == IDS


def test_nothing_but_broken_containers_is_refused(write: Write, raw: Path, out: Path) -> None:
    write({"a": "broken", "b": "broken"})
    check_refused(prep("build-shards", raw, out, "--workers", "1"), 1, "none of 2 raw items can be used", "a.lines: read: is broken")


def test_a_file_whose_name_can_be_no_id_is_refused_alone(write: Write, raw: Path, out: Path) -> None:
    write({"a\nb": {"x": [1]}})
    check_refused(prep("build-shards", raw, out, "--workers", "1"), 1, "none of 1 raw item can be used")
    write(SOME)
    prep("build-shards", raw, out, "--workers", "1")
    assert list(load_manifest(out).ids) == IDS
    assert [stage for _, _, stage in failures_of(out)] == ["find"]


def test_so_many_failures_end_the_listing(write: Write, raw: Path, out: Path) -> None:
    write({"a": "broken", "b": "broken", "c": {"x": [1]}})
    outcome = prep("build-shards", raw, out, "--workers", "1", "--stop-after-failures", "2")
    check_refused(outcome, 1, "stopped after 2 failures (list: ")


def test_ids_that_meet_across_files_are_refused(write: Write, raw: Path, out: Path) -> None:
    write({"k/a": {"b/c": [1]}, "k/a/b": {"c": [2]}})
    with pytest.raises(SourceError, match=r"'k/a\.lines: b/c' and 'k/a/b\.lines: c' both map to ID 'k/a/b/c'"):
        build_shards(raw, out, BuildOptions(workers=1), report=SilentReporter())


# What changes


@pytest.mark.parametrize("checksum", [(), ("--checksum",)])
def test_what_has_not_changed_is_not_built_again(
    write: Write, raw: Path, out: Path, opened: Path, checksum: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(headers, "content_sha256", lambda path, sha256=headers.content_sha256: (hashed.append(path.name), sha256(path))[1])
    write(SOME)
    build(raw, out, *checksum)
    assert sorted(opened.read_text().split()) == ["one.lines", "three.lines", "two.lines"]
    assert sorted(hashed) == (["one.lines", "three.lines", "two.lines"] if checksum else [])
    before = snapshot(out)
    opened.write_text("")
    assert "keep 5" in build(raw, out).err
    assert snapshot(out) == before
    assert len(opened.read_text().split()) == (3 if checksum else 0)


def test_a_new_release_of_the_reader_lists_members_again(
    write: Write, raw: Path, out: Path, opened: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(SOME)
    build(raw, out)
    opened.write_text("")
    monkeypatch.setattr(sys.modules["lines"], "RELEASE", "2.0")
    assert "rebuild 5" in build(raw, out).err
    assert len(opened.read_text().split()) == 3


@pytest.mark.parametrize("checksum", [(), ("--checksum",)])
def test_all_of_a_file_that_has_changed_is_built_again(write: Write, raw: Path, out: Path, opened: Path, checksum: tuple[str, ...]) -> None:
    write(SOME)
    build(raw, out, *checksum)
    opened.write_text("")
    write({"a/one": {"y": [3, 5], "new": [0, 0]}}, age=2_000)
    assert "add 1, rebuild 1, keep 3, gone but kept 1" in build(raw, out).err
    assert "one.lines\n" in opened.read_text()
    assert values(out) == dict(zip(sorted([*IDS, "a/one/new"]), [[0, 0], [1, 2], [3, 5], [5, 6], [7, 8], [9, 10]], strict=True))
    assert column(out, "member") == ["new", "x", "y", "x", "deep/z", "w"]
    assert "remove 1" in build(raw, out, "--prune").err
    assert list(load_manifest(out).ids) == sorted([*IDS[1:], "a/one/new"])
    (raw / "a" / "one.lines").unlink()
    assert "remove 2" in build(raw, out, "--prune").err
    assert list(load_manifest(out).ids) == IDS[2:]


def test_content_tells_files_and_names_tell_their_items(write: Write, raw: Path, out: Path) -> None:
    write({"a": {"x": [1], "y": [1]}, "b": {"x": [1], "y": [1]}})
    build(raw, out, "--checksum")
    prints = dict(zip(column(out, "id"), column(out, "fingerprint"), strict=True))
    assert prints["a/x"] == prints["b/x"] != prints["a/y"] == prints["b/y"]
    write({"a": {"x": [1], "y": [1]}}, age=2_000)
    assert "keep 4" in build(raw, out).err
    (raw / "a.lines").rename(raw / "c.lines")
    assert "move 2, keep 2, remove 2" in build(raw, out, "--prune").err
    assert column(out, "source") == ["b.lines", "b.lines", "c.lines", "c.lines"]
    assert column(out, "member") == ["x", "y", "x", "y"]
    assert prep("verify", out).code == 0


def test_a_file_that_becomes_a_container(write: Write, raw: Path, out: Path) -> None:
    write({"a": "itself", "b": "itself"})
    build(raw, out)
    write({"a": {"x": [1, 2]}}, age=2_000)
    build(raw, out, "--prune")
    assert (column(out, "id"), column(out, "member")) == (["a/x", "b"], ["x", ""])
    write({"a": "itself"}, age=3_000)
    build(raw, out, "--prune")
    assert "member" not in load_manifest(out).columns


def test_a_build_that_was_stopped_goes_on(write: Write, raw: Path, out: Path, opened: Path) -> None:
    write({"a/good": {f"{number:03d}": [number] for number in range(40)}, "b/bad": {"x": None, "y": [1]}})
    check_refused(prep("build-shards", raw, out, "--workers", "1", "--stop-after-failures", "1"), 1, "stopped after 1 failure")
    before = opened.read_text()
    outcome = prep("build-shards", raw, out, "--workers", "1")
    assert "going on: 41 items of an earlier build" in outcome.err
    assert opened.read_text() == before
    assert len(load_manifest(out)) == 41


def test_a_list_of_members_that_no_build_has_written_is_not_believed(write: Write, raw: Path, out: Path, opened: Path) -> None:
    write(SOME)
    build(raw, out)
    state = State.load(out)
    forged = ["../x", *state.items["member"].to_pylist()[1:]]
    at = state.items.column_names.index("member")
    replace(state, items=state.items.set_column(at, "member", pa.chunked_array([string_array(forged)]))).save(out)
    opened.write_text("")
    assert "keep 5" in build(raw, out).err
    assert len(opened.read_text().split()) == 3


# What fails, and retries


def test_a_member_that_fails_is_retried_alone(write: Write, raw: Path, out: Path, opened: Path) -> None:
    write({**SOME, "c/bad": {"good": [1, 2], "bad": None, "worse": None}})
    assert prep("build-shards", raw, out, "--workers", "1").code == 1
    assert failures_of(out) == [("c/bad/bad", "c/bad.lines", "read"), ("c/bad/worse", "c/bad.lines", "read")]
    before = opened.read_text()
    assert prep("retry", out).code == 1
    assert opened.read_text() == before
    write({"c/bad": {"good": [1, 2], "bad": [3, 4], "worse": None, "new": [5, 6]}}, age=2_000)
    assert prep("retry", out, "--max-failures", "1").code == 0
    assert failures_of(out) == [("c/bad/worse", "c/bad.lines", "read")]
    assert list(load_manifest(out).ids) == [*IDS, "c/bad/bad", "c/bad/good"]
    # The list of the file is whole all the same: what the retry was not about is not forgotten.
    assert "add 2, rebuild 1, keep 6" in prep("build-shards", raw, out, "--workers", "1").err
    assert "c/bad/new" in load_manifest(out)


def test_a_file_that_breaks_loses_its_rows_and_has_them_again_with_their_splits(write: Write, raw: Path, out: Path) -> None:
    write({f"{number}": {"x": [number], "y": [number]} for number in range(20)})
    build(raw, out, "--split", "train=0.6,val=0.4")
    before = snapshot(out)
    good = (raw / "7.lines").read_text()
    write({"7": "broken"}, age=2_000)
    outcome = prep("build-shards", raw, out, "--workers", "1")
    assert outcome.code == 1
    assert "dropped: 2 rows whose raw item fails now: '7/x', '7/y'" in outcome.err
    assert failures_of(out) == [("", "7.lines", "read")]
    assert len(load_manifest(out)) == 38
    for command in (["build-shards", raw, out, "--workers", "1", "--prune"], ["retry", out]):
        assert prep(*command).code == 1
        assert failures_of(out) == [("", "7.lines", "read")]
    write({"7": good}, age=1_000)
    outcome = prep("retry", out)
    assert outcome.code == 0, outcome.err
    assert snapshot(out) == before


def test_what_else_a_file_holds_stays_where_a_retry_finds_it_broken(write: Write, raw: Path, out: Path) -> None:
    write({**SOME, "c/bad": {"good": [1, 2], "bad": None}})
    prep("build-shards", raw, out, "--workers", "1")
    write({"c/bad": "broken"}, age=2_000)
    outcome = prep("retry", out)
    assert outcome.code == 1
    assert "no longer in failures.csv" not in outcome.err
    assert "dropped" not in outcome.err
    assert failures_of(out) == [("", "c/bad.lines", "read")]
    assert list(load_manifest(out).ids) == [*IDS, "c/bad/good"]
    write({"c/bad": {"good": [1, 2], "bad": [3, 4]}}, age=3_000)
    assert prep("retry", out).code == 0
    assert list(load_manifest(out).ids) == [*IDS, "c/bad/bad", "c/bad/good"]


# Tables


def table(raw: Path, *rows: str) -> Path:
    path = raw / "table.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_table_may_name_files_and_members(write: Write, raw: Path, out: Path, opened: Path) -> None:
    write(SOME)
    labels = table(raw, "file,member,label,age", "a/one.lines,y,cat,1", "three,,dog,2")
    outcome = build(labels, out)
    assert "IDs from column 'file', files from column 'file'\n" in outcome.err
    assert "ignored: 1 item of container files that no row names\n" in outcome.err
    frame = load_manifest(out).frame
    assert frame[["id", "label", "age", "source", "member"]].to_numpy().tolist() == [
        ["a/one/y", "cat", "1", "a/one.lines", "y"],
        ["three/deep/z", "dog", "2", "b/three.lines", "deep/z"],
        ["three/w", "dog", "2", "b/three.lines", "w"],
    ]
    before = opened.read_text()
    assert "keep 3" in build(labels, out).err
    # What no row named before is known as well.
    table(raw, "file,member,label,age", "a/one.lines,,cat,1", "three,,dog,2")
    assert "add 1, rebuild 0, keep 3" in build(labels, out).err
    assert opened.read_text() == before
    assert list(load_manifest(out).ids) == ["a/one/x", "a/one/y", "three/deep/z", "three/w"]


def test_a_row_of_a_member_keeps_its_id(write: Write, raw: Path, out: Path) -> None:
    write(SOME)
    labels = table(
        raw, "id,path,member,label", "p1,a/one.lines,x,cat", "p2,a/one.lines,y,dog", "p3,b/three.lines,,dog", "p4,a/two.lines,q,dog"
    )
    outcome = prep("build-shards", labels, out, "--workers", "1")
    assert outcome.code == 1
    assert list(load_manifest(out).ids) == ["p1", "p2", "p3/deep/z", "p3/w"]
    assert failures_of(out) == [("p4", "a/two.lines", "find")]
    assert "the file holds no item 'q'" in (out / "failures.csv").read_text()


def test_a_member_that_two_rows_name_is_refused_under_one_id(write: Write, raw: Path, out: Path) -> None:
    write(SOME)
    labels = table(raw, "file,member,label", "a/one.lines,,cat", "a/one.lines,x,dog")
    check_refused(prep("build-shards", labels, out, "--workers", "1"), 1, "both map to ID 'a/one/x'")


def test_a_column_member_of_other_files_is_told(raw: Path, out: Path) -> None:
    raw.mkdir(exist_ok=True)
    np.save(raw / "1.npy", np.zeros(2))
    outcome = build(table(raw, "file,label,member", "1.npy,cat,club"), out)
    assert "not kept: 'member', names that the manifest gives a meaning of its own" in outcome.err


SURVEYED = """
    from prep.readers.reader import Settled, SurveyedReader

    class Surveyed(Lines, SurveyedReader):
        def read(self, path, member, wanted):
            return Reading(array=super().read(path, member, wanted).array, header=member)

        def header(self, path, member):
            return member

        def parse_header(self, text):
            return text

        def settle(self, headers, options, asked, before):
            return Settled(options=options, dtype=asked.dtype, notes=[])

        def describe(self, headers):
            return []

        def is_settled(self, options, asked):
            return True

    Lines = Surveyed
"""
"""What gives the lines headers, which are read along with them."""


@pytest.mark.parametrize("code", [LINES + SURVEYED])
def test_members_of_which_no_row_is_are_known_after_a_survey_too(write: Write, raw: Path, out: Path, opened: Path) -> None:
    write(SOME)
    labels = table(raw, "file,member,label", "a/one.lines,y,cat", "three,,dog")
    build(labels, out)
    before = opened.read_text()
    assert len(before.split()) == 2
    table(raw, "file,member,label", "a/one.lines,,cat", "three,,dog")
    assert "add 1, rebuild 0, keep 3" in build(labels, out).err
    assert opened.read_text() == before


# Splits


def splits_of(out: Path) -> dict[str, set[str]]:
    """Return the splits of each file."""
    found: dict[str, set[str]] = {}
    for source, split in zip(column(out, "source"), column(out, "split"), strict=True):
        found.setdefault(source, set()).add(split)
    return found


def test_items_of_one_file_share_a_split(write: Write, raw: Path, out: Path) -> None:
    write({f"{number:02d}": {name: [number] for name in "abcde"} for number in range(12)})
    build(raw, out, "--split", "train=0.5,val=0.5")
    assert column(out, "group") == column(out, "source")
    before = splits_of(out)
    assert all(len(splits) == 1 for splits in before.values())
    assert set.union(*before.values()) == {"train", "val"}
    write({"03": {name: [3] for name in "abcdefgh"}}, age=2_000)
    build(raw, out)
    assert splits_of(out) == before


def test_a_group_that_is_given_counts(write: Write, raw: Path, out: Path) -> None:
    write({"one": {f"{number:02d}": [number] for number in range(20)}})
    build(raw, out, "--split", "train=0.5,val=0.5", "--group-by", "member")
    assert splits_of(out) == {"one.lines": {"train", "val"}}
    assert column(out, "group") == column(out, "member")
    labels = table(raw, "file,member,label,group", "one,00,cat,g", "one,01,dog,g", "one,02,dog,")
    build(labels, out.with_name("other"), "--split", "train=0.5,val=0.5")
    assert column(out.with_name("other"), "group") == ["g", "g", "one.lines"]


@pytest.mark.parametrize("options", [(), ("--split-column", "split")])
def test_a_table_may_put_items_of_one_file_in_several_splits(write: Write, raw: Path, out: Path, options: tuple[str, ...]) -> None:
    write({"one": {"x": [1], "y": [2]}})
    build(table(raw, "file,member,label,split", "one,x,cat,train", "one,y,dog,val"), out, *options)
    assert column(out, "split") == ["train", "val"]
    assert "group" not in load_manifest(out).columns


# What is done with datasets


def test_the_column_goes_through_diff_and_merge(write: Write, raw: Path, out: Path, tmp_path: Path) -> None:
    write(SOME)
    build(raw, out)
    other, both = tmp_path / "other", tmp_path / "both"
    (raw / "a" / "one.lines").rename(raw / "a" / "four.lines")
    build(raw, other)
    outcome = prep("diff", out, other)
    assert "a/four/x" in outcome.out
    outcome = prep("merge", out, other, both, "--prefer", "a")
    assert outcome.code == 0, outcome.err
    assert column(both, "member") == ["x", "y", "x", "y", "x", "deep/z", "w"]
    assert prep("verify", both).code == 0


def test_a_plan_writes_nothing(write: Write, raw: Path, out: Path) -> None:
    write(SOME)
    outcome = prep("plan", raw, out)
    assert outcome.code == 0, outcome.err
    assert "add 5" in outcome.err
    assert not out.exists()

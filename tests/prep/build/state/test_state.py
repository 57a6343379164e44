"""What builds remember of raw files: it holds for files that are unchanged, and a damaged memory is none."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pytest

from manifests.rows.buffers import coded_array
from prep.build.state.fingerprints import no_prints, print_array
from prep.build.state.sealed import read_sealed, sealed_bytes
from prep.build.state.state import STATE_NAME, Facts, State, last_about, reader_key, remembered_items, together
from prep.readers.images.header import ImageFacts, header_text
from prep.sources.items import UNKNOWN, items_table

HEADERS = ["", "one", "two", "one"]


def header_of(source: str) -> str:
    return header_text(ImageFacts(height=1, width=ord(source[0]), gray=True, depth="uint8", alpha=False, animated=False))


def print_of(source: str) -> bytes:
    return source[:1].encode() * 32


def items(*sources: str, sizes: dict[str, int] | None = None) -> pa.Table:
    found = [(sizes or {}).get(source, 1) for source in sources]
    return items_table([source.partition(".")[0] for source in sources], sources, sizes=np.array(found), mtimes=np.full(len(sources), 7))


def known(*sources: str, content: bool = False, recipe: str = "r") -> State:
    """Return what is known of files, each of which has a header of its own."""
    facts = Facts(len(sources))
    facts.set_headers(range(len(sources)), list(map(header_of, sources)))
    if content:
        facts.content[:] = np.arange(1, len(sources) + 1)[:, None]
    table = facts.put_into(items(*sources))
    prints = np.array([print_of(source) for source in sources], dtype="S32")
    return State(
        items=remembered_items(table.append_column("fingerprint", print_array(prints))),
        recipe=recipe,
        read_by=reader_key("images"),
        about={"source": "s"},
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / ".prep").mkdir()
    return tmp_path


@pytest.mark.parametrize("content", [False, True])
def test_what_is_saved_comes_back(content: bool, out: Path) -> None:
    state = known("a.png", "b.png", content=content)
    state.save(out)
    loaded = State.load(out)
    assert loaded.equals(state)
    assert ("content" in loaded.items.column_names) == content
    assert last_about(out) == {"source": "s"}


def test_what_is_known_holds_for_files_that_are_unchanged() -> None:
    state = known("a.png", "b.png", "c.png", content=True)
    now = items("c.png", "b.png", "new.png", "a.png", sizes={"b.png": 2, "a.png": UNKNOWN})
    facts = Facts.known(state, now)
    assert [facts.texts[code] for code in facts.codes] == [header_of("c.png"), "", "", ""]
    assert facts.content[:, 0].tolist() == [3, 0, 0, 0]
    places = state.places_of(now)
    assert places.tolist() == [2, 1, -1, 0]
    assert state.known_prints(now, places, "r").tolist() == [print_of("c.png"), b"", b"", b""]
    assert state.known_prints(now, places, "other recipe").tolist() == no_prints(4).tolist()
    assert state.prints_at(places, "r").tolist() == [print_of("c.png"), print_of("b.png"), b"", print_of("a.png")]


@pytest.mark.parametrize("damage", [b"", b"x", b"shardfeed state 1\n"])
def test_a_damaged_memory_is_none(damage: bytes, out: Path) -> None:
    (out / ".prep" / STATE_NAME).write_bytes(damage)
    assert State.load(out).equals(State())
    assert last_about(out) == {}


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_or_a_pipe_in_its_place_is_none(kind: str, out: Path) -> None:
    known("a.png").save(out)
    path = out / ".prep" / STATE_NAME
    path.rename(out / "elsewhere")
    if kind == "link":
        path.symlink_to(out / "elsewhere")
    else:
        os.mkfifo(path)
    assert State.load(out).equals(State())
    assert last_about(out) == {}


def test_one_wrong_byte_is_enough(out: Path) -> None:
    known("a.png").save(out)
    path = out / ".prep" / STATE_NAME
    content = path.read_bytes()
    for at in range(64, len(content), 97):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert State.load(out).equals(State())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fingerprint", b"\xff" * 32),
        ("fingerprint", b"A" * 32),
        ("fingerprint", b"a" * 31 + b"\0"),
        ("about", {"source": "s", "more": "deep"}),
    ],
)
def test_what_a_stranger_has_sealed_is_none(name: str, value: Any, out: Path) -> None:
    state = known("a.png", "b.png")
    if name == "fingerprint":
        state = replace(state, items=state.items.set_column(4, name, pa.array([value, print_of("b.png")], pa.binary(32))))
    else:
        state = replace(state, about=value)
    state.save(out)
    if name == "about":
        path = out / ".prep" / STATE_NAME
        table = read_sealed(path).read_all()
        [(key, head)] = table.schema.metadata.items()
        deep = head.replace(b'"deep"', b"[" * 100_000 + b"]" * 100_000)
        path.write_bytes(sealed_bytes(table.replace_schema_metadata({key: deep})))
        assert last_about(out) == {}
    assert State.load(out).equals(State())


def headers_of(state: State) -> list[str]:
    return state.with_headers_of("images").items["header"].to_pylist()


def test_headers_that_another_release_of_pillow_has_read_are_read_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known("a.png").save(out)
    assert headers_of(State.load(out)) == [header_of("a.png")]
    monkeypatch.setattr(PIL, "__version__", "0")
    state = State.load(out)
    assert headers_of(state) == [""]
    assert state.with_headers_of("images").read_by == reader_key("images")
    assert state.items["fingerprint"].to_pylist() == [print_of("a.png")]


def test_headers_of_another_reader_are_read_again() -> None:
    state = known("a.png")
    assert state.with_headers_of("arrays").items["header"].to_pylist() == [""]
    assert headers_of(replace(state, read_by=reader_key("arrays"))) == [""]


@pytest.mark.parametrize("header", ["{}", "[" * 100_000, "x"])
def test_a_header_that_a_stranger_has_sealed_is_read_again(header: str, out: Path) -> None:
    state = known("a.png", "b.png")
    header_column = pa.chunked_array([coded_array(np.arange(2), [header, header_of("b.png")])])
    replace(state, items=state.items.set_column(3, "header", header_column)).save(out)
    assert headers_of(State.load(out)) == ["", header_of("b.png")]


def test_that_it_cannot_be_kept_stops_nobody(tmp_path: Path) -> None:
    known("a.png").save(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_of_two_memories_the_newer_one_counts() -> None:
    older, newer = known("a.png", "b.png", content=True), known("b.png", "c.png", recipe="other")
    both = together(older, newer)
    assert both.items["source"].to_pylist() == ["a.png", "b.png", "c.png"]
    assert both.items["content"].to_pylist() == [bytes([1] * 32), bytes(32), bytes(32)]
    assert both.items["fingerprint"].to_pylist()[0] == bytes(32)
    assert both.recipe == "other"
    assert json.dumps(both.about) == json.dumps(older.about)


def test_facts_are_put_into_columns_and_taken_from_them() -> None:
    facts = Facts(4)
    facts.set_headers([0, 1, 2, 3], HEADERS)
    table = facts.put_into(items("a", "b", "c", "d"))
    assert table["header"].to_pylist() == HEADERS
    again = Facts.of(table)
    assert again.have_header.tolist() == [False, True, True, True]
    again.set_headers([0], ["two"])
    assert again.put_into(table)["header"].to_pylist() == ["two", *HEADERS[1:]]

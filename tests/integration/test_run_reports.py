"""What the commands tell: help, text on stdout, JSON alone on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest
from command_line import build, check_refused, ended, prep, snapshot, start_prep, write_array, write_image

from prep.cli.app import cli
from prep.parallel import hashing as prep_readers

COMMANDS = ("build-shards", "plan", "verify", "inspect", "adopt", "diff", "merge", "recipe", "retry")


def test_these_are_the_commands() -> None:
    assert sorted(cli.commands) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_an_example_that_is_right(name: str, flag: str) -> None:
    outcome = prep(name, flag)
    assert (outcome.code, outcome.err) == (0, "")
    examples = [line.partition(" > ")[0].split() for line in outcome.out.splitlines() if line.startswith(f"    prep {name} ")]
    assert examples
    for _, _, *arguments in examples:
        # Parsed, not run: every option exists and takes what it is given.
        with cli.commands[name].make_context(name, arguments):
            pass


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help_and_every_command_has_json(name: str) -> None:
    options = [parameter for parameter in cli.commands[name].params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []
    assert [option.name for option in options if not str(option.help).endswith(".")] == []
    assert "--json" in {text for option in options for text in option.opts}


def test_plan_takes_what_build_takes() -> None:
    def names(command: str) -> set[str | None]:
        return {parameter.name for parameter in cli.commands[command].params}

    assert names("build-shards") - names("plan") == {
        "workers",
        "item_timeout",
        "max_failures",
        "stop_after_failures",
        "progress",
    }
    assert names("plan") <= names("build-shards")


def test_help_and_version_of_the_whole() -> None:
    outcome = prep("--help")
    assert outcome.code == 0
    assert all(f"  {name} " in outcome.out for name in COMMANDS)
    assert "prep build-shards photos/" in outcome.out
    assert prep("--version").out.startswith("prep, version ")


def test_inspect_counts(existing: Path) -> None:
    lines = prep("inspect", existing).out.splitlines()
    assert lines[:3] == [f"dataset   {existing}", "IDs       4", "array     (6, 8, 3) uint8"]
    assert "splits    train 2, val 2" in lines
    assert "failures  none" in lines
    assert [line.split() for line in lines[-3:]] == [["classes", "train", "val"], ["cats", "1", "1"], ["dogs", "1", "1"]]


def test_inspect_counts_in_json(existing: Path) -> None:
    outcome = prep("inspect", existing, "--json")
    size = sum(path.stat().st_size for path in (existing / "shards").rglob("*.npy"))
    assert outcome.json == {
        "path": str(existing),
        "ids": 4,
        "splits": {"train": 2, "val": 2},
        "classes": {"cats": {"train": 1, "val": 1}, "dogs": {"train": 1, "val": 1}},
        "array": "(6, 8, 3) uint8",
        "arrays": {},
        "bytes": size,
        "missing": 0,
        "failures": {},
        "statistics": json.loads((existing / "dataset.json").read_text())["statistics"],
        "labels": {"label": {"kind": "class", "classes": {"cats": {"train": 1, "val": 1}, "dogs": {"train": 1, "val": 1}}}},
    }
    assert outcome.err == ""


def test_inspect_tells_of_missing_shards(existing: Path) -> None:
    (existing / "shards" / "cats" / "000.npy").unlink()
    assert "1 shard missing" in prep("inspect", existing).out


def test_inspect_of_a_foreign_failures_file_has_no_traceback(existing: Path) -> None:
    (existing / "failures.csv").write_text("what,is,this\n1,2,3\n")
    check_refused(prep("inspect", existing), 1, "failures.csv", "stage")


def test_verify_of_a_sound_dataset(existing: Path) -> None:
    outcome = prep("verify", existing)
    assert (outcome.code, outcome.out) == (0, f"{existing}: 4 IDs checked (every byte); 0 problems\n")
    assert prep("verify", existing, "--quick").out == f"{existing}: 4 IDs checked (existence, header and size); 0 problems\n"
    assert prep("verify", existing / "manifest.csv").code == 0
    for arguments in (["--deep"], ["--deep", "--workers", "1"], ["--workers", "3"]):
        assert prep("verify", existing, *arguments).out == outcome.out


def test_verify_finds_what_is_wrong(existing: Path) -> None:
    shards = existing / "shards"
    (shards / "cats" / "000.npy").unlink()
    flipped = shards / "cats" / "001.npy"
    content = bytearray(flipped.read_bytes())
    content[-1] ^= 1
    flipped.write_bytes(content)
    (shards / "dogs" / "000.npy").write_bytes(b"")
    (shards / "extra.npy").write_bytes(b"x")
    outcome = prep("verify", existing)
    assert outcome.code == 1
    assert [line.partition(":")[0] for line in outcome.out.splitlines()[:-1]] == ["missing", "sha256", "damaged", "extra"]
    assert outcome.out.splitlines()[-1].endswith("4 problems")
    found = prep("verify", existing, "--json")
    assert found.code == 1
    assert [(finding["kind"], finding["id"]) for finding in found.json["findings"]] == [
        ("missing", "cats/000"),
        ("sha256", "cats/001"),
        ("damaged", "dogs/000"),
        ("extra", None),
    ]
    quick = prep("verify", existing, "--quick", "--json")
    assert [finding["kind"] for finding in quick.json["findings"]] == ["missing", "damaged", "extra"]


def test_verify_says_which_ids_have_nothing_to_be_compared_with(tmp_path: Path) -> None:
    for id_ in ("a", "b"):
        write_array(tmp_path / f"{id_}.npy", [1.0])
    (tmp_path / "manifest.csv").write_text("id,label\na,0\nb,1\n")
    outcome = prep("verify", tmp_path)
    assert outcome.code == 0
    assert "2 IDs checked (every byte), of which 2 have no sha256 to compare with ('a', 'b'); 0 problems" in outcome.out
    assert prep("verify", tmp_path, "--json").json["without_sha256"] == 2
    assert "sha256" not in prep("verify", tmp_path, "--quick").out


def test_verify_tells_of_hard_links_on_stderr_and_takes_no_offence(existing: Path, tmp_path: Path) -> None:
    os.link(existing / "shards" / "cats" / "000.npy", tmp_path / "other.npy")
    outcome = prep("verify", existing)
    assert (outcome.code, "hard links: 1 shard has other names" in outcome.err) == (0, True)
    assert [finding["id"] for finding in prep("verify", existing, "--json").json["linked"]] == ["cats/000"]


@pytest.mark.slow
def test_verify_finds_the_same_in_processes_as_in_threads(existing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (existing / "shards" / "cats" / "000.npy").unlink()
    (existing / "shards" / "dogs" / "000.npy").write_bytes(b"")
    (existing / "shards" / "dogs" / "copy.npy").write_bytes(b"")
    found = [prep("verify", existing, "--json", "--workers", workers) for workers in ("1", "2")]
    monkeypatch.setattr(prep_readers, "MANY_FILES", 0)
    found.append(prep("verify", existing, "--json", "--workers", "2"))
    assert len({outcome.out for outcome in found}) == 1
    assert [finding["kind"] for finding in found[0].json["findings"]] == ["missing", "damaged", "extra"]


@pytest.mark.parametrize("command", ["build-shards", "plan"])
def test_json_stands_alone_on_stdout_and_notes_on_stderr(command: str, pets: Path, out: Path) -> None:
    text, as_json = prep(command, pets, out), prep(command, pets, out, "--json")
    assert text.code == as_json.code == 0
    assert isinstance(as_json.json, dict)
    for outcome in (text, as_json):
        assert "source: folder of images, 8 files" in outcome.err
        assert "plan: " in outcome.err
        assert "source:" not in outcome.out


def test_json_is_ascii_whatever_the_names(raw: Path, out: Path) -> None:
    write_image(raw / "Vögel" / "日本.png")
    (raw / "Vögel" / "\x1b[31m.png").write_bytes(b"")
    (raw / "Vögel" / "ü.png").write_bytes(b"")
    outcome = prep("build-shards", raw, out, "--json")
    assert outcome.code == 1
    assert outcome.out.isascii()
    assert "\x1b" not in outcome.out
    assert {failure["source"] for failure in outcome.json["failures"]} == {r"Vögel/\x1b[31m.png", "Vögel/ü.png"}
    assert list(prep("inspect", out, "--json").json["classes"]) == ["Vögel"]


def test_a_failure_as_json_holds_the_whole_message(raw: Path, out: Path) -> None:
    outcome = prep("build-shards", raw / "nowhere", out, "--json")
    assert outcome.json["exit_code"] == 2
    assert outcome.json["error"] in outcome.err


def test_no_progress_bar_in_a_log_file(pets: Path, out: Path) -> None:
    outcome = prep("build-shards", pets, out)
    assert "\r" not in outcome.err
    assert "%" not in outcome.err


def test_text_goes_through_a_terminal_that_knows_only_ascii(raw: Path, out: Path) -> None:
    write_image(raw / "Vögel" / "日本.png")
    build(raw, out)
    before = snapshot(out)
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    with start_prep("build-shards", raw, out, env=environment) as process:
        outcome = ended(process)
    assert (outcome.code, "Traceback" in outcome.err) == (0, False), outcome.err
    with start_prep("inspect", out, env=environment) as process:
        outcome = ended(process)
    assert (outcome.code, "Traceback" in outcome.err) == (0, False), outcome.err
    assert snapshot(out) == before


def test_a_reader_of_stdout_that_leaves_early_is_no_reason_for_a_traceback(pets: Path, out: Path) -> None:
    build(pets, out)
    with start_prep("verify", out, "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        outcome = ended(process)
    assert "Traceback" not in outcome.err
    assert "Exception ignored" not in outcome.err


def test_json_of_every_command_parses(existing: Path, tmp_path: Path) -> None:
    for arguments in (["plan", tmp_path / "good", existing], ["inspect", existing], ["verify", existing], ["diff", existing, existing]):
        assert isinstance(json.loads(prep(*arguments, "--json").out), dict)

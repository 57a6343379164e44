"""Bad input: one clear line, the right exit code, no traceback, and what was there before stays as it was."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import STATE_FOLDER, build, check_leaves_no_trace, check_refused, prep, snapshot, write_array, write_image, write_pets

DATA, USAGE = 1, 2


@dataclass(frozen=True)
class Bad:
    """One kind of bad input.

    Attributes:
        make: makes it in the folder for raw data and returns the arguments before and after OUT.
        code: exit code to expect.
        says: what the message must name.
    """

    make: Callable[[Path], tuple[list[Path | str], list[Path | str]]]
    code: int
    says: tuple[str, ...]


def _folder(write: Callable[[Path], object], *options: str) -> Callable[[Path], tuple[list[Path | str], list[Path | str]]]:
    def make(raw: Path) -> tuple[list[Path | str], list[Path | str]]:
        write(raw)
        return [raw], list(options)

    return make


def _table(
    text: str | bytes, *options: str, files: tuple[str, ...] = ("a.png", "b.png"), name: str = "train.csv"
) -> Callable[[Path], tuple[list[Path | str], list[Path | str]]]:
    def make(raw: Path) -> tuple[list[Path | str], list[Path | str]]:
        for number, file in enumerate(files):
            write_image(raw / file, seed=number)
        (raw / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return [raw / name], list(options)

    return make


def _truncated(raw: Path) -> None:
    path = write_image(raw / "cats" / "half.png", shape=(64, 64, 3))
    path.write_bytes(path.read_bytes()[:2000])


def _png_of_size(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def _file(name: str, content: bytes) -> Callable[[Path], object]:
    def write(raw: Path) -> None:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(content)

    return write


class _Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def _object_array(raw: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([_Marker(raw.parent / "unpickled")], dtype=object), allow_pickle=True)
    return file.getvalue()


def _write_object_npy(raw: Path) -> None:
    _file("cats/evil.npy", _object_array(raw))(raw)


def _write_object_npz(raw: Path) -> None:
    (raw / "cats").mkdir()
    with zipfile.ZipFile(raw / "cats" / "evil.npz", "w") as archive:
        archive.writestr("x.npy", _object_array(raw))


def _write_pickle(raw: Path) -> None:
    _file("cats/evil.npy", pickle.dumps(_Marker(raw.parent / "unpickled")))(raw)


def _write_truncated_npy(raw: Path) -> None:
    path = write_array(raw / "cats" / "half.npy", np.arange(1000))
    path.write_bytes(path.read_bytes()[:-1])


def _write_twins(raw: Path) -> None:
    write_image(raw / "cats" / "001.png")
    write_image(raw / "cats" / "001.bmp")


def _write_case_twins(raw: Path) -> None:
    write_image(raw / "cats" / "a.png")
    write_image(raw / "cats" / "A.png")
    if len(list((raw / "cats").iterdir())) == 1:
        pytest.skip("this disk takes a.png and A.png for one")


def _write_homeless(raw: Path) -> None:
    write_pets(raw)
    write_image(raw / "stray.png")


def _write_mixed(raw: Path) -> None:
    write_image(raw / "cats" / "a.png")
    write_array(raw / "cats" / "b.npy", np.zeros(3))


def _write_depths(raw: Path) -> None:
    write_image(raw / "cats" / "a.png", shape=(4, 4))
    from PIL import Image  # noqa: PLC0415  # one case's need

    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(raw / "cats" / "b.png")


def _write_folder_and_table(raw: Path) -> None:
    write_pets(raw)
    (raw / "labels.csv").write_text("id,label\n000,cat\n")


def _write_control_name(raw: Path) -> None:
    write_image(raw / "cats" / "red\x1b[31m.png")


def _write_undecodable_name(raw: Path) -> None:
    path = os.fsencode(write_image(raw / "cats" / "a.png"))
    try:
        os.rename(path, path.replace(b"a.png", b"caf\xe9.png"))
    except OSError:
        pytest.skip("this disk takes only names in UTF-8")


def _mixed_table(raw: Path) -> tuple[list[Path | str], list[Path | str]]:
    write_array(raw / "n.npy", [1.0])
    return _table("image,label\na,x\nn.npy,y\n", files=("a.png",))(raw)


BAD = {
    "no such source": Bad(lambda raw: ([raw / "nowhere"], []), USAGE, ("nowhere", "no such source")),
    "no such table": Bad(lambda raw: ([raw / "nowhere.csv"], []), USAGE, ("nowhere.csv", "no such source")),
    "source of another kind": Bad(lambda raw: ([_file("notes.txt", b"hello")(raw) or raw / "notes.txt"], []), USAGE, ("notes.txt",)),
    "empty source": Bad(_folder(lambda raw: None), DATA, ("raw", "empty", ".png")),
    "source with nothing of use": Bad(_folder(_file("cats/notes.txt", b"x")), DATA, ("raw", "empty")),
    "no images though asked for": Bad(_folder(lambda raw: write_array(raw / "a.npy", [1]), "--format", "images"), DATA, ("no images",)),
    "no arrays though asked for": Bad(_folder(write_pets, "--format", "arrays"), DATA, ("no .npy",)),
    "truncated image": Bad(_folder(_truncated), DATA, ("cats/half.png", "truncated")),
    "zero-byte image": Bad(_folder(_file("cats/none.png", b"")), DATA, ("cats/none.png", "0 bytes")),
    "text with the ending of an image": Bad(
        _folder(_file("cats/text.jpg", b"hello")), DATA, ("cats/text.jpg", "no image of a known format")
    ),
    "image of 50,000 x 50,000": Bad(
        _folder(_file("cats/bomb.png", _png_of_size(50_000, 50_000))), DATA, ("cats/bomb.png", "pixels", "178,956,970")
    ),
    "image of a size that no memory holds": Bad(
        _folder(_file("cats/bomb.png", _png_of_size(2**31 - 1, 2**31 - 1))), DATA, ("cats/bomb.png",)
    ),
    "array of Python objects": Bad(_folder(_write_object_npy), DATA, ("cats/evil.npy", "Python objects")),
    "array of Python objects in an .npz": Bad(_folder(_write_object_npz), DATA, ("cats/evil.npz", "Python objects")),
    "a bare pickle": Bad(_folder(_write_pickle), DATA, ("cats/evil.npy", "not a .npy file")),
    "truncated array": Bad(_folder(_write_truncated_npy), DATA, ("cats/half.npy", "truncated")),
    "array of zero bytes": Bad(_folder(_file("cats/none.npy", b"")), DATA, ("cats/none.npy",)),
    "damaged .npz": Bad(_folder(_file("cats/no.npz", b"PK nothing")), DATA, ("cats/no.npz",)),
    "array of text": Bad(_folder(lambda raw: write_array(raw / "cats" / "t.npy", ["a", "b"])), DATA, ("cats/t.npy", "not numeric")),
    "two raw files of one ID": Bad(_folder(_write_twins), DATA, ("cats/001.png", "cats/001.bmp", "both map to ID 'cats/001'", "rename")),
    "two raw files of one ID on some disks": Bad(_folder(_write_case_twins), DATA, ("cats/a.png", "cats/A.png", "case-insensitive")),
    "a file in no class folder": Bad(_folder(_write_homeless), DATA, ("stray.png", "--allow-empty-labels")),
    "images and arrays": Bad(_folder(_write_mixed), USAGE, ("1 image", "1 array", "--format")),
    "images of several depths": Bad(_folder(_write_depths), DATA, ("cats/a", "cats/b", "--dtype", "--scale unit")),
    "a folder with a table": Bad(_folder(_write_folder_and_table), USAGE, ("labels.csv", "--labels", "--format")),
    "a name with terminal commands": Bad(_folder(_write_control_name), DATA, (r"red\x1b[31m.png", "control character")),
    "a name that is no UTF-8": Bad(_folder(_write_undecodable_name), DATA, (r"caf\udce9.png", "UTF-8")),
    "a label with the separator": Bad(_folder(lambda raw: write_image(raw / "a;b" / "1.png")), DATA, ("a;b", "';'")),
    "table without the ID column": Bad(
        _table("image,label\na,x\n", "--id-column", "image_id"), DATA, ("train.csv", "'image_id'", "'image'")
    ),
    "table without the path column": Bad(_table("image,label\na,x\n", "--path-column", "file"), DATA, ("train.csv", "'file'", "'label'")),
    "table without the label column": Bad(_table("image,label\na,x\n", "--label", "breed"), DATA, ("train.csv", "'breed'", "'image'")),
    "table with no rows": Bad(_table("image,label\n"), DATA, ("train.csv", "no rows")),
    "empty table": Bad(_table(""), DATA, ("train.csv", "empty")),
    "table that is no UTF-8": Bad(_table(b"image,label\na,caf\xe9\n"), DATA, ("train.csv", "row 2", "UTF-8")),
    "table with ragged rows": Bad(_table("image,label\na\nb,x,y\n"), DATA, ("row 2", "row 3", "fields")),
    "table with a repeated column": Bad(_table("image,label,label\na,x,y\n"), DATA, ("train.csv", "'label'", "more than once")),
    "table that is no Parquet": Bad(_table("image,label\n", name="train.parquet"), DATA, ("train.parquet", "Parquet")),
    "table with repeated IDs": Bad(
        _table("image,label\na,x\nb,y\na,x\nb,x\na,y\n"), DATA, ("row 4: ID 'a'", "in row 2", "row 5: ID 'b'", "in row 3", "row 6: ID 'a'")
    ),
    "table with IDs that differ in case": Bad(_table("image,label\na,x\nA,y\n"), DATA, ("row 3: ID 'A'", "case-insensitive", "'a'")),
    "table whose files are all missing": Bad(
        _table("image,label\nx,1\ny,2\n", "--path-column", "image"), DATA, ("train.csv", "'x'", "raw")
    ),
    "table with no column of files": Bad(_table("name,label\nx,1\ny,2\n"), DATA, ("train.csv", "--path-column", "--labels")),
    "table with two columns of files": Bad(_table("one,two,label\na,b,x\n"), USAGE, ("'one'", "'two'", "--path-column")),
    "table that leaves the label open": Bad(_table("image,age,breed\na,1,x\n"), USAGE, ("'age'", "'breed'", "--label")),
    "table with IDs that climb": Bad(_table("id,image\n../up,a\nok/../b,b\n", "--allow-empty-labels"), DATA, ("row 2", "'../up'", "row 3")),
    "table with an absolute ID": Bad(_table("id,image\n/etc/passwd,a\nC:/x,b\n"), DATA, ("row 2", "'/etc/passwd'", "absolute", "row 3")),
    "table with terminal commands in IDs": Bad(_table("id,image\n\x1b[2Jred,a\n"), DATA, ("row 2", r"\x1b[2Jred", "control character")),
    "table with an empty ID": Bad(_table('id,image\n"",a\n'), DATA, ("row 2", "is empty")),
    "table with an ID that is too long": Bad(_table(f"id,image\n{'x' * 300},a\n"), DATA, ("row 2", "300 bytes")),
    "table with empty labels": Bad(
        _table("image,label\na,\nb, \n"), DATA, ("train.csv", "row 2", "row 3", "'label' is empty", "--allow-empty-labels")
    ),
    "table of images and arrays": Bad(_mixed_table, DATA, ("train.csv", "'a.png'", "'n.npy'")),
    "columns without a table": Bad(_folder(write_pets, "--id-column", "image"), USAGE, ("--id-column", "--labels")),
    "labels that are not there": Bad(_folder(write_pets, "--labels", "nowhere.csv"), USAGE, ("nowhere.csv", "no such table")),
    "labels for a table": Bad(_table("image,label\na,x\n", "--labels", "other.csv"), USAGE, ("--labels", "train.csv")),
    "a table taken for images": Bad(_table("image,label\na,x\n", "--format", "images"), USAGE, ("train.csv", "--format images")),
    "a folder taken for a table": Bad(_folder(write_pets, "--format", "table"), USAGE, ("raw", "--labels")),
    "splits that do not add up": Bad(_folder(write_pets, "--split", "train=0.8,val=0.1"), USAGE, ("0.9", "expected 1")),
    "splits over 1": Bad(_folder(write_pets, "--split", "train=0.8,val=0.3"), USAGE, ("1.1", "expected 1")),
    "splits without shares": Bad(_folder(write_pets, "--split", "train"), USAGE, ("train=0.8", "'train'")),
    "splits that are no numbers": Bad(_folder(write_pets, "--split", "train=most,val=0.1"), USAGE, ("'train'", "'most'")),
    "a negative split": Bad(_folder(write_pets, "--split", "train=1.5,val=-0.5"), USAGE, ("val=-0.5",)),
    "a split twice": Bad(_folder(write_pets, "--split", "train=0.5,train=0.5"), USAGE, ("'train' twice",)),
    "a seed for nothing": Bad(_folder(write_pets, "--seed", "3"), USAGE, ("--seed", "--split")),
    "a size that is none": Bad(_folder(write_pets, "--size", "big"), USAGE, ("--size", "'big'", "32x32")),
    "a size of nothing": Bad(_folder(write_pets, "--size", "0x8"), USAGE, ("--size", "'0x8'")),
    "half a size": Bad(_folder(write_pets, "--size", "32"), USAGE, ("--size", "'32'")),
    "a scale that is none": Bad(_folder(write_pets, "--scale", "much"), USAGE, ("--scale", "'much'", "1/255")),
    "a scale of nothing": Bad(_folder(write_pets, "--scale", "0"), USAGE, ("scale",)),
    "a scale over nothing": Bad(_folder(write_pets, "--scale", "1/0"), USAGE, ("--scale", "1/0")),
    "a scale without end": Bad(_folder(write_pets, "--scale", "inf"), USAGE, ("scale", "inf")),
    "a scale to integers": Bad(_folder(write_pets, "--scale", "1/255", "--dtype", "uint8"), USAGE, ("scale", "'uint8'")),
    "a dtype that is none": Bad(_folder(write_pets, "--dtype", "float33"), USAGE, ("dtype", "'float33'")),
    "a dtype of objects": Bad(_folder(write_pets, "--dtype", "object"), USAGE, ("dtype", "'object'")),
    "a colour that is none": Bad(_folder(write_pets, "--color", "purple"), USAGE, ("--color", "'purple'", "rgb")),
    "colours of arrays": Bad(_folder(lambda raw: write_array(raw / "a.npy", [1.0]), "--color", "gray"), USAGE, ("--color", "arrays")),
    "a key for images": Bad(_folder(write_pets, "--npz-key", "x"), USAGE, ("--npz-key", "images")),
    "a format that is none": Bad(_folder(write_pets, "--format", "video"), USAGE, ("--format", "'video'")),
    "no workers": Bad(_folder(write_pets, "--workers", "0"), USAGE, ("--workers", "0")),
    "fewer failures than none": Bad(_folder(write_pets, "--max-failures", "-1"), USAGE, ("--max-failures", "-1")),
    "an unknown option": Bad(_folder(write_pets, "--sise", "8x8"), USAGE, ("--sise", "--size")),
    "an argument too many": Bad(_folder(write_pets, "surplus"), USAGE, ("surplus", "--help")),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_input_leaves_nothing_where_nothing_was(bad: Bad, raw: Path, out: Path) -> None:
    before, after = bad.make(raw)
    source = snapshot(raw)
    check_refused(prep("build-shards", *before, out, *after), bad.code, *bad.says)
    assert not out.exists()
    assert not (raw.parent / "unpickled").exists()
    assert snapshot(raw) == source


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_input_leaves_an_existing_dataset_as_it_was(bad: Bad, raw: Path, existing: Path, existing_arrays: Path) -> None:
    before, after = bad.make(raw)
    if any(raw.rglob("*.np[yz]")) and not any(raw.rglob("*.png")):
        existing = existing_arrays
    was = snapshot(existing)
    check_refused(prep("build-shards", *before, existing, *after), bad.code, *bad.says)
    assert snapshot(existing) == was
    check_leaves_no_trace(existing)
    assert prep("verify", existing).code == 0


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_input_is_told_in_json_too(bad: Bad, raw: Path, out: Path) -> None:
    before, after = bad.make(raw)
    outcome = prep("build-shards", *before, out, *after, "--json")
    check_refused(outcome, bad.code, *bad.says)
    assert outcome.json["exit_code"] == bad.code
    assert outcome.json["error"]


def test_a_call_without_a_command_is_one_line() -> None:
    outcome = prep()
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: Missing command. (see prep --help)\n"


@pytest.mark.parametrize("arguments", [[], ["build-shards"], ["build-shards", "raw"], ["adopt", "raw"], ["verify"], ["paint"], ["--what"]])
def test_a_command_line_that_says_too_little_or_too_much_is_wrong_usage(arguments: list[str]) -> None:
    check_refused(prep(*arguments), USAGE, "--help")


@pytest.mark.parametrize(
    "arguments",
    [
        ["build-shards", "no\x1b[2Jwhere", "data"],
        ["build-shards", "raw", "data", "--format", "\x1b[2J"],
        ["build-shards", "raw", "data", "--\x1b[2J"],
        ["build-shards", "raw", "data", "--split", "\x1b[2J=1,b"],
        ["adopt", "raw", "--labels", "\x1b[2J.csv"],
        ["verify", "\x1b[2J"],
        ["\x1b[2J"],
    ],
)
def test_terminal_commands_in_arguments_are_escaped(arguments: list[str], raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(raw.parent)
    outcome = prep(*arguments)
    check_refused(outcome, outcome.code, r"\x1b[2J")
    assert outcome.code in {DATA, USAGE}


def test_a_missing_source_is_told_as_such_wherever_the_dataset_is_to_be(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(raw)
    for out in ("data", "nowhere", "nowhere/data", "../data"):
        check_refused(prep("build-shards", "nowhere", out), USAGE, "nowhere: no such source")
    assert list(raw.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_named(pets: Path, out: Path) -> None:
    (pets / "cats").chmod(0)
    try:
        check_refused(prep("build-shards", pets, out), DATA, "cats", "cannot be read")
    finally:
        (pets / "cats").chmod(0o755)
    assert not out.exists()


def test_an_image_that_cannot_be_read_is_named(raw: Path, out: Path) -> None:
    (raw / "cats").mkdir()
    (raw / "cats" / "loop.png").symlink_to("loop.png")  # no one can open it, not even root
    check_refused(prep("build-shards", raw, out), DATA, "cats/loop.png", "cannot be")
    assert not out.exists()


@pytest.mark.parametrize(
    ("where", "says"),
    [(".", "is the source itself"), ("data", "lies in the source"), ("cats/data", "lies in the source"), ("..", "holds the source")],
)
def test_the_output_is_never_the_source_nor_in_it_nor_around_it(where: str, says: str, pets: Path) -> None:
    before = snapshot(pets.parent)
    check_refused(prep("build-shards", pets, pets / where), USAGE, says)
    assert snapshot(pets.parent) == before


def test_a_link_does_not_hide_that_the_output_lies_in_the_source(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pets)
    before = snapshot(pets)
    check_refused(prep("build-shards", pets, tmp_path / "link" / "data"), USAGE, "lies in the source")
    check_refused(prep("build-shards", tmp_path / "link", pets), USAGE, "is the source itself")
    assert snapshot(pets) == before


def test_the_output_does_not_lie_beside_a_table_in_its_folder(raw: Path) -> None:
    write_image(raw / "a.png")
    (raw / "train.csv").write_text("image,label\na,x\n")
    before = snapshot(raw)
    check_refused(prep("build-shards", raw / "train.csv", raw / "data"), USAGE, "lies in the source")
    assert snapshot(raw) == before


@pytest.mark.parametrize("name", ["notes.txt", "manifest.csv", "shards/a.npy", "holiday/a.png"])
def test_an_output_with_files_of_others_is_left_alone(name: str, pets: Path, out: Path) -> None:
    _file(name, b"mine")(out)
    before = snapshot(out)
    check_refused(prep("build-shards", pets, out), USAGE, str(out), name.split("/", maxsplit=1)[0], "choose")
    assert snapshot(out) == before
    assert not (out / STATE_FOLDER).exists()


def test_an_output_that_is_a_file_is_left_alone(pets: Path, out: Path) -> None:
    out.write_text("mine")
    check_refused(prep("build-shards", pets, out), USAGE, str(out), "is a file")
    assert out.read_text() == "mine"


def test_an_output_below_a_file_is_refused(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    check_refused(prep("build-shards", pets, tmp_path / "file" / "data"), DATA, "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_output_folder_is_welcome_and_stays_if_nothing_comes_of_it(raw: Path, out: Path) -> None:
    out.mkdir()
    check_refused(prep("build-shards", raw, out), DATA, "empty")
    assert list(out.iterdir()) == []
    write_pets(raw)
    assert prep("build-shards", raw, out).code == 0


def test_folders_above_the_output_go_again_if_nothing_comes_of_it(raw: Path, tmp_path: Path) -> None:
    _truncated(raw)
    check_refused(prep("build-shards", raw, tmp_path / "a" / "b" / "c"), DATA, "half.png")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("manifest.csv", b"no manifest at all\n", ("manifest.csv", "id")),
        ("manifest.csv", b"", ("manifest.csv", "empty")),
        ("manifest.csv", b"id,label\na,x\na,y\n", ("manifest.csv", "row 3", "'a'")),
        ("manifest.csv", b"id,path\na,../../etc/passwd\n", ("manifest.csv", "row 2", "../../etc/passwd")),
        ("manifest.csv", b"id\n\xff\xfe\n", ("manifest.csv", "row 2", "UTF-8")),
        ("dataset.json", b"{", ("dataset.json", "JSON")),
        ("dataset.json", b"[]", ("dataset.json", "object")),
        ("dataset.json", b'{"schema_version": 999}', ("dataset.json", "999", "update")),
        ("dataset.json", b'{"schema_version": 1, "recipe": 5}', ("dataset.json", "recipe")),
    ],
)
def test_a_damaged_dataset_is_named_and_left_alone(
    file: str, content: bytes, says: tuple[str, ...], existing: Path, tmp_path: Path
) -> None:
    (existing / file).write_bytes(content)
    before = snapshot(existing)
    for command in (["build-shards", tmp_path / "good", existing], ["plan", tmp_path / "good", existing]):
        check_refused(prep(*command), DATA, *says, "mend")
    for command in (["inspect", existing], ["verify", existing]):
        check_refused(prep(*command), DATA, *says)
    assert snapshot(existing) == before
    check_leaves_no_trace(existing)


@pytest.mark.parametrize(
    "recipe",
    [
        '{"digest": "x", "options": {"colour": "red"}}',
        '{"digest": "x", "options": 5}',
        '{"digest": "x", "options": {"size": 5}}',
        '{"digest": "x", "options": {"size": ["a", 1]}}',
        '{"digest": "x", "options": {"dtype": 7}}',
        '{"digest": "x", "recipe": [1]}',
        '{"digest": 5}',
    ],
)
def test_a_recipe_that_no_release_wrote_is_no_reason_for_a_traceback(recipe: str, existing: Path, tmp_path: Path) -> None:
    (existing / "dataset.json").write_text('{"schema_version": 1, "recipe": ' + recipe + "}")
    before = snapshot(existing)
    outcome = prep("build-shards", tmp_path / "good", existing)
    if outcome.code:
        check_refused(outcome, outcome.code, "dataset.json")
        assert snapshot(existing) == before
    else:
        assert prep("verify", existing).code == 0


@pytest.mark.parametrize("file", ["manifest.csv", "dataset.json"])
def test_half_a_dataset_is_left_alone(file: str, existing: Path, tmp_path: Path) -> None:
    (existing / file).unlink()
    before = snapshot(existing)
    outcome = prep("build-shards", tmp_path / "good", existing)
    check_refused(outcome, outcome.code, str(existing), "choose")
    assert snapshot(existing) == before


def test_inspect_and_verify_of_no_dataset_name_the_path(tmp_path: Path) -> None:
    for command in ("inspect", "verify"):
        check_refused(prep(command, tmp_path / "nowhere"), DATA, "nowhere", "no manifest")
        check_refused(prep(command, tmp_path), DATA, "manifest.csv")


@pytest.mark.parametrize("column", ["sha256", "shape", "dtype", "source"])
def test_a_manifest_that_lost_a_column_is_refused_in_one_line(column: str, tmp_path: Path) -> None:
    raw, out = write_pets(tmp_path / "raw"), tmp_path / "data"
    build(raw, out)
    frame = pd.read_csv(out / "manifest.csv", dtype=str, keep_default_na=False)
    frame.drop(columns=column).to_csv(out / "manifest.csv", index=False)
    was = snapshot(out)
    for command in ("build-shards", "plan"):
        check_refused(prep(command, raw, out), 2, column, "restore", "another folder")
    assert snapshot(out) == was

"""The readers by name and ending, those that other packages register, and that nothing else knows which there are."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import prep
from manifests import load_manifest
from prep import BuildOptions, ShardOptions, SilentReporter, SourceOptions, UsageError, build_shards
from prep.cli.app import run
from prep.readers import registry
from prep.readers.registry import names, names_by_suffix, reader_of, readers

PREP = Path(prep.__file__).parent
FILES = [path for path in sorted(PREP.rglob("*.py")) if PREP / "readers" not in path.parents]

TEXTS = """
    import numpy as np
    from prep.errors import ItemError
    from prep.readers.reader import Reader, Reading

    class Texts(Reader):
        name = "texts"
        singular = "text"
        files = ".txt files"
        suffixes = frozenset({".txt"})

        def read(self, path, member, wanted):
            with open(path) as file:
                try:
                    return Reading(array=np.array(file.read().split(), dtype=np.float32))
                except ValueError as error:
                    raise ItemError(str(error)) from error

        def libraries(self):
            return {"texts": "1.0"}
"""
"""A package with a reader of `.txt` files of numbers."""

RULED = """
    import json
    from dataclasses import dataclass, replace
    import numpy as np
    from prep.errors import SourceError
    from prep.readers.parameters import ReaderOptions
    from prep.readers.parameters import NUMBER, choice, param
    from prep.readers.reader import Reading, Settled, SurveyedReader

    @dataclass(frozen=True, kw_only=True)
    class RuledOptions(ReaderOptions):
        rule: str | None = param(choice("auto", "long", "short"), "how long a line may be; the longest there is", None)
        factor: float | None = param(NUMBER, "what values are multiplied by", None)

    class Texts(SurveyedReader[int]):
        name = "texts"
        singular = "text"
        files = ".txt files"
        suffixes = frozenset({".txt"})
        Options = RuledOptions

        def read(self, path, member, wanted):
            with open(path) as file:
                array = np.array(file.read().split(), dtype=np.float32)[: 9 if wanted.options.rule == "long" else 3]
            return Reading(array=array * np.float32(wanted.options.factor or 1), header=self.header(path, member))

        def header(self, path, member):
            with open(path) as file:
                return str(len(file.read().split()))

        def parse_header(self, text):
            return int(text)

        def settle(self, headers, options, asked, before):
            if headers.where(lambda length: length == 13).any():
                raise SourceError("thirteen does not go with others")
            rule = options.rule
            if rule in {None, "auto"}:
                found = "long" if headers.where(lambda length: length > 3).any() else "short"
                rule = before.rule if before is not None and before.rule else found
            return Settled(options=replace(options, rule=rule), dtype=asked.dtype or "float32", notes=[f"rule: {rule}"])

        def describe(self, headers):
            return [f"texts: {len(headers)} of {sorted(length for length, _ in headers.counts())} numbers"]

        def is_settled(self, options, asked):
            return options.rule in {"long", "short"}

        def kind(self, facts):
            return "odd" if facts == 13 else "sound"
"""
"""A package with a reader of `.txt` files of numbers, whose headers settle an option of its own."""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that makes packages look installed: what is imported from each, and its entry points."""

    def forget() -> None:
        for cached in (names_by_suffix, registry._entry_points, registry._registered):
            cached.cache_clear()

    def add(package: str, code: str, *entry_points: str) -> None:
        folder = tmp_path / "packages" / package
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{package}.py").write_text(textwrap.dedent(code))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[shardfeed.readers]", *entry_points]))
        monkeypatch.syspath_prepend(folder)
        forget()

    yield add
    monkeypatch.undo()
    forget()


def refused(source: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line in which a build of a source is refused."""
    capsys.readouterr()
    assert run(["build-shards", str(source), str(source.parent / "refused")]) == 2
    line, *others = capsys.readouterr().err.splitlines()
    assert not others
    return line


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Return a folder of `.txt` files of numbers."""
    root = tmp_path / "texts"
    for id_, numbers in {"a/1": "1 2 3", "a/2": "4 5 6", "b/3": "7 8 9.5"}.items():
        path = root / f"{id_}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(numbers)
    return root


# The ready ones


def test_the_ready_readers() -> None:
    assert names() == ("images", "arrays")
    assert [reader.name for reader in readers()] == ["images", "arrays"]
    assert all(reader_of(name).name == name for name in names())
    assert {suffix: name for suffix, name in names_by_suffix().items() if len(suffix) == 4 and "p" in suffix} == {
        ".bmp": "images",
        ".jpe": "images",
        ".jpg": "images",
        ".npy": "arrays",
        ".npz": "arrays",
        ".png": "images",
    }


@pytest.mark.parametrize("reader", readers(), ids=names())
def test_what_every_reader_says_of_itself_is_sound(reader: registry.Reader) -> None:
    assert registry._problem(reader, reader.name) is None
    assert reader.singular
    assert reader.files
    assert all(isinstance(version, str) for version in reader.libraries().values())


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="no reader 'sounds'; the readers are images, arrays;"):
        reader_of("sounds")
    with pytest.raises(UsageError, match="format must be auto, images, arrays or table, got 'sounds'"):
        SourceOptions(format="sounds")


# Those of other packages


@pytest.mark.parametrize("workers", [1, 2])
def test_a_third_reader_goes_through_a_whole_build(
    install: Install, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    (texts / "b" / "bad.txt").write_text("seven")
    out = tmp_path / "out"
    options = BuildOptions(workers=workers)
    install("texts", TEXTS, "texts = texts:Texts")
    summary = build_shards(texts, out, options, report=SilentReporter())
    assert (summary.added, summary.kept, len(summary.failures)) == (3, 0, 1)
    manifest = load_manifest(out)
    assert list(manifest.ids) == ["a/1", "a/2", "b/3"]
    assert manifest.classes == ("a", "b")
    np.testing.assert_array_equal(manifest.load("b/3"), np.array([7, 8, 9.5], np.float32))
    recipe = manifest.metadata.recipe
    assert (recipe["format"], recipe["recipe"]["format"], recipe["recipe"]["libraries"]) == ("texts", "texts", {"texts": "1.0"})
    summary = build_shards(texts, out, options, report=SilentReporter())
    assert (summary.added, summary.rebuilt, summary.kept) == (0, 0, 3)
    assert run(["retry", str(out)]) == 1
    (texts / "b" / "bad.txt").write_text("7 7 7")
    assert run(["retry", str(out)]) == 0
    assert run(["verify", str(out)]) == 0
    assert len(load_manifest(out)) == 4
    capsys.readouterr()
    assert run(["recipe", str(texts), "--size", "1x3", "--dtype", "float64"]) == 0
    assert 'format = "texts"' in capsys.readouterr().out


def built(texts: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Build a source by the command, and return what it says."""
    capsys.readouterr()
    assert run(["build-shards", str(texts), str(out), "--workers", "1", *options]) == 0
    return capsys.readouterr().err


def test_options_of_a_third_reader_are_settled_remembered_and_forgotten(
    install: Install, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("ruled", RULED, "texts = ruled:Texts")
    out = tmp_path / "out"
    said = built(texts, out, capsys, "--option", "factor=2")
    assert "texts: 3 of [3] numbers" in said
    assert "rule: short" in said
    recipe = load_manifest(out).metadata.recipe
    assert (recipe["options"], recipe["recipe"]["rule"], recipe["recipe"]["factor"]) == ({"factor": 2}, "short", 2)
    np.testing.assert_array_equal(load_manifest(out).load("a/1"), np.float32([2, 4, 6]))
    (texts / "a" / "9.txt").write_text("1 2 3 4 5")
    said = built(texts, out, capsys)  # an option that was left on auto stays what it was
    assert "rule: short" in said
    assert "--factor 2" in said
    assert "add 1, rebuild 0, keep 3" in said
    said = built(texts, out, capsys, "--forget", "rule", "--forget", "factor")
    assert "rule: long" in said
    np.testing.assert_array_equal(load_manifest(out).load("a/9"), np.float32([1, 2, 3, 4, 5]))
    np.testing.assert_array_equal(load_manifest(out).load("a/1"), np.float32([1, 2, 3]))


def test_options_of_a_third_reader_stand_in_a_recipe(
    install: Install, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("ruled", RULED, "texts = ruled:Texts")
    assert run(["recipe", str(texts), "--option", "rule=long", "--option", "factor=0.5"]) == 0
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(capsys.readouterr().out)
    assert 'rule = "long"' in recipe.read_text()
    built(texts, tmp_path / "by-flags", capsys, "--option", "rule=long", "--option", "factor=0.5")
    built(texts, tmp_path / "by-recipe", capsys, "--recipe", str(recipe))
    assert (tmp_path / "by-flags" / "manifest.csv").read_bytes() == (tmp_path / "by-recipe" / "manifest.csv").read_bytes()
    assert build_shards(texts, tmp_path / "by-flags", BuildOptions(shards=ShardOptions(rule="long", factor=0.5))).kept == 3


def test_headers_of_a_third_reader_are_read_with_the_items_where_nothing_hangs_on_them(
    install: Install, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("ruled", RULED, "texts = ruled:Texts")
    said = built(texts, tmp_path / "out", capsys, "--option", "rule=long")
    assert said.index("plan: add 3") < said.index("texts: 3 of [3] numbers")
    (texts / "b" / "odd.txt").write_text("1 " * 13)
    assert run(["build-shards", str(texts), str(tmp_path / "out"), "--workers", "1"]) == 1
    assert "thirteen does not go with others" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("rule=wide", "rule must be 'auto' or 'long' or 'short', got 'wide'"),
        ("factor=much", "factor must be a finite number, got 'much'"),
        ("ruler=long", "no reader has an option 'ruler'"),
        ("rule", "--option takes NAME=VALUE, each name once, got 'rule'"),
        ("color=gray", "--color does not go with a source of texts"),
    ],
)
def test_a_wrong_option_of_a_reader_is_one_line(
    install: Install, texts: Path, capsys: pytest.CaptureFixture[str], option: str, says: str
) -> None:
    install("ruled", RULED, "texts = ruled:Texts")
    assert run(["build-shards", str(texts), str(texts.parent / "out"), "--option", option]) == 2
    assert says in capsys.readouterr().err


def test_a_table_names_files_of_a_third_reader(install: Install, texts: Path, tmp_path: Path) -> None:
    install("texts", TEXTS, "texts = texts:Texts")
    table = texts / "labels.csv"
    table.write_text("id,label\na/1,x\nb/3,y\n")
    assert build_shards(table, tmp_path / "out", BuildOptions(workers=1), report=SilentReporter()).added == 2
    assert list(load_manifest(tmp_path / "out").ids) == ["a/1", "b/3"]
    np.save(texts / "c.npy", np.zeros(3))
    table.write_text("id,label\na/1,x\nc,y\n")
    with pytest.raises(prep.SourceError, match=r"names arrays \('c.npy'\) and texts \('a/1.txt'\); a dataset holds one or the other"):
        build_shards(table, tmp_path / "out", BuildOptions(workers=1), report=SilentReporter())


@pytest.mark.parametrize("workers", [1, 2])
def test_whatever_a_reader_raises_is_the_failure_of_its_item(install: Install, texts: Path, tmp_path: Path, workers: int) -> None:
    install("raising", TEXTS.replace("except ValueError as error", "except KeyError as error"), "texts = raising:Texts")
    (texts / "b" / "bad.txt").write_text("seven")
    summary = build_shards(texts, tmp_path / "out", BuildOptions(workers=workers), report=SilentReporter())
    [failure] = summary.failures
    assert (failure.id, failure.stage) == ("b/bad", "read")
    assert failure.error == "ValueError: could not convert string to float: 'seven'"
    assert summary.added == 3


@pytest.mark.parametrize("option", ["--color", "--npz-key"])
def test_options_of_other_readers_are_refused(install: Install, texts: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    install("texts", TEXTS, "texts = texts:Texts")
    assert run(["build-shards", str(texts), str(texts.parent / "out"), option, "rgb", "--workers", "1"]) == 2
    assert f"error: {option} does not go with a source of texts" in capsys.readouterr().err


def test_a_folder_of_several_readers_leaves_the_choice(
    install: Install, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("texts", TEXTS, "texts = texts:Texts")
    np.save(texts / "a" / "4.npy", np.zeros(3))
    assert "holds 1 array and 3 texts; choose with --format arrays or --format texts" in refused(texts, capsys)
    source = SourceOptions(format="texts")
    assert build_shards(texts, tmp_path / "out", BuildOptions(source=source, workers=1), report=SilentReporter()).added == 3
    with pytest.raises(
        prep.SourceError, match=r"no images below it; looked for .*; it holds 1 array, which --format arrays takes and 3 texts,"
    ):
        build_shards(texts, tmp_path / "out", BuildOptions(source=SourceOptions(format="images")), report=SilentReporter())


def test_a_dataset_outlives_its_reader(install: Install, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read and checked without it; building it again says what is missing."""
    out = tmp_path / "out"
    install("texts", TEXTS, "texts = texts:Texts")
    build_shards(texts, out, BuildOptions(workers=1), report=SilentReporter())
    monkeypatch.undo()
    install("other", "")  # no reader, but what was found before is forgotten
    assert names() == ("images", "arrays")
    assert run(["verify", str(out)]) == 0
    with pytest.raises(prep.SourceError, match=r"empty: no images \(.png, .*\) and no .npy or .npz files below it"):
        build_shards(texts, out, report=SilentReporter())


@pytest.mark.parametrize(
    ("code", "entry_point", "says"),
    [
        ("", "texts = missing:Texts", "ModuleNotFoundError: No module named 'missing'"),
        ("", "texts = broken:Texts", "AttributeError: "),
        ("1 / 0", "texts = broken:Texts", "ZeroDivisionError: division by zero"),
        ("Texts = dict", "texts = broken:Texts", "it is no prep.readers.reader.Reader"),
        (TEXTS, "sounds = broken:Texts", "it calls itself 'texts'"),
        (TEXTS.replace("    singular", "    plural"), "texts = broken:Texts", "it has no singular"),
        (TEXTS.replace('".txt"}', '".TXT"}'), "texts = broken:Texts", "endings must be lower case with one dot, in front; found '.TXT'"),
        (TEXTS.replace('".txt"}', '".png"}'), "texts = broken:Texts", "readers 'images' and 'texts' both take .png files"),
        (
            TEXTS.replace("    singular", "    Options = dict\n        singular"),
            "texts = broken:Texts",
            "its Options are no prep.readers.parameters.",
        ),
        (RULED.replace("rule:", "size:"), "texts = broken:Texts", "an option cannot be called 'size'"),
        (TEXTS, "images = broken:Texts", "the name 'images' is taken"),
        (TEXTS, "table = broken:Texts", "the name 'table' is taken"),
    ],
)
def test_a_broken_reader_is_one_line(
    install: Install,
    texts: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    entry_point: str,
    says: str,
) -> None:
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    install("broken", code, entry_point)
    line = refused(texts, capsys)
    assert line.startswith("error: reader")
    assert says in line


def test_two_readers_of_one_name_are_refused(install: Install, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install("one", TEXTS, "texts = one:Texts")
    install("two", TEXTS, "texts = two:Texts")
    assert refused(texts, capsys) == (
        "error: reader 'texts' (two:Texts of the package two): has the name of another, "
        "reader 'texts' (one:Texts of the package one); uninstall the package of one"
    )


# Nothing else knows which there are


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PREP).as_posix())
def test_nothing_outside_compares_with_a_readers_name(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"\bis_image\b|\bSourceFormat\b|\bIMAGE_SUFFIXES\b|\bARRAY_SUFFIXES\b", source)
    named = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    own = {"arrays"} if path.name == "header_cache.py" else set()  # a key of that file
    assert named.isdisjoint({*names()} - own)

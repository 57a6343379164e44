"""What the README and the guide tell people to type works as it stands."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prep.cli.app import run

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in ROOT.glob("**/*.md") if not {".venv", "build", "node_modules"} & set(path.relative_to(ROOT).parts))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def prep_commands(page: str) -> list[str]:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("prep ")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photos(here: Path) -> Path:
    """40 photographs of two classes."""
    rng = np.random.default_rng(0)
    for number in range(40):
        path = here / "photos" / ("cats", "dogs")[number % 2] / f"{number // 2:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    return here / "photos"


def test_the_readme_names_the_two_commands_and_ci_runs_all_tests() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in readme
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
    assert (ROOT / ".ci" / "run").read_text().endswith("\nmake test\nmake test-faults\n")
    assert re.findall(r"pytest -n 2 -m (faults|\"not faults\")", makefile) == ['"not faults"', "faults"]  # each test is in one of them


def test_every_extra_of_the_readme_exists() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    table = (ROOT / "README.md").read_text().partition("| extra | brings |")[2].partition("\n\n")[0]
    extras = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert len(extras) >= 8
    for extra in extras:
        assert re.search(rf"^{extra} = \[", project, flags=re.MULTILINE), extra


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_the_commands_for_photos_run(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = prep_commands("README.md")
    assert len(commands) >= 3
    for command in commands:
        assert run(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    assert (photos.parent / "data" / "manifest.csv").is_file()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`(prep [^`]*/[^`]*)`", (ROOT / "README.md").read_text()))))
def test_commands_within_sentences_run(photos: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    here = photos.parent
    if "kaggle" in command:
        (photos / "cats").rename(here / "kaggle")
        rows = "".join(f"{number:03d},{'beagle' if number % 2 else 'boxer'}\n" for number in range(20))
        (here / "kaggle" / "train.csv").write_text("image_id,breed\n" + rows)
    if "adopt" in command:
        (here / "data").mkdir()
        for number in range(4):
            np.save(here / "data" / f"id-{number}.npy", np.zeros((2, 2)))
        (here / "labels.json").write_text(json.dumps({f"id-{number}": number % 2 for number in range(4)}))
    assert run(shlex.split(command)[1:]) == 0, capsys.readouterr().err


def _tiny_model(shape: tuple[int, ...], n_classes: int) -> Any:
    import keras  # noqa: PLC0415  # the other tests here do without

    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(n_classes, activation="softmax")])
    model.compile(loss="categorical_crossentropy", optimizer="sgd")
    return model


@pytest.fixture
def model() -> Iterator[Callable[..., Any]]:
    yield _tiny_model
    import keras  # noqa: PLC0415  # as above

    keras.backend.clear_session()


@pytest.mark.slow
def test_the_python_of_the_readme_runs_on_the_dataset_it_builds(photos: Path, model: Callable[..., Any]) -> None:
    run(["build-shards", "photos", "data", "--size", "32x32", "--split", "train=0.8,val=0.1,test=0.1"])
    names: dict[str, Any] = {"model": model((32, 32, 3), 2)}
    ran = 0
    exec("from loader import ManifestSequence\nfrom manifests import load_manifest", names)  # noqa: S102  # the README's own code
    for block in blocks("README.md", "python"):
        if "partition" not in block and "DataGenerator" not in block:
            exec(block, names)  # noqa: S102  # as above
            ran += 1
    assert ran >= 3
    assert len(names["predictions"]) == len(names["val"].ids()) == 4
    assert names["image"].shape == (32, 32, 3)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/guides/from-the-tutorial.md"])
def test_the_tutorials_dictionaries_feed_a_model(here: Path, page: str, model: Callable[..., Any]) -> None:
    (here / "data").mkdir()
    ids = [f"id-{number}" for number in range(6)]
    for id_ in ids:
        np.save(here / "data" / f"{id_}.npy", np.zeros((32, 32, 32, 1), np.float32))
    block = next(block for block in blocks(page, "python") if "from_ids" in block)
    n_classes = int(re.search(r'n_classes"?\W+(\d+)', block)[1])  # type: ignore[index]
    names = {
        "partition": {"train": ids[:4], "validation": ids[4:]},
        "labels": {id_: number % 3 for number, id_ in enumerate(ids)},
        "model": model((32, 32, 32, 1), n_classes),
    }
    exec("from loader import ManifestSequence\n" + block.replace("epochs=10", "epochs=1"), names)  # noqa: S102  # as above
    assert names["train"].n_samples == 4


def test_the_generator_on_the_left_is_python() -> None:
    left = next(block for block in blocks("README.md", "python") if "class DataGenerator" in block)
    compile(left, "README.md", "exec")


@pytest.mark.slow
def test_the_python_of_the_guide_to_feeding_runs(photos: Path, model: Callable[..., Any]) -> None:
    run(["build-shards", "photos", "data", "--size", "32x32", "--split", "train=0.8,val=0.2"])
    rows = "".join(f"cats/{number:03d}.png,{number / 4},{number % 7}\n" for number in range(20))
    Path("houses.csv").write_text(f"path,price,rooms\n{rows}")
    numbers = ["--label", "price", "--label", "rooms", "--label-kind", "number", "--path-column", "path"]
    run(["build-shards", "photos", "houses", "--labels", "houses.csv", *numbers, "--size", "8x8", "--split", "train=0.8,val=0.2"])
    names: dict[str, Any] = {"model": model((32, 32, 3), 2)}
    code = blocks("docs/guides/feeding.md", "python")
    assert len(code) == 10
    names["lengths"] = pd.Series(range(40), [f"{kind}/{number:03d}" for kind in ("cats", "dogs") for number in range(20)])
    try:
        for block in code:
            if "torch" in block and not find_spec("torch"):
                continue  # it is large, and not among what the tests install
            exec(block, names)  # noqa: S102  # the guide's own code
        with names["WithIds"](names["manifest"], batch_size=8) as made:
            assert all(len(x) == len(y["length"]) for x, y in made)
        assert names["stats"].batches >= 1
        assert [names[sequence][0][1].shape for sequence in ("prices", "both")] == [(16,), (16, 2)]
    finally:
        for name in ("train", "val", "prices", "both"):
            names[name].close()

from __future__ import annotations

import subprocess
import sys

import pytest

import loader


def test_the_public_names() -> None:
    assert loader.__all__ == [
        "BatchIndexError",
        "DatasetChangedError",
        "FeedMonitor",
        "LabelError",
        "LoaderError",
        "ManifestSequence",
        "OptionError",
        "ResumeCallback",
        "ResumeError",
        "SamplesError",
        "ShardError",
        "ShortageError",
        "Stats",
        "TransformError",
        "WorkerError",
    ]
    assert loader.__all__ == sorted(loader.__all__)
    assert all(hasattr(loader, name) for name in loader.__all__)


def test_all_errors_are_loader_errors() -> None:
    for name in loader.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(loader, name), loader.LoaderError)
    assert issubclass(loader.OptionError, ValueError)
    assert issubclass(loader.BatchIndexError, IndexError)


def test_there_are_no_other_names() -> None:
    with pytest.raises(AttributeError, match="No loader attribute Feeder"):
        loader.Feeder  # noqa: B018


@pytest.mark.parametrize("module", ["loader", "loader.augment", "loader.feed.feed", "manifests"])
def test_a_feed_needs_neither_keras_nor_a_decoder(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "heavy = {'keras', 'tensorflow', 'tf_keras', 'jax', 'torch', 'PIL', 'click', 'loky', 'prep'}\n"
        "print(sorted(heavy.intersection(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

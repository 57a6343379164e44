from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import training
from backends import ONE_BACKEND_THEN_ALL
from training import Execution, Killed, Walker, make_model, make_sequence, write_dataset

from loader import FeedMonitor, ManifestSequence, OptionError, ResumeCallback, ResumeError
from loader.callbacks.resume_file import STATE_NAME

SCRIPT = training.__file__
RAN_OUT = "Your input ran out of data"


@dataclass
class Outcome:
    weights: list[np.ndarray]
    history: dict[str, list[float]]
    batches: list[int]
    sequence: ManifestSequence
    model: keras.Model


Fit = Callable[..., Outcome]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder)
    return folder


@pytest.fixture
def fit(root: Path) -> Fit:
    """Return a function that trains a new model with a new sequence, as a script that is run again does."""

    def fit(
        path: Path | None = None,
        *,
        kill_after: int | None = None,
        built: bool = True,
        per_execution: int = 1,
        validate: bool = False,
        walks: bool = False,
        dropout: float = 0.5,
        save_freq: Any = 1,
        before: tuple[keras.callbacks.Callback, ...] = (),
        after: tuple[keras.callbacks.Callback, ...] = (),
        options: dict[str, Any] | None = None,
        resume: dict[str, Any] | None = None,
        data: Path = root,
        **fit_options: Any,
    ) -> Outcome:
        model, sequence = make_model(built=built, per_execution=per_execution, dropout=dropout), make_sequence(data, **options or {})
        execution = Execution(kill_after, really=False)
        before = (*before, *([Walker(sequence)] if walks else []))
        own = [] if path is None else [ResumeCallback(path, save_freq=save_freq, **resume or {})]
        history: dict[str, list[float]] = {}
        with warnings.catch_warnings():
            # Keras' own, with steps_per_epoch below the length, and with no end.
            warnings.filterwarnings("ignore", RAN_OUT)
            warnings.filterwarnings("ignore", "`shuffle=True` was passed")
            with contextlib.suppress(Killed):
                history = model.fit(
                    sequence,
                    callbacks=[*before, *own, *after, execution],
                    validation_data=make_sequence(data, shuffle=False) if validate else None,
                    **{"epochs": 2, "verbose": 0} | fit_options,
                ).history
        return Outcome([np.array(value) for value in model.get_weights()], history, execution.numbers, sequence, model)

    return fit


def check_same(found: Outcome, expected: Outcome) -> None:
    for one, other in zip(found.weights, expected.weights, strict=True):
        assert one.tobytes() == other.tobytes()
    assert found.history == expected.history


# 50 samples, 25 batches of 2; the executions after which to kill, of which the last one of an epoch is trained again.
WALKS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "an epoch is a pass": ({}, [1, 24, 25, 26, 50]),
    "an epoch is less": ({"steps_per_epoch": 10, "epochs": 4}, [9, 10, 13, 22, 25, 26]),
    "without end": ({"steps_per_epoch": 10, "epochs": 4, "options": {"repeat": True}}, [9, 10, 23, 27]),
    "saved between epochs that share a pass": ({"steps_per_epoch": 10, "epochs": 5, "save_freq": "epoch"}, [15, 28]),
    "several steps in an execution": ({"per_execution": 4}, [1, 6, 7, 13]),
    "several, and an epoch is less": ({"per_execution": 4, "steps_per_epoch": 10, "epochs": 5}, [1, 4, 6, 7, 9]),
    "several, without end": ({"per_execution": 4, "steps_per_epoch": 10, "epochs": 3, "options": {"repeat": True}}, [2, 3, 5]),
    "the data is walked through between epochs": ({"walks": True, "epochs": 3}, [7, 24, 25, 26, 30, 55]),
    "and an epoch is less": ({"walks": True, "steps_per_epoch": 10, "epochs": 6}, [9, 10, 13, 25, 26, 32]),
    "without end, too": ({"walks": True, "steps_per_epoch": 10, "epochs": 4, "options": {"repeat": True}}, [9, 10, 23, 27]),
    "validated, and not built": ({"validate": True, "built": False}, [7, 25, 30]),
}


@pytest.mark.slow
@pytest.mark.parametrize(("how", "kills"), WALKS.values(), ids=WALKS.keys())
@pytest.mark.parametrize("every", [pytest.param(True, marks=pytest.mark.faults, id="each kill"), pytest.param(False, id="one kill")])
def test_a_training_that_goes_on_ends_as_one_that_nobody_interrupted(
    fit: Fit, tmp_path: Path, how: dict[str, Any], kills: list[int], every: bool
) -> None:
    expected = fit(**how)
    for kill_after in kills if every else [kills[len(kills) // 2]]:
        path = tmp_path / f"run{kill_after}"
        first = fit(path, kill_after=kill_after, **how)
        options = how.get("options", {}) | {"workers": 2}
        second = fit(path, **how | {"options": options})
        check_same(second, expected)
        # Other callbacks are told the numbers that the batches would have had; an epoch's last ones are saved at its end.
        ends = [i for i in range(1, len(expected.batches)) if expected.batches[i] <= expected.batches[i - 1]] + [len(expected.batches)]
        again = kill_after in ends
        saved = kill_after - again if how.get("save_freq") != "epoch" else max(end for end in [0, *ends] if end < kill_after)
        assert first.batches == expected.batches[:kill_after]
        assert second.batches == expected.batches[saved:]


@pytest.mark.slow
@ONE_BACKEND_THEN_ALL
def test_killed_again_and_again_in_other_processes_with_other_workers(root: Path, tmp_path: Path, backend: str) -> None:
    def run(**config: Any) -> subprocess.CompletedProcess[str]:
        config = {"root": str(root), "epochs": 2, "out": str(tmp_path / "out.npz"), "walks": backend == "torch"} | config
        environment = os.environ | {"KERAS_BACKEND": backend}
        return subprocess.run([sys.executable, SCRIPT, json.dumps(config)], env=environment, capture_output=True, text=True, check=False)

    whole = run(out=str(tmp_path / "whole.npz"))
    assert not whole.returncode, whole.stderr
    ways = [
        {"kill_after": 1, "options": {"workers": 0}},
        {"kill_in_save": 7, "options": {"workers": 1, "use_multiprocessing": True}},
        {"kill_after": 18, "options": {"workers": 3}},
        {"kill_after": 3, "options": {"workers": 2, "use_multiprocessing": True}, "backup": str(tmp_path / "backup")},
    ]
    for way in ways:
        killed = run(path=str(tmp_path / "run"), **way)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (tmp_path / "out.npz").exists()
    last = run(path=str(tmp_path / "run"), options={"workers": 2, "use_multiprocessing": True})
    assert not last.returncode, last.stderr
    found, expected = json.loads(last.stdout), json.loads(whole.stdout)
    assert found["history"] == expected["history"]
    # 1, then 6 that were saved and one that was not, then 18 of which the last is the epoch's, then 3.
    assert found["batches"] == expected["batches"][1 + 6 + 18 - 1 + 3 :]
    with np.load(tmp_path / "out.npz") as one, np.load(tmp_path / "whole.npz") as other:
        assert all(one[name].tobytes() == other[name].tobytes() for name in other)
    assert [file.name for file in (tmp_path / "run").iterdir()] == [STATE_NAME]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [{"workers": 0}, {"workers": 2, "use_multiprocessing": True}])
def test_no_shard_of_a_batch_that_is_over_is_opened(fit: Fit, tmp_path: Path, workers: dict[str, Any]) -> None:
    data = tmp_path / "data"
    write_dataset(data)
    fit(tmp_path / "run", kill_after=20, data=data, epochs=1)
    sequence = make_sequence(data)
    # TensorFlow looks at the first two batches in each `fit`, to know the shapes.
    for id_ in [id_ for batch in range(2, 20) for id_ in sequence.ids(batch)]:
        (data / "shards" / f"{id_}.npy").unlink()
    found = fit(tmp_path / "run", data=data, epochs=1, options=workers)
    assert found.batches == [20, 21, 22, 23, 24]
    found.sequence.close()


@pytest.mark.slow
@pytest.mark.parametrize("save_freq", ["epoch", 7])
def test_training_goes_on_behind_the_last_save(fit: Fit, tmp_path: Path, save_freq: Any) -> None:
    expected = fit()
    fit(tmp_path, kill_after=34, save_freq=save_freq)
    found = fit(tmp_path, save_freq=save_freq)
    check_same(found, expected)
    # Every 7 batches: after 7, 14, 21, 28.
    assert len(found.batches) == 50 - {"epoch": 25, 7: 28}[save_freq]


@pytest.mark.slow
def test_an_interrupt_within_a_process_is_gone_on_from_too(fit: Fit, tmp_path: Path) -> None:
    expected = fit()
    first = fit(tmp_path, kill_after=30)
    first.model.fit(first.sequence, epochs=2, verbose=0, callbacks=[ResumeCallback(tmp_path, first.sequence)])
    check_same(
        replace(first, weights=[np.array(value) for value in first.model.get_weights()], history=first.model.history.history), expected
    )


@pytest.mark.slow
def test_a_training_that_is_complete_is_not_trained_again(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = fit(tmp_path)
    again = fit(tmp_path, verbose=2)
    assert again.batches == []
    check_same(again, expected)
    assert f"{tmp_path}: training is complete after 2 epochs; delete {tmp_path} to train from the start\n" in capsys.readouterr().err
    # Another training with the same sequence begins where it would have.
    assert again.sequence.next_batch == 50 == expected.sequence.next_batch


@pytest.mark.slow
def test_a_training_that_is_complete_goes_on_with_more_epochs(fit: Fit, tmp_path: Path) -> None:
    how = {"steps_per_epoch": 10}
    fit(tmp_path, epochs=2, **how)
    check_same(fit(tmp_path, epochs=4, **how), fit(epochs=4, **how))


@pytest.mark.slow
def test_a_training_that_was_stopped_stays_so(fit: Fit, tmp_path: Path) -> None:
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = True

    first = fit(tmp_path, before=(Stop(),))
    again = fit(tmp_path)
    assert again.batches == []
    check_same(again, first)


@pytest.mark.slow
def test_the_state_is_removed_at_the_end_if_asked_for(fit: Fit, tmp_path: Path) -> None:
    path = tmp_path / "run"
    fit(path, epochs=1, kill_after=3)
    fit(path, epochs=1, resume={"delete_checkpoint": True})
    assert not path.exists()


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "batch_size": ({"options": {"batch_size": 5}}, "batch_size was 2, now it is 5"),
    "seed": ({"options": {"seed": 4}}, "seed was 3, now it is 4"),
    "shuffle": ({"options": {"shuffle": False}}, "shuffle was True, now it is False"),
    "steps": ({"steps_per_epoch": 20}, "an epoch had 25 steps, now it has 20"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("how", "problem"), OTHERS.values(), ids=OTHERS.keys())
def test_a_state_of_other_data_is_refused(fit: Fit, tmp_path: Path, how: dict[str, Any], problem: str) -> None:
    fit(tmp_path, kill_after=3)
    with pytest.raises(ResumeError) as caught:
        fit(tmp_path, **how)
    assert str(caught.value).startswith(f"{tmp_path} was saved with other data: {problem}")
    assert str(caught.value).endswith(f"; undo that to go on, or delete {tmp_path} to train from the start")
    fit(tmp_path, kill_after=3)


@pytest.mark.slow
def test_a_changed_manifest_is_refused(fit: Fit, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_dataset(data)
    fit(tmp_path / "run", kill_after=3, data=data)
    rows = (data / "manifest.csv").read_text().splitlines()
    (data / "manifest.csv").write_text("\n".join([*rows[:-1], rows[-1].replace(",b", ",a")]) + "\n")
    with pytest.raises(ResumeError, match="other data: the samples' labels or classes changed; undo"):
        fit(tmp_path / "run", data=data)
    (data / "manifest.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(ResumeError, match="other data: samples was 50, now it is 49, the samples' IDs or their order changed, "):
        fit(tmp_path / "run", data=data)


@pytest.mark.slow
def test_a_state_of_another_model_is_refused(root: Path, fit: Fit, tmp_path: Path) -> None:
    fit(tmp_path, kill_after=3)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, "softmax")])
    model.compile("adam", "categorical_crossentropy")
    with pytest.raises(
        ResumeError, match=r"another model: .*model had 9 variables, now it has 2, 1-.*optimizer had 14 variables, now it has 6"
    ):
        model.fit(make_sequence(root), verbose=0, callbacks=[ResumeCallback(tmp_path)])


@pytest.mark.slow
def test_a_state_that_is_damaged_or_cannot_be_written_stops_training_before_it_begins(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / STATE_NAME).write_bytes(b"no archive")
    with pytest.raises(ResumeError, match="is damaged"):
        fit(tmp_path)
    with pytest.raises(ResumeError, match="cannot save the training's state there"):
        fit(tmp_path / STATE_NAME)


@pytest.mark.parametrize("callback", [lambda **options: ResumeCallback("unused", **options), FeedMonitor])
def test_a_fit_of_something_else_is_refused(callback: Callable[..., keras.callbacks.Callback]) -> None:
    x, y = np.zeros((4, 6), np.float32), np.zeros((4, 2), np.float32)
    with pytest.raises(OptionError, match="fit was given no ManifestSequence; pass it as sequence="):
        make_model().fit(x, y, verbose=0, callbacks=[callback()])
    with pytest.raises(OptionError, match="sequence must be the ManifestSequence that fit is given"):
        make_model().fit(x, y, verbose=0, callbacks=[callback(sequence=x)])


@pytest.mark.parametrize("save_freq", [0, -1, "batch", 1.5, True])
def test_what_is_no_frequency(save_freq: Any) -> None:
    with pytest.raises(OptionError, match="save_freq must be a positive integer, got"):
        ResumeCallback("unused", save_freq=save_freq)


@pytest.mark.slow
def test_behind_keras_own_callback(fit: Fit, tmp_path: Path) -> None:
    backup = tmp_path / "backup"

    def keras_own() -> tuple[keras.callbacks.Callback, ...]:
        return (keras.callbacks.BackupAndRestore(backup),)

    # Its weight file leaves out the layers' random numbers.
    fit = partial(fit, dropout=0.0)
    expected = fit(epochs=3)
    # What it alone has saved, epoch by epoch, is gone on from with that epoch's own batches.
    fit(epochs=3, kill_after=30, before=keras_own())
    second = fit(tmp_path / "run", epochs=3, kill_after=5, before=keras_own())
    assert second.batches == [0, 1, 2, 3, 4]
    # From then on, what is newer counts.
    third = fit(tmp_path / "run", epochs=3, before=keras_own())
    assert third.batches[0] == 5
    assert all(one.tobytes() == other.tobytes() for one, other in zip(third.weights, expected.weights, strict=True))


@pytest.mark.slow
def test_before_keras_own_callback_it_notices(fit: Fit, tmp_path: Path) -> None:
    def keras_own() -> tuple[keras.callbacks.Callback, ...]:
        return (keras.callbacks.BackupAndRestore(tmp_path / "backup"),)

    fit(tmp_path / "run", kill_after=30, after=keras_own())
    with pytest.raises(ResumeError, match=r"something else restored .*; let ResumeCallback stand last in the list of callbacks"):
        fit(tmp_path / "run", after=keras_own())


class TwoOptimizers(keras.Model):
    """Trains its two halves in turn, as adversarial models do."""

    def __init__(self) -> None:
        super().__init__()
        self.halves = [keras.layers.Dense(2), keras.layers.Dense(2)]
        self.others = {"second": keras.optimizers.Adam(0.1)}

    def build(self, input_shape: Any) -> None:
        for half in self.halves:
            half.build((None, 6))
        self.others["second"].build(self.halves[1].trainable_variables)

    def call(self, x: Any) -> Any:
        return self.halves[0](x) + self.halves[1](x)

    def train_step(self, data: Any) -> dict[str, Any]:
        import tensorflow as tf  # noqa: PLC0415

        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            loss = keras.ops.mean((self(x) - y) ** 2)
        for half, optimizer in zip(self.halves, [self.optimizer, self.others["second"]], strict=True):
            optimizer.apply(tape.gradient(loss, half.trainable_variables), half.trainable_variables)
        return {"loss": loss}


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="its training step is TensorFlow's")
def test_every_optimizer_of_a_model_is_restored(root: Path, tmp_path: Path) -> None:
    def train(path: Path | None, kill_after: int | None = None) -> list[np.ndarray]:
        keras.utils.set_random_seed(1)
        model = TwoOptimizers()
        model.build((None, 6))
        model.compile(keras.optimizers.Adam(0.1))
        model.optimizer.build(model.halves[0].trainable_variables)
        own = [ResumeCallback(path, save_freq=1)] if path else []
        with contextlib.suppress(Killed):
            model.fit(make_sequence(root), verbose=0, callbacks=[*own, Execution(kill_after, really=False)])
        return [np.array(value) for value in model.get_weights()]

    expected = train(None)
    train(tmp_path, 9)
    assert all(one.tobytes() == other.tobytes() for one, other in zip(train(tmp_path), expected, strict=True))


FIGURES = ["feed_ready", "feed_restarts", "feed_samples_per_s", "feed_skipped", "feed_wait_share"]


@pytest.mark.slow
def test_the_monitors_figures_reach_history_and_the_callbacks_behind_it(fit: Fit) -> None:
    seen: dict[str, list[str]] = {}

    class Look(keras.callbacks.Callback):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen[self.name] = sorted(set(logs) & set(FIGURES))

    found = fit(before=(Look("before"), FeedMonitor(), Look("behind")), epochs=3, options={"workers": 2, "use_multiprocessing": True})
    found.sequence.close()
    assert seen == {"before": [], "behind": FIGURES}
    assert {name: len(found.history[name]) for name in FIGURES} == dict.fromkeys(FIGURES, 3)
    assert all(0 <= share <= 1 for share in found.history["feed_wait_share"])
    assert all(rate > 0 for rate in found.history["feed_samples_per_s"])
    assert all(0 <= ready <= 10 for ready in found.history["feed_ready"])
    assert found.history["feed_skipped"] == found.history["feed_restarts"] == [0, 0, 0]


@pytest.mark.slow
def test_the_monitor_counts_each_epochs_own_skipped_samples(fit: Fit, tmp_path: Path) -> None:
    write_dataset(tmp_path)
    (tmp_path / "shards" / "s007.npy").unlink()
    with pytest.warns(UserWarning, match="s007"):
        found = fit(before=(FeedMonitor(),), data=tmp_path, options={"on_error": "skip"})
    assert found.history["feed_skipped"][0] >= 1
    assert sum(found.history["feed_skipped"]) == found.sequence.skipped


@pytest.mark.slow
def test_the_monitor_recommends_what_to_change(fit: Fit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for said in ["more workers", None]:
        monitor = FeedMonitor()
        monkeypatch.setattr(
            "loader.callbacks.keras_callbacks.advice", lambda stats, *, asks_ahead, said=said: said if stats.batches else "nothing"
        )
        fit(before=(monitor,), epochs=1, verbose=2)
        assert monitor.recommendation == said
        assert capsys.readouterr().err.count("more workers\n") == bool(said)


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorBoard's callback needs it")
def test_tensorboards_callback_shows_the_monitors_figures(fit: Fit, tmp_path: Path) -> None:
    from tensorflow import summary as real  # noqa: PLC0415

    shown = []

    class Board(keras.callbacks.TensorBoard):
        # What writes the file is a package of its own.
        summary = SimpleNamespace(scalar=lambda name, *_, **__: shown.append(name), create_file_writer=real.create_file_writer)

    fit(before=(FeedMonitor(), Board(tmp_path, write_graph=False)), epochs=1)
    assert {f"epoch_{name}" for name in FIGURES} <= set(shown)

"""Callbacks for `fit`: resuming after an interruption, and watching the feed. Thin shells around `resume` and `loader.doctor.stats`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np

from loader.callbacks.mid_epoch import enter, running_epoch_iterator
from loader.callbacks.model_state import METRICS, RANDOM, Groups, described, mismatches, put_back, random_states, values_of, variable_groups
from loader.callbacks.progress import Walk, epoch_start
from loader.callbacks.resume_file import ResumeFolder, State
from loader.doctor.advice import advice
from loader.doctor.stats import Stats
from loader.errors import OptionError, ResumeError
from loader.feed.identity import Identity, differences
from loader.feed.options import check_flag, check_integer
from loader.sequence import ManifestSequence
from manifests.format.npyfile import AnyArray


class ResumeCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Lets a training that was interrupted, in the middle of an epoch too, go on with the very next batch.

    ```python
    model.fit(train, epochs=10, callbacks=[..., ResumeCallback("run1", save_freq=500)])
    ```

    It saves the model's variables and the place in the data together, in one step. Run the same script again after an
    interruption, be it a SIGKILL: `fit` goes on behind the last save, with another number of workers too, and neither reads nor
    trains what was trained before. `History` holds the earlier epochs as well.

    It stands last in the list of callbacks, so that what it saves is what the others left: learning rates, for one. What other
    callbacks remember themselves, such as the patience of `EarlyStopping`, it does not save.

    After a training that came to its end the state is kept: the script run again trains no more and has the trained model, and with
    a higher `epochs` it goes on. Delete the folder to train from the start.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sequence: ManifestSequence | None = None,
        save_freq: int | Literal["epoch"] = "epoch",
        *,
        delete_checkpoint: bool = False,
    ) -> None:
        """Check the arguments; the folder is looked at when training begins.

        Args:
            path: a folder of this callback's own; each training, and each process of one, has another.
            sequence: that `fit` is given; None finds it out.
            save_freq: `epoch`, or batches after which to save; the end of an epoch that is due is saved after its validation.
            delete_checkpoint: remove the state when training came to its end, as `keras.callbacks.BackupAndRestore` does; the
                script run again then trains from the start.

        Raises:
            OptionError: an argument cannot be used.
        """
        super().__init__()
        self._folder = ResumeFolder(path)
        self.path = self._folder.path
        self._given_sequence = sequence
        self._save_every = None if save_freq == "epoch" else check_integer("save_freq", save_freq, minimum=1)
        self._delete_checkpoint = check_flag("delete_checkpoint", delete_checkpoint)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Restore the state, if there is one.

        Raises:
            OptionError: `fit` was given no `ManifestSequence`.
            ResumeError: the folder cannot be written; or its state is damaged or belongs to other data or another model.
        """
        del logs
        epoch_iterator = running_epoch_iterator()
        self._sequence = _sequence_of(epoch_iterator, self._given_sequence, type(self).__name__)
        if epoch_iterator is None and self._save_every is not None:
            raise OptionError(
                f"with Keras {keras.__version__} this `fit` cannot be entered in the middle of an epoch; pass save_freq='epoch'"
            )
        if len(self._sequence) != self._sequence.whole_pass:
            raise OptionError(
                f"ResumeCallback needs whole passes, and {type(self._sequence).__name__} overrides __len__; use drop_remainder=True"
            )
        self._walk = Walk(
            num_batches=len(self._sequence),
            repeat=self._sequence.repeats,
            steps_per_epoch=self.params["steps"] if epoch_iterator is None else epoch_iterator.steps_per_epoch,
            steps_per_execution=getattr(self.model, "steps_per_execution", 1),
        )
        self._folder.prepare()
        self._identity: Identity = self._sequence.identity()
        self._unsaved = 0
        self._epochs_begun = 0
        self._epochs: list[int] = []
        self._logs: dict[str, list[float]] = {}
        self._iterations: int | None = None
        self._initial_epoch_before = self.model._initial_epoch  # noqa: SLF001  # the way in that Keras' own callback takes
        self._restored = self._folder.read()
        if self._restored is None:
            # Set if BackupAndRestore was here before.
            self._progress = epoch_start(self._sequence.next_batch, self._initial_epoch_before or 0, self._walk)
            self._sequence.next_batch = self._progress.number
        else:
            self._restore(self._restored, epoch_iterator)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note that an epoch begins, and put back the metrics of one that goes on."""
        del logs
        self._epochs_begun += 1
        if self._epochs_begun > 1 or self._restored is None:
            self.model._initial_epoch = self._initial_epoch_before  # noqa: SLF001  # another `fit` begins where it is told to
            self._progress = self._progress.next_epoch(epoch)
            self._ask_where_the_walk_begins(is_first=self._epochs_begun == 1)
            return
        self.model._initial_epoch = self._initial_epoch_before  # noqa: SLF001  # likewise
        if epoch != self._progress.epoch or self._optimizer_iterations() != self._iterations:
            raise ResumeError(
                f"{self.path} goes on with epoch {self._progress.epoch}, but something else restored or began epoch {epoch}; let "
                "ResumeCallback stand last in the list of callbacks, behind BackupAndRestore, and pass no initial_epoch"
            )
        if self._progress.step:
            # Keras has just reset them.
            put_back(self._restored.groups.get(METRICS, ()), self.model.metrics_variables, _to_numpy)
        if self._progress.begins_walk(self._walk):
            self._ask_where_the_walk_begins()
        else:
            # Other callbacks may have walked through the sequence meanwhile, as they did when this epoch began before.
            upcoming = self._restored.upcoming if self._progress.step else self._sequence.next_batch
            self._sequence.resume_at(self._progress.number, upcoming)
        self._restore_history()
        if self._progress.step:
            # Other callbacks may have drawn some of torch's random numbers when the epoch began, as they did before.
            self._put_back_random(self._restored)
        # Its arrays are as large as the model.
        self._restored = replace(self._restored, groups={})

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count an execution's batches, and save if it is time to."""
        del batch, logs
        self._progress = self._progress.after_execution(self._walk)
        self._unsaved += self._walk.steps_per_execution
        # An epoch's end is saved when its validation is over too.
        if self._is_due and not self._progress.ends_epoch(self._walk):
            self._save()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save, if it is time to."""
        self._epochs.append(epoch)
        for name, value in (logs or {}).items():
            if np.ndim(value) == 0 and np.isreal(value):
                self._logs.setdefault(name, []).append(float(value))
        self._progress = self._progress.next_epoch(epoch + 1)
        self._ask_where_the_walk_begins()
        # One that was stopped comes to its end at once.
        if (self._save_every is None or self._is_due) and not self.model.stop_training:
            self._save()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Save what came out, or remove the state."""
        del logs
        self.model._initial_epoch = self._initial_epoch_before  # noqa: SLF001  # as above
        if not self._epochs_begun:
            # As if it had just been trained: another `fit` with the same sequence begins a new pass.
            self._restore_history()
            self._sequence.next_batch = self._progress.next_fit(self._walk)
        if self._delete_checkpoint:
            self._folder.remove()
        elif self._epochs_begun:
            self._save(is_complete=True)

    @property
    def _is_due(self) -> bool:
        return self._save_every is not None and self._unsaved >= self._save_every

    def _groups(self) -> Groups:
        # On JAX, `model` puts back what `fit` took out of the variables.
        return variable_groups(self.model, keras.optimizers.Optimizer) | {RANDOM: random_states(keras.config.backend())}

    def _ask_where_the_walk_begins(self, *, is_first: bool = False) -> None:
        """Take the place of the next epoch from the sequence, which others may have walked through too."""
        if is_first or self._progress.begins_walk(self._walk):
            self._progress = replace(self._progress, number=self._sequence.next_batch)

    def _optimizer_iterations(self) -> int | None:
        optimizer = getattr(self.model, "optimizer", None)
        return None if optimizer is None else int(_to_numpy(optimizer.iterations))

    def _save(self, *, is_complete: bool = False) -> None:
        self._folder.write(
            State(
                identity=self._identity,
                progress=self._progress,
                steps=self._walk.steps,
                upcoming=self._sequence.next_batch,
                is_complete=is_complete,
                is_stopped=is_complete and bool(self.model.stop_training),
                epochs=self._epochs,
                logs=self._logs,
                groups=values_of(self._groups(), _to_numpy),
            )
        )
        self._unsaved = 0

    def _restore(self, state: State, epoch_iterator: Any) -> None:
        progress = state.progress
        changed = differences(state.identity, self._identity)
        if progress.step and state.steps != self._walk.steps:
            changed.append(f"an epoch had {state.steps} steps, now it has {self._walk.steps}")
        if changed:
            raise self._refused(f"was saved with other data: {described(changed)}")
        self._sequence.next_batch = progress.number
        self._put_back_variables(state)
        if not progress.begins_walk(self._walk) and state.upcoming is not None:
            self._sequence.next_batch = state.upcoming  # for other callbacks; see on_epoch_begin
        self._epochs, self._logs = list(state.epochs), {name: list(values) for name, values in state.logs.items()}
        self._iterations = self._optimizer_iterations()
        self._progress = progress
        epochs = self.params["epochs"]
        self.model._initial_epoch = epochs if state.is_stopped else progress.epoch  # noqa: SLF001  # as above
        seen = 0 if self._walk.repeat else progress.number % self._walk.num_batches
        if epoch_iterator is not None and (progress.step or seen):
            enter(epoch_iterator, step=progress.step, steps=epoch_iterator.steps_per_epoch or self._walk.num_batches, seen=seen)
        if state.is_stopped or progress.epoch >= epochs:
            self._say(f"training is complete after {progress.epoch} epochs; delete {self.path} to train from the start")
        else:
            pass_, batch = divmod(progress.number, self._walk.num_batches)
            self._say(f"resuming epoch {progress.epoch + 1} after {progress.step} steps, with batch {batch} of pass {pass_}")

    def _put_back_variables(self, state: State) -> None:
        left = {RANDOM} if state.progress.step else {RANDOM, METRICS}
        stored = {METRICS: ()} | dict(state.groups)  # of a file that lacks them, they are other metrics
        stored = {name: items for name, items in stored.items() if name not in left}
        groups = self._groups_like(stored)
        if mismatches(stored, groups):
            optimizer = getattr(self.model, "optimizer", None)
            if optimizer is not None and self.model.built and not optimizer.built:
                optimizer.build(self.model.trainable_variables)
            groups = self._groups_like(stored)
        if mismatches(stored, groups):
            # TensorFlow builds the rest, a model's metrics among it, with the first batch; that is the one that comes next.
            batch = self._sequence[state.progress.number % self._walk.num_batches]
            self.model._symbolic_build(data_batch=batch)  # noqa: SLF001  # as `fit` itself does on the other backends
            groups = self._groups_like(stored)
        problems = mismatches(stored, groups)
        if problems:
            raise self._refused(f"was saved with another model: {described(problems)}")
        for name, items in stored.items():
            put_back(items, groups[name], _to_numpy)
        self._put_back_random(state)

    def _put_back_random(self, state: State) -> None:
        # Another machine may have another number of devices.
        pairs = list(zip(state.groups.get(RANDOM, ()), random_states(keras.config.backend()), strict=False))
        put_back([item for item, _ in pairs], [variable for _, variable in pairs], _to_numpy)

    def _groups_like(self, stored: Mapping[str, Any]) -> Groups:
        return {name: variables for name, variables in self._groups().items() if name not in {METRICS, RANDOM} or name in stored}

    def _restore_history(self) -> None:
        history = getattr(self.model, "history", None)
        if self._epochs and history is not None and not history.epoch:
            history.epoch[:] = self._epochs
            history.history.update({name: list(values) for name, values in self._logs.items()})

    def _refused(self, problem: str) -> ResumeError:
        return ResumeError(f"{self.path} {problem}; undo that to go on, or delete {self.path} to train from the start")

    def _say(self, message: str) -> None:
        if self.params.get("verbose"):
            sys.stderr.write(f"{self.path}: {message}\n")


class FeedMonitor(keras.callbacks.Callback):  # type: ignore[misc]  # as above
    """Adds what the feed did in each epoch to the logs, for the progress bar, `History` and every callback behind it.

    ```python
    model.fit(train, callbacks=[FeedMonitor(), keras.callbacks.TensorBoard("logs")])
    ```

    | name | what |
    |---|---|
    | `feed_samples_per_s` | samples handed over a second |
    | `feed_wait_share` | the part of the time that went into waiting for data, 0 to 1; on TensorFlow, which asks ahead, training itself waits only when it is near 1 |
    | `feed_ready` | batches that waited ready when one was asked for, on average |
    | `feed_skipped` | samples that could not be read, and for which others stood |
    | `feed_restarts` | worker processes that died |

    Attributes:
        recommendation: a sentence about what to change if the feed limited training; None if not. Also printed at the end.
    """  # noqa: E501  # a table's row is a line

    recommendation: str | None = None

    def __init__(self, sequence: ManifestSequence | None = None) -> None:
        """Watch a sequence.

        Args:
            sequence: that `fit` is given; None finds it out.
        """
        super().__init__()
        self._given_sequence = sequence

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin to count.

        Raises:
            OptionError: `fit` was given no `ManifestSequence`.
        """
        del logs
        self._sequence = _sequence_of(running_epoch_iterator(), self._given_sequence, type(self).__name__)
        self.recommendation = None
        self._at_first = self._before = self._sequence.stats()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Put the epoch's figures into the logs."""
        del epoch
        now = self._sequence.stats()
        if logs is not None:
            logs.update(_figures(now.since(self._before)))
        self._before = now

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Recommend what to change."""
        del logs
        asks_ahead = keras.config.backend() == "tensorflow"
        self.recommendation = advice(self._sequence.stats().since(self._at_first), asks_ahead=asks_ahead)
        if self.recommendation and self.params.get("verbose"):
            sys.stderr.write(f"{self.recommendation}\n")


def _to_numpy(variable: Any) -> AnyArray:
    # A TensorFlow variable itself does not tell NumPy 2 how it wants to be copied.
    value: AnyArray = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable.value))
    return value


def _figures(stats: Stats) -> dict[str, float]:
    return {
        "feed_samples_per_s": stats.samples_per_second,
        "feed_wait_share": stats.waiting_share,
        "feed_ready": stats.ready,
        "feed_skipped": stats.skipped,
        "feed_restarts": stats.restarts,
    }


def _adapted(adapter: Any) -> Any:
    """Return the sequence that an adapter of Keras is, or holds."""
    return adapter if isinstance(adapter, ManifestSequence) else getattr(adapter, "py_dataset", None)


def _sequence_of(epoch_iterator: Any, given: object, callback: str) -> ManifestSequence:
    """Return the sequence that `fit` walks through, unless one was named."""
    found = given if given is not None else _adapted(getattr(epoch_iterator, "data_adapter", None))
    if not isinstance(found, ManifestSequence):
        what = "sequence must be the ManifestSequence that fit is given" if given is not None else "fit was given no ManifestSequence"
        raise OptionError(f"{callback}: {what}; pass it as sequence=, got {given!r:.100}")
    return found

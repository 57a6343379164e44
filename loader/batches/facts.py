"""What a sequence is and what it has done, as properties: batch size, classes, workers, the samples that were skipped."""

from __future__ import annotations

from dataclasses import replace

from loader.batches.delivery import Delivery
from loader.doctor.stats import Stats
from loader.feed.feed import Feed
from loader.feed.identity import Identity, identity_of
from loader.feed.targets.labels import LabelMode


class BatchFacts:
    """What can be asked of a sequence without asking for a batch."""

    _feed: Feed
    _delivery: Delivery
    _repeat: bool

    @property
    def batch_size(self) -> int:
        """Samples in a batch."""
        return self._feed.options.batch_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in index order: column k of a one-hot y stands for `class_names[k]`; empty where y is numbers."""
        return self._feed.index.classes

    @property
    def whole_pass(self) -> int:
        """How many batches a whole pass has, also where `__len__` is overridden."""
        return self._feed.num_batches

    @property
    def repeats(self) -> bool:
        """Whether the passes follow each other without end."""
        return self._repeat

    @property
    def label_mode(self) -> LabelMode:
        """How labels reach the model; never `auto`, but what that came to."""
        codes = self._feed.index.codes
        return None if codes is None else codes.label_mode

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def n_samples(self) -> int:
        """How many samples there are; a pass delivers each once, unless `drop_remainder` leaves some out."""
        return len(self._feed.index)

    @property
    def workers(self) -> int:
        """Processes or threads that work ahead, as it was passed; none of them is Keras' own."""
        return self._delivery.options.workers

    @workers.setter
    def workers(self, value: int) -> None:
        self._delivery.employ(replace(self._delivery.options, workers=value))

    @property
    def use_multiprocessing(self) -> bool | None:
        """Whether they are processes, as it was passed."""
        return self._delivery.options.use_multiprocessing

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool | None) -> None:
        self._delivery.employ(replace(self._delivery.options, use_multiprocessing=value))

    @property
    def max_queue_size(self) -> int:
        """Batches that may be under way or wait ready, as it was passed."""
        return self._delivery.options.max_queue_size

    @max_queue_size.setter
    def max_queue_size(self, value: int) -> None:
        self._delivery.employ(replace(self._delivery.options, max_queue_size=value))

    @property
    def skipped(self) -> int:
        """How many samples could not be read, so that others stood for them; see `skipped_ids`."""
        return self._delivery.ledger.skipped

    @property
    def skipped_ids(self) -> dict[str, str]:
        """The IDs of samples that could not be read, with the reason; the first thousand."""
        return dict(self._delivery.ledger.reasons)

    def identity(self) -> Identity:
        """Return what decides the batches, as a dict that JSON can hold: equal for two sequences that give the same ones.

        Samples and labels are in it by their digests. What shards hold and what transforms do is not in it, nor is what changes
        no batch, such as the number of workers.
        """
        return identity_of(self._feed)

    def stats(self) -> Stats:
        """Return what the feed has done so far, and where the time went."""
        return self._delivery.stats()

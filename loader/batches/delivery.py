"""Who makes the next batch, inline or ahead of time, and what is written down of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from loader.batches.idle import RECENTLY_USED
from loader.doctor.stats import Ledger, Stats
from loader.feed.feed import Batch, Feed, Key
from loader.feed.index.manifest_watch import ManifestWatch
from loader.feed.options import WorkerOptions
from loader.feed.transforms import Transforms
from loader.passes.counter import Walk, following
from loader.workers.companion import Companion
from loader.workers.threads import Threads
from loader.workers.workers import Workers

Readers = Workers | Threads | Companion
"""Who makes batches ahead."""


class Delivery:
    """Hands over a feed's batches.

    Attributes:
        ledger: what the feed has done so far.
        options: what was asked for of those who make batches ahead.
        readers: who makes them; None if nobody does.
    """

    def __init__(self, feed: Feed, options: WorkerOptions, watch: ManifestWatch | None) -> None:
        """Get ready; nothing starts yet.

        Args:
            feed: whose batches.
            options: who makes them.
            watch: of the manifest that the samples come from; None if they come from no file.
        """
        self._feed = feed
        self._watch = watch
        self._watched_pass: int | None = None
        self._leader: Walk | None = None
        self.ledger = Ledger()
        self.options = options
        self.readers = _readers_of(feed, options)
        RECENTLY_USED.note(self)

    def employ(self, options: WorkerOptions) -> None:
        """Let others work ahead than those who did."""
        if options != self.options:
            self.close()
            self.options = options
            self.readers = _readers_of(self._feed, options)

    def begin(self, walk: Walk) -> None:
        """Let a walk, the last that was begun, be the one that batches are made ahead for."""
        self._leader = walk

    def end(self, walk: Walk) -> None:
        """Note that a walk is over."""
        if self._leader is walk:
            self._leader = None

    def walked(self, pass_: int, batch: int, walk: Walk) -> Batch:
        """Return a batch that a walk is at.

        Those who read ahead forget what they have read when they are asked for something else, so they serve one walk: the last
        that was begun, until it ends.
        """
        if self._leader is None and walk.served:
            self._leader = walk
        leads = self._leader is walk and walk.delivered != (pass_, batch)  # an override may ask for its batch once more
        walk.delivered = (pass_, batch)
        readers = self.readers if leads and (walk.by_keras or not isinstance(self.readers, Companion)) else None
        return self._delivered(pass_, batch, readers, ahead=following(pass_, batch, walk.limit) if leads else None)

    def requested(self, pass_: int, batch: int, ahead: Iterable[Key] | None = None) -> Batch:
        """Return a batch that somebody asks for by its number.

        Args:
            pass_: number of the pass.
            batch: number within it.
            ahead: the batches that are likely to be asked for next; None if nobody knows.
        """
        ahead = ahead if self._leader is None else None
        readers = None if isinstance(self.readers, Companion) or ahead is None else self.readers
        return self._delivered(pass_, batch, readers, ahead=ahead)

    def stats(self) -> Stats:
        """Return what the feed has done so far, and where the time went."""
        restarts = 0 if self.readers is None else self.readers.restarts
        return self.ledger.stats(max_queue_size=self.options.max_queue_size, restarts=restarts)

    @property
    def is_amid_walk(self) -> bool:
        """Whether a walk was begun that has batches left."""
        walk = self._leader
        return walk is not None and (walk.length is None or walk.served < walk.length)

    def let_go(self) -> None:
        """Give up folders, threads, memory and workers, without waiting for anything; the next batch gets them again."""
        self._feed.let_go()
        if self.readers is not None:
            self.readers.let_go()

    def close(self) -> None:
        """Do the same, and wait until threads and workers have ended."""
        self._feed.let_go()
        if self.readers is not None:
            self.readers.close()

    def _delivered(self, pass_: int, batch: int, readers: Readers | None, ahead: Iterable[Key] | None) -> Batch:
        """Return a batch, and write down what it took.

        Args:
            pass_: number of the pass.
            batch: number within it.
            readers: who reads this batch, and the next ones ahead; None for the feed itself.
            ahead: the batches that are likely to be asked for next; None if nobody knows.
        """
        RECENTLY_USED.note(self)
        if pass_ != self._watched_pass:
            self._look_at_manifest(pass_)
        asked = self.ledger.asked(walks=ahead is not None)
        ready = 0
        if readers is None or ahead is None:
            produced = self._feed.batch(pass_, batch, following=None if ahead is None else next(iter(ahead)))
        else:
            ready = readers.ready
            produced = readers.take((pass_, batch), ahead)
        if batch == self._feed.num_batches - 1:
            self._look_at_manifest(pass_)
        if produced.skipped and not self.ledger.skipped:
            warnings.warn(
                f"{produced.skipped[0][1]}. Another sample stands for it, as on_error='skip' says; `skipped` counts them", stacklevel=4
            )
        self.ledger.handed_over(asked, produced.samples, ready, produced.seconds, produced.skipped)
        return produced.batch

    def _look_at_manifest(self, pass_: int) -> None:
        if self._watch is not None:
            self._watch.check()
        self._watched_pass = pass_


def _readers_of(feed: Feed, options: WorkerOptions) -> Readers | None:
    """Return who reads ahead; None if nobody does."""
    if options.use_multiprocessing and options.workers > 0:
        return Workers(feed, options.workers, options.max_queue_size, options.timeout)
    if options.workers > 1:
        return Threads(feed, options.workers, options.max_queue_size)
    # What a transform does beside returning a batch, such as counting, would be done elsewhere from one batch to the next.
    if options.use_multiprocessing is None and options.workers == 1 and feed.transforms == Transforms():
        return Companion(feed, options.max_queue_size, options.timeout)
    return None

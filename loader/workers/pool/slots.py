"""The places in shared memory that batches are put into: which are free, and which the caller still looks into."""

from __future__ import annotations

from loader.feed.feed import Produced
from loader.feed.reading.shared_memory import SharedMemory
from loader.workers.messages import Done
from loader.workers.pool.member import Member

_LENT = 6
"""Slots that may be lent at once to one feed; beyond that, batches are copied. TensorFlow keeps a few batches waiting by itself."""


class Slots:
    """Slots of one shared memory, as many as were ever needed at once.

    Attributes:
        memory: that they lie in.
        count: how many there are.
    """

    def __init__(self, memory: SharedMemory) -> None:
        self.memory = memory
        self.count = 0
        self._free: list[int] = []

    def take(self) -> int:
        """Return a free slot."""
        try:
            return self._free.pop()
        except IndexError:
            self.count += 1
            return self.count - 1

    def give_back(self, slot: int) -> None:
        """Note that nobody looks into a slot any more, nor writes there."""
        self._free.append(slot)

    def clear_free(self) -> None:
        """Give the memory of free slots back to the system."""
        self.memory.clear(self._free)

    def hand_over(self, member: Member, done: Done) -> Produced:
        """Lend a slot, or copy it when the caller holds many: what it holds is never waited for."""
        slot = self.memory.slot(done.slot)
        if len(member.lent) < _LENT:
            free, lent, number = self._free, member.lent, done.slot
            lent.add(number)

            def give_back() -> None:
                # A garbage collection can come here at any moment and in any thread, so nothing is waited for.
                lent.discard(number)
                free.append(number)

            batch = slot.lend(done.description, give_back)
        else:
            batch = slot.copied(done.description)
            self._free.append(done.slot)
        return Produced(batch=batch, samples=done.samples, skipped=done.skipped, seconds=done.seconds)

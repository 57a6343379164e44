"""How far training came, counted in batches that the model was trained on, not in those that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from loader.passes.counter import FIT_STRIDE


@dataclass(frozen=True, kw_only=True)
class Walk:
    """How `fit` walks through a sequence.

    Attributes:
        num_batches: in a pass.
        repeat: walks go from pass to pass without end; else each ends with its pass, and the epoch with it.
        steps_per_epoch: as `fit` was given it; None for a whole pass.
        steps_per_execution: batches between which Keras calls nobody.
    """

    num_batches: int
    repeat: bool
    steps_per_epoch: int | None
    steps_per_execution: int

    @property
    def steps(self) -> int:
        """Batches of an epoch, if its pass has as many: whole executions, even where `steps_per_epoch` asks for less."""
        return -(-(self.steps_per_epoch or self.num_batches) // self.steps_per_execution) * self.steps_per_execution


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The batch that training goes on with.

    Attributes:
        number: of that batch, counted through all passes: batch b of pass p is p * num_batches + b.
        epoch: that it belongs to, from 0.
        step: how many batches of that epoch were trained on.
    """

    number: int
    epoch: int = 0
    step: int = 0

    def after_execution(self, walk: Walk) -> Self:
        """Return where training goes on after a further execution, of which a pass's last one may be shorter."""
        number = self.number + walk.steps_per_execution
        if not walk.repeat:
            number = min(number, self.number - self.number % walk.num_batches + walk.num_batches)
        return replace(self, number=number, step=self.step + walk.steps_per_execution)

    def ends_epoch(self, walk: Walk) -> bool:
        """Whether no batch of the epoch is left."""
        return self.step >= walk.steps or (self.step > 0 and not walk.repeat and self.number % walk.num_batches == 0)

    def begins_walk(self, walk: Walk) -> bool:
        """Whether Keras begins another walk here, and does not go on with one."""
        return not walk.repeat and self.number % walk.num_batches == 0

    def next_epoch(self, epoch: int) -> Self:
        """Return the beginning of an epoch that begins here."""
        return replace(self, epoch=epoch, step=0)

    def next_fit(self, walk: Walk) -> int:
        """Return the batch that another `fit` would begin with."""
        if walk.repeat:
            return (self.number // walk.num_batches // FIT_STRIDE + 1) * FIT_STRIDE * walk.num_batches
        return -(-self.number // walk.num_batches) * walk.num_batches


def epoch_start(first: int, epoch: int, walk: Walk) -> Progress:
    """Return where an epoch begins.

    Args:
        first: the batch with which epoch 0 begins, which begins a pass.
        epoch: from 0.
        walk: how the epochs before it were walked through.
    """
    if walk.repeat:
        return Progress(number=first + epoch * walk.steps, epoch=epoch)
    epochs_of_pass = -(-walk.num_batches // walk.steps)
    passes, rest = divmod(epoch, epochs_of_pass)
    return Progress(number=first + passes * walk.num_batches + min(rest * walk.steps, walk.num_batches), epoch=epoch)

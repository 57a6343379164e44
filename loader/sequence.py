"""`ManifestSequence`: a feed as Keras 3 wants it. With `callbacks.py` the only file of the project that imports it."""

from __future__ import annotations

from typing import ClassVar

import keras

from loader.batches import ManifestBatches
from loader.walker import asking_generator, telling_adapter


class ManifestSequence(ManifestBatches, keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """Batches of a manifest's samples, for `fit`, `evaluate` and `predict` on every backend of Keras 3.

    ```python
    manifest = load_manifest("data")
    train = ManifestSequence(manifest.split("train"), batch_size=64, shuffle=True, seed=0)
    model.fit(train, validation_data=ManifestSequence(manifest.split("val"), batch_size=64))
    ```

    A batch depends on the manifest, the seed, the number of the pass, and its own number, and on nothing else: neither
    on the order of calls nor on global random state. A new sequence is in pass 0; each walk through it is the next pass: an
    epoch of `fit`, or several of them with `steps_per_epoch`, an `evaluate` or `predict`, a `for` loop. In these, batches come
    in the pass's own order, also where `fit` names them in one that it shuffles itself, as it does by default.
    `sequence[i]` by hand is batch i of the current pass, and `on_epoch_end()` by hand goes on to the next.

    The arguments are those of `ManifestBatches`.
    """

    is_shell: ClassVar[bool] = True

    def _begin_as_keras_wants(self) -> None:
        # Keras' own workers pickle every batch, and hang when one of them dies.
        keras.utils.PyDataset.__init__(self, workers=1, use_multiprocessing=False, max_queue_size=10)

    @property
    def num_batches(self) -> int | None:
        """How many batches Keras walks through in a row: those of a pass, or None for no end if `repeat` is set."""
        return self._passes.length(asking_generator(self))

    def on_epoch_begin(self) -> None:
        """Note that an epoch begins; Keras calls it."""
        self._ledger.pause()
        self._passes.begin(telling_adapter(self)[0])

    def on_epoch_end(self) -> None:
        """Note that an epoch ended: the next batch belongs to the next pass. Keras calls it, or whoever walks by hand."""
        self._ledger.pause()
        teller, is_reset = telling_adapter(self)
        self._passes.end(teller, is_reset=is_reset)

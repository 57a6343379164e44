"""One of two processes that train together under `keras.distribution.DataParallel`, on JAX.

Run as `python distributed_fit.py FOLDER PORT INDEX HOW`. It prints the numbers of the samples that reached this process, as JSON, or the
line in which it was refused.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax

HOWS: dict[str, tuple[dict[str, Any], bool]] = {
    # What the sequence is given beside process_index, and whether Keras is to split the data by itself.
    "alone": ({}, True),
    "parts": ({"process_count": 2}, True),
    "parts by hand": ({"process_count": 2}, False),
}


def main(folder: str, port: str, index: str, how: str) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(index))
    import keras  # noqa: PLC0415  # jax.distributed goes first

    from loader import ManifestSequence, OptionError  # noqa: PLC0415
    from manifests import load_manifest  # noqa: PLC0415

    options, splits = HOWS[how]
    keras.utils.set_random_seed(0)  # each process must begin with the same weights
    distribution = keras.distribution.DataParallel(devices=jax.devices(), auto_shard_dataset=splits)
    keras.distribution.set_distribution(distribution)
    seen: list[int] = []

    class Noting(ManifestSequence):
        def __getitem__(self, number: int) -> Any:
            x, y = super().__getitem__(number)
            seen.extend(int(value) for value in x[:, 0, 0])
            return x, y

    if options:
        options = options | {"process_index": int(index)}
    sequence = Noting(load_manifest(Path(folder)), batch_size=8, shuffle=True, seed=1, label_mode="binary", drop_remainder=True, **options)
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    try:
        model.fit(sequence, epochs=2, verbose=0)
    except OptionError as error:
        sys.stdout.write(json.dumps(str(error)) + "\n")
    else:
        sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()
    os._exit(0)  # the other process may have ended first, for which JAX would wait


if __name__ == "__main__":
    main(*sys.argv[1:])

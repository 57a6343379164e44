"""From raw image files to a trained model: scikit-learn's handwritten digits, end to end.

Writes the 1,797 digits of 8 x 8 pixels as PNG files in one folder per class, turns them into shards and a manifest with
`prep build-shards`, loads the manifest, and trains a small Keras model from it.

    python examples/digits.py --folder build/demo
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from loader import ManifestSequence
from manifests import load_manifest

PROMISED_ACCURACY = 0.95
EPOCHS = 12


def write_raw(folder: Path) -> int:
    """Write the digits as `<folder>/<class>/<number>.png`, 8-bit grey, and return how many there are."""
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8)).save(path)  # scikit-learn's values are 0 to 16
    return len(digits.images)


def make_model(shape: tuple[int, ...], n_classes: int) -> keras.Model:
    """Return a small convolutional classifier."""
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.25),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(n_classes, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> int:
    """Run the demo and return 0 if the model is as good as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="where everything is written (default: %(default)s)")
    folder = parser.parse_args().folder
    raw, data = folder / "raw", folder / "data"
    start = time.perf_counter()

    shutil.rmtree(raw, ignore_errors=True)
    print(f"wrote {write_raw(raw):,} PNG files below {raw}", flush=True)

    prep = Path(sys.executable).with_name("prep")
    command = [str(prep), "build-shards", str(raw), str(data), "--split", "train=0.8,val=0.1,test=0.1"]
    print("$ prep " + " ".join(command[1:]), flush=True)
    subprocess.run(command, check=True)  # noqa: S603  # our own command

    manifest = load_manifest(data)
    print(manifest)
    train = ManifestSequence(manifest.split("train"), batch_size=64, shuffle=True, seed=0)
    val = ManifestSequence(manifest.split("val"), batch_size=64)

    keras.utils.set_random_seed(0)
    model = make_model(train[0][0].shape[1:], len(manifest.classes))
    model.fit(train, validation_data=val, epochs=EPOCHS, verbose=2)
    model.save(folder / "digits.keras")

    _, accuracy = model.evaluate(val, verbose=0)
    print(
        f"\nvalidation accuracy {accuracy:.4f} on {len(manifest.split('val'))} held-out digits, after {time.perf_counter() - start:.0f} s"
    )
    for what, where in (
        ("raw images", raw),
        ("shards", data / "shards"),
        ("manifest", data / "manifest.csv"),
        ("model", folder / "digits.keras"),
    ):
        print(f"  {what:<11} {where}")
    if accuracy < PROMISED_ACCURACY:
        print(f"that is below the {PROMISED_ACCURACY} that this demo promises", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

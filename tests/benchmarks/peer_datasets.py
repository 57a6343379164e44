"""Building by Hugging Face datasets, as a script: `map` in two processes with `peer_decoding.decode`, then `save_to_disk`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Array3D, Dataset, Features, Value, load_from_disk
from peer_decoding import SIZE, decode, labelled, run

FEATURES = Features({"pixels": Array3D((*SIZE, 3), "uint8"), "label": Value("int64")})


def one(sample: dict[str, Any]) -> dict[str, Any]:
    return {"pixels": decode(sample["path"]), "label": sample["label"]}


def many(samples: dict[str, list[Any]]) -> dict[str, Any]:
    return {"pixels": [decode(path) for path in samples["path"]], "label": samples["label"]}


CALLS = {"a photograph a call": (one, {}), "1,000 photographs a call": (many, {"batched": True})}


def build(setting: str, source: Path, out: Path) -> None:
    paths, labels = zip(*labelled(source), strict=True)
    function, options = CALLS[setting]
    dataset = Dataset.from_dict({"path": paths, "label": labels})
    dataset.map(function, features=FEATURES, remove_columns=["path"], num_proc=2, **options).save_to_disk(out)


def read(out: Path) -> tuple[Any, Any]:
    dataset = load_from_disk(out)
    columns = dataset.with_format("numpy")[:]  # all integers as int64, however they are stored
    return columns["pixels"].astype(dataset.features["pixels"].dtype), columns["label"]


if __name__ == "__main__":
    run(build, read)

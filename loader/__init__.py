"""Feeding Keras' `model.fit` with batches from a dataset: `ManifestSequence`, its callbacks, and the tools around it.

```
manifest -> index -> order -> [read -> transform -> batch] -> sequence -> model.fit
```

A manifest's rows become an index: IDs, files, encoded labels, weights. Batch i of pass p is a function of the index, the seed, p and i:
the order says which samples it has, their shards are read into its rows, and the user's transforms are applied. The part in brackets runs
where the batch is asked for, or ahead of that in threads or worker processes. The sequence walks through the passes as Keras asks.

- `callbacks/`: `ResumeCallback` and `FeedMonitor`
- `batches/`: what the sequences for Keras 3 and for legacy Keras share: arguments, walks, who makes the next batch
- `doctor/`: `python -m loader.doctor`, and `stats()`: where the time goes
- `workers/`: threads and processes that make batches ahead, in shared memory
- `passes/`: which batch comes next, whoever asks for it
- `feed/`: what batch i of pass p is: index, order, reading, labels, sampling, transforms
- `augment/`: augmentations for `transform` and `batch_transform`
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Raw data to a dataset: one `.npy` shard per ID, and a CSV manifest of IDs and labels.

The steps of a build, `build_shards`:

```
source -> records -> scan -> plan -> chunks -> [read -> transform -> write shards -> journal] -> commit
```

`sources` lists the raw items as records, and every later step adds to what is known of them: `build.scan` their headers and digests,
`build.plan` what to do with each, `build.execute` the shape, dtype and digest of the shards that it writes. `build.commit` makes manifest
rows of that. The part in brackets runs in worker processes, on chunks of records; what comes back from them says what was written and
which items failed.

- `cli/`: the command `prep`, one file per subcommand
- `datasets/`: commands for datasets that exist: adopt, inspect, diff, merge, leaks
- `build/`: the steps above, from scan to commit
- `splits/`: assigning splits, groups and folds
- `parallel/`: executors, retries, time limits, Ctrl-C
- `progress/`: progress bar, JSON events, log file
- `sources/`: listing the raw items of a folder or table
- `transforms/`: resize, crop, pad and others, and functions of the user's
- `readers/`: decoding raw files to arrays
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

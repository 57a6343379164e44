"""A build, step by step: scan, plan, execute, commit.

```
source -> items -> scan -> plan -> chunks -> [read -> transform -> write shards -> journal] -> commit
```

What is known of items is one Arrow table, which gains columns on its way; `prep/sources/items.py` owns them. `build.py` runs the
steps; each is a room and hands its result to the next.

- `recipe/`: options, those of the last build, and the recipe, which decide every shard's bytes
- `scan/`: the items of a `Listing` become a `Scan`: header and digest of each raw file, from earlier builds where it is unchanged
- `plan/`: that and the rows of the dataset become a `Plan`: what to do with each item, and why
- `execute/`: a `BuildChunk` of items becomes shards and a part of the journal; what was written is a table, a row for each sample
- `commit/`: that and the rows that stay become the new manifest and `dataset.json`, and the shards move into place
- `stage/`: the folder `.prep/build-<random>` where shards and journal lie until the commit, and the dataset's lock
- `state/`: what earlier builds know of raw files and shards, fingerprints, moments, and the form of these files
"""

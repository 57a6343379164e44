"""The contract between `prep` and `loader`: what a dataset on disk is, and how its manifest is read, checked and written.

A dataset is a folder with one `.npy` shard per ID, `manifest.csv` with one row per ID, and `dataset.json` for what all rows have in
common. `prep` writes such folders and `loader` reads them; this package imports neither. What crosses the boundary is a `Manifest`: the
rows, and what is needed to load the arrays that they name.

- `format/`: the files as pure functions: columns, IDs and paths, CSV, `.npy` headers, `dataset.json`
- `rows/`: the rows as an Arrow table: column types, CSV and Parquet by pyarrow, checks of all rows at once
- `files/`: writing, replacing, flushing and locking single files
- `storage/`: `load_manifest` and `write_manifest`, the cache of large manifests, the commit of a new state
- `describe/`: classes, counts, statistics, and the table in a notebook
- `verification/`: `verify`, which checks a dataset against the files on disk
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

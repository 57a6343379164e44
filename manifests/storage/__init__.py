"""Opening a dataset, the cache of a big manifest, and committing a new state of it."""

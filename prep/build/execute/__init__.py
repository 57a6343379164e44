"""Building the shards of a chunk in a worker: read, transform, write, and the journal from which a killed build goes on."""

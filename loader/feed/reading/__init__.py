"""Reading `.npy` shards straight into the rows of a batch, and the memory that batches are made in."""

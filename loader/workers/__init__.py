"""Worker processes and threads that make batches ahead: the pool, its messages, shared memory, and replacing workers that die."""

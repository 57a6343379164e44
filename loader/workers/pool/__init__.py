"""The pool of worker processes that all feeds share: who takes part, which batches are under way, and what the death of a worker says."""

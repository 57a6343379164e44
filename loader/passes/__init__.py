"""Epochs and passes: which batch of which pass comes next, for loops, `fit` and requests by index."""

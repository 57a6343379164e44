"""Indexing the samples of a feed: from a manifest or from a list of IDs to arrays of names, files, encoded labels and weights."""

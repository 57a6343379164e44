"""`prep merge`: the union of two datasets, and the conflicts between them."""

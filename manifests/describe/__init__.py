"""A manifest in figures: classes and their order, counts, statistics for normalization, and the table in a notebook."""

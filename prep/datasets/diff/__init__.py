"""`prep diff`: comparing two datasets by IDs, labels, splits and content."""

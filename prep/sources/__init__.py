"""One file a kind of raw source."""

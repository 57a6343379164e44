"""Labels encoded as y (one-hot, integers, numbers), and sample weights."""

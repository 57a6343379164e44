"""One file a kind of change that a sample's array goes through; `registry` has their names."""

"""`ManifestBatches`: what the sequences for Keras 3 and for legacy Keras share, without importing either."""

"""What stands on disk: columns, names, CSV, `.npy` headers and `dataset.json`, read and checked."""

"""Reading raw files as arrays: one file per format and a registry; images (PNG, JPEG, TIFF and others), `.npy`/`.npz`, limits on size."""

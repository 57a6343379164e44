"""`verify`: a dataset checked against the files on disk for missing, extra, damaged and changed shards."""

"""Single files: atomic replacement, flushing to disk, locks, and opening regular files only."""

"""What is kept below `.prep/` from build to build: headers and fingerprints of raw files, moments of shards, and the form of such files."""

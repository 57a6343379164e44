"""The scan: headers and digests of raw files, options left on "auto" resolved from them, and which shards exist."""

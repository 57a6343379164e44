"""Raw data to shards and a manifest."""

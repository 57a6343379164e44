"""Callbacks for `fit`: resuming an interrupted training, and logging what the feed did."""

"""Feeding `model.fit` from a manifest."""

"""Assigning train/val/test splits, groups and folds so that new data never moves an ID to another split."""

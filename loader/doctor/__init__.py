"""Profiling a feed: `python -m loader.doctor DATA` finds the bottleneck and recommends workers, `stats()` counts as it runs."""

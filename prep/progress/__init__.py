"""Showing progress: the bar in a terminal or notebook, JSON events, and the log file of a build."""

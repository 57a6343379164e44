"""The commit: manifest rows, `dataset.json`, statistics and `failures.csv` are made and replace the old ones; the summary of a build."""

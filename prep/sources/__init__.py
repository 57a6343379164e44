"""Listing the raw items of a source as one Arrow table: IDs, files and labels, from a folder or from a table beside files."""

"""The rows of a manifest as an Arrow table: its column types, reading and writing them as CSV and Parquet, and checking them at once."""

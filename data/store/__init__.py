"""Parquet lake and importers."""

"""Reusable loaders and jobs, importable from a notebook."""

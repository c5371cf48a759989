"""Benchmarks: ratios measured in one run, on results that were checked to be equal first. See bench/README.md."""

"""Studies, jobs and reports; imports crypto and data."""

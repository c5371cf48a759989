"""Carry's pure core: formulas, account, pipeline and the embedded exchange simulator. No input or output."""

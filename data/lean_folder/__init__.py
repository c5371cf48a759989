"""Lean's data folder: writing it from the lake, reading it back. Spec: docs/specs/lean_folder.md."""

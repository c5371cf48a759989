"""Lean's reality models and converters. No formula stands here: plain numbers go to ``crypto``."""

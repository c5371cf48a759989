"""Venue constants and rules, one module per venue; instruments shipped with source and date."""

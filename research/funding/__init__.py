"""Research on funding rates: histories out of the lake, tables, figures and the page."""

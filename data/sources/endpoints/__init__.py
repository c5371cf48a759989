"""One file per venue: addresses, limits, page sizes, weights and formats, with their sources."""

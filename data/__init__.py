"""Files and data sources: the only package that touches files, sockets and clocks."""

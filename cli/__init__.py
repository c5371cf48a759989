"""The ``carry`` command line: a module per command, wiring only."""

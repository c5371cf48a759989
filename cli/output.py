"""Where a command writes is looked at before it works: as callbacks of the flags that name it."""

from __future__ import annotations

from pathlib import Path

from data.store.atomic import check_file, check_folder


def writable_folder(value: Path | None) -> Path | None:
    """The folder that a flag names, when something new can be put there; ``OutputError`` otherwise."""
    if value is not None:
        check_folder(value)
    return value


def writable_file(value: Path | None) -> Path | None:
    """The file that a flag names, when it can be written; ``OutputError`` otherwise."""
    if value is not None:
        check_file(value)
    return value

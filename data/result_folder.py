"""Folders of results that appear whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from crypto.errors import OutputError


def write_folder(directory: Path, fill: Callable[[Path], None]) -> dict[str, Path]:
    """Make the new ``directory`` with what ``fill(folder)`` writes into it; returns file name -> path.

    Everything is written aside and renamed at the end. ``OutputError`` when the directory exists already or can't be
    written; nothing half-written is left.
    """
    aside = directory.parent / f".{directory.name}.partial-{secrets.token_hex(4)}"
    try:
        if directory.exists():  # a rename would replace an empty directory without a word
            raise OutputError(f"results directory {directory} exists already", remedy="give a name not taken yet")
        aside.mkdir(parents=True)
        fill(aside)
        names = sorted(path.name for path in aside.iterdir())
        aside.rename(directory)
    except OSError as error:
        raise output_error(directory, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # gone already after the rename
    return {name: directory / name for name in names}


def output_error(path: Path, error: OSError) -> OutputError:
    """What the user is told when results can't be written to ``path``."""
    return OutputError(
        f"results could not be written to {path}: {error.strerror or error}",
        remedy="free some disk space or choose a directory that may be written",
    )

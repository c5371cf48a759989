"""Writing pandas frames: one as CSV or Parquet, or a folder of them that appears whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from crypto.errors import OutputError, UsageError
from data.store.atomic import atomic_write

SUFFIXES = (".csv", ".parquet")


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write ``frame`` to ``path`` in the form that its ending names. ``UsageError`` for another ending.

    CSV holds instants as ISO 8601 in UTC and every digit of a number. ``OutputError`` when it can't be written.
    """
    check_ending(path)
    with atomic_write(path) as temporary:
        _write(temporary, path.suffix, frame)


def check_ending(path: Path) -> None:
    """``UsageError`` when the ending of ``path`` names no form of table."""
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"{path} ends in neither {' nor '.join(SUFFIXES)}", remedy="name it table.csv or table.parquet"
        )


def write_folder(folder: Path, frames: Mapping[str, pd.DataFrame], pages: Mapping[str, str]) -> dict[str, Path]:
    """Write every frame as CSV and Parquet and every page as text into the new ``folder``; name -> path.

    ``OutputError`` when the folder exists or can't be written; then nothing is left.
    """
    aside = folder.parent / f".{folder.name}.partial-{secrets.token_hex(4)}"
    try:
        if folder.exists():
            raise OutputError(f"{folder} exists already", remedy="give a name not taken yet (--out)")
        aside.mkdir(parents=True)
        for name, frame in frames.items():
            for suffix in SUFFIXES:
                _write(aside / f"{name}{suffix}", suffix, frame)
        for name, text in pages.items():
            (aside / name).write_text(text, encoding="utf-8", newline="\n")
        names = sorted(path.name for path in aside.iterdir())
        aside.rename(folder)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}",
            remedy="free some space, or choose a folder that may be written (--out)",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # gone already after the rename
    return {name: folder / name for name in names}


def _write(path: Path, suffix: str, frame: pd.DataFrame) -> None:
    if suffix == ".parquet":
        frame.to_parquet(path, index=False, compression="zstd")
    else:
        frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ", lineterminator="\n")

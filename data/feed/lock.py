"""A folder that one process at a time writes to."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from crypto.errors import OutputError, RefusedError

LOCK_NAME = "feed.lock"


def take_lock(folder: Path, does: str, flag: str) -> int:
    """Make the folder and lock it until the returned descriptor is closed or the process ends.

    ``RefusedError`` when another process holds it (``does``: what it does there), ``OutputError`` when the folder can't
    be written. ``flag`` names another folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unusable(folder, error, flag) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise _unusable(folder, error, flag) from error
        raise RefusedError(
            f"another feed {does} {folder}", remedy=f"stop it first, or name another folder ({flag})"
        ) from error
    return lock


def _unusable(folder: Path, error: OSError, flag: str) -> OutputError:
    return OutputError(
        f"cannot write {folder}: {os.strerror(error.errno or 0)}",
        remedy=f"free space on that disk or name another folder ({flag})",
    )

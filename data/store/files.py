"""Reading a user's file as bytes, with errors that name it."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

from crypto.errors import DataError
from data.store.series import SourceFile


def read_source(path: Path, name: str) -> tuple[bytes, SourceFile]:
    """Content of a file (unpacked when its name ends in ``.gz``) and its name with the SHA-256 of the stored bytes.

    ``DataError`` names the file when it is missing, a folder, unreadable, empty, or a truncated gzip file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", remedy="check the path") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder", remedy="name a file") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", remedy="check its permissions") from error
    if not content:
        raise DataError(f"{path} is empty (0 bytes)", remedy="download it again, or leave it out")
    origin = SourceFile(name, hashlib.sha256(content).hexdigest())
    return (_unpacked(path, content) if path.suffix == ".gz" else content), origin


def _unpacked(path: Path, content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or not a gzip file: {error}", remedy="download it again") from error

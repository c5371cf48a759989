"""The zip files of Lean's data folder: one text in each, the same bytes for the same text."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

from crypto.errors import DataError

COMPRESSION_LEVEL = 6
_NO_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date of the format: no clock goes into a file
_PLAIN_FILE = 0o644 << 16


def packed(entry_name: str, text: bytes) -> bytes:
    """A zip file with one deflated entry. It holds no date, so equal texts give equal bytes."""
    entry = zipfile.ZipInfo(entry_name, _NO_DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = _PLAIN_FILE
    entry.create_system = 3
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(entry, text, compresslevel=COMPRESSION_LEVEL)
    return target.getvalue()


def unpacked(path: Path, content: bytes, entry_name: str) -> bytes:
    """The text in a zip file: its entry of that name, else its only one. ``DataError`` names the file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if entry_name not in names and len(names) != 1:
                raise DataError(
                    f"{path} holds {', '.join(names) or 'nothing'}, but not {entry_name}",
                    remedy="export or download it again",
                )
            return archive.read(entry_name if entry_name in names else names[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(
            f"{path} is damaged or not a zip file: {error}", remedy="export or download it again"
        ) from error

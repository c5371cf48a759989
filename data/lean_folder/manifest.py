"""What the data folder records about each series in it: sources, files with content hashes, what the text leaves out.

The folder is Carry's when the manifest is there. It makes a second export cheap, and reading back exact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from crypto.errors import DataError, RefusedError, UsageError
from data.lean_folder.layout import MANIFEST_FORMAT, MANIFEST_NAME, Place
from data.store.atomic import write_bytes
from data.store.lakefile import TOOL
from data.store.series import Provenance, SeriesKey

_AGAIN = "delete that file and run carry lean export again"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Identity of a file's content: SHA-256, with size and time of change as a quick proof that it is the same."""

    sha256: str
    size: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the folder: the file itself, and the SHA-256 of the text in it (the same but for zip files)."""

    file: Stamp
    text_sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """One series in the folder.

    ``quote``: quote asset of its ticker. ``sources``: files it was made of (name -> identity), ``options``: what else
    decided its text. ``stamp_offset_ms``: milliseconds by which each row's stamp in the lake differs from the one
    written (empty: none does). ``marks_filled``: for funding, rows whose settlement mark is not the funding row's own;
    None when the lake has no such column.
    """

    key: SeriesKey
    place: Place
    quote: str
    sources: Mapping[str, Stamp]
    options: Mapping[str, str]
    rows: int
    first_ms: int
    last_ms: int
    provenance: Provenance
    files: Mapping[str, Written] = field(default_factory=dict)
    stamp_offset_ms: tuple[int, ...] = ()
    marks_filled: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Composite:
    """The composite oracle of an asset in the folder: what it was made of as hashes, and its file.

    ``request``: limits, weights and sources; ``inputs``: bars of the folder and rows of a feed.
    """

    asset: str
    place: Place
    request: str
    inputs: str
    rows: int
    first_ms: int
    last_ms: int
    files: dict[str, Written]


@dataclass(frozen=True, slots=True)
class Manifest:
    """All series of a folder by their names, and the shared files (symbol properties, market hours, interest rate).

    ``composites`` by asset.
    """

    series: dict[str, Record] = field(default_factory=dict)
    shared: dict[str, Written] = field(default_factory=dict)
    composites: dict[str, Composite] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Document:
    """The manifest file."""

    format: str
    tool: str
    shared: dict[str, Written]
    series: dict[str, Record]
    composites: dict[str, Composite] = field(default_factory=dict)


def read_manifest(root: Path) -> Manifest | None:
    """The folder's manifest; None when there is none. ``DataError`` when it is damaged or of another format."""
    path = root / MANIFEST_NAME
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UsageError) as error:
        raise DataError(f"{path} cannot be read: {error}", remedy=_AGAIN) from error
    if document.format != MANIFEST_FORMAT:
        raise DataError(f"{path} has format {document.format!r}, this version reads {MANIFEST_FORMAT!r}", remedy=_AGAIN)
    return Manifest(document.series, document.shared, document.composites)


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write the manifest atomically, unless the file holds the same already."""
    document = _Document(
        MANIFEST_FORMAT,
        TOOL,
        dict(sorted(manifest.shared.items())),
        dict(sorted(manifest.series.items())),
        dict(sorted(manifest.composites.items())),
    )
    content = msgspec.json.encode(document) + b"\n"
    path = root / MANIFEST_NAME
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)


def owned_manifest(root: Path) -> Manifest:
    """Manifest of a folder that is to be written to: a new one when the folder is empty or not there.

    ``RefusedError`` when the folder holds files but no manifest: they belong to somebody else.
    """
    manifest = read_manifest(root) if root.is_dir() else None
    if manifest is not None:
        return manifest
    if root.is_dir() and any(not entry.name.startswith(".") for entry in root.iterdir()):
        raise RefusedError(
            f"{root} holds files, but carry lean export did not write them",
            remedy="name another folder with --out, or empty this one",
        )
    return Manifest()


def stamp_of(path: Path, known: Stamp | None = None) -> Stamp:
    """Identity of a file. Its bytes are read only when size or time of change are not those of ``known``."""
    status = path.stat()
    if known is not None and (known.size, known.changed_ns) == (status.st_size, status.st_mtime_ns):
        return known
    content = path.read_bytes()
    return Stamp(hashlib.sha256(content).hexdigest(), status.st_size, status.st_mtime_ns)


def stamp_of_bytes(path: Path, content: bytes) -> Stamp:
    """Identity of a file that was just written with that content."""
    status = path.stat()
    return Stamp(hashlib.sha256(content).hexdigest(), status.st_size, status.st_mtime_ns)


def is_unchanged(root: Path, files: Mapping[str, Written]) -> bool:
    """Whether every file is still as it was written."""
    return all(is_same_file(root / name, written.file) for name, written in files.items())


def is_same_file(path: Path, known: Stamp) -> bool:
    """Whether the file is there with the known content."""
    try:
        return stamp_of(path, known).sha256 == known.sha256
    except FileNotFoundError:
        return False

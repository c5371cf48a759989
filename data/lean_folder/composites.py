"""The composite oracle as rate files for Lean's custom data: one price of an asset over several venues, bar by bar.

It is rebuilt from the exported folder itself, by the code with which a run on Lean rebuilds it for its guard, so both
see the same prices. Spec: docs/specs/lean_folder.md, docs/specs/oracle.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crypto.errors import DataError
from data.lean_folder.exported import ExportedBars
from data.lean_folder.layout import PRICE_SERIES, Place, composite_place
from data.lean_folder.live_rows import log_path
from data.lean_folder.manifest import Composite, Manifest, Record, Written, is_same_file, is_unchanged, stamp_of_bytes
from data.lean_folder.texts import composite_text
from data.oracle_series import OracleRequest, rebuild
from data.store.atomic import write_bytes
from data.store.freqtrade import Skipped


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the composites: those that are in the folder, bytes written by asset, and what was left out."""

    composites: tuple[Composite, ...]
    bytes_written: dict[str, int]
    skipped: tuple[Skipped, ...]


def write_composites(
    root: Path, manifest: Manifest, requests: Sequence[OracleRequest], end_ms: int | None, *, keep_others: bool
) -> Outcome:
    """Bring the rate file of every composite up to the folder's bars, and take away those that nobody asks for.

    One whose bars, limits and own file are as recorded is not touched. ``manifest`` is on disk as given, and is changed
    in memory. A composite that the folder's bars do not give is left out and named, and so is not in the folder.
    ``keep_others``: composites that are there and not asked for stay.
    """
    exported: ExportedBars | None = None
    sizes: dict[str, int] = {}
    skipped = []
    wanted = {request.asset for request in requests}
    for request in requests:
        place = composite_place(request.asset, request.unit)
        inputs = _identity(root, manifest, place, end_ms)
        known = manifest.composites.get(request.asset)
        limits = request.fingerprint
        if known and (known.inputs, known.request) == (inputs, limits) and is_unchanged(root, known.files):
            continue
        exported = exported or ExportedBars(root)
        try:
            found, sizes[request.asset] = _write(root, exported, request, place, known, end_ms)
        except DataError as error:
            skipped.append(Skipped(f"composite of {request.asset}", f"{error.message} ({error.remedy})"))
            _remove(root, manifest, request.asset)
            continue
        _remove(root, manifest, request.asset, but=found.files)
        manifest.composites[request.asset] = Composite(
            request.asset, place, limits, inputs, found.rows, found.first_ms, found.last_ms, found.files
        )
    if not keep_others:
        for asset in sorted(manifest.composites.keys() - wanted):
            _remove(root, manifest, asset)
    kept = tuple(manifest.composites[asset] for asset in sorted(wanted & manifest.composites.keys()))
    return Outcome(kept, sizes, tuple(skipped))


@dataclass(frozen=True, slots=True)
class _Found:
    rows: int
    first_ms: int
    last_ms: int
    files: dict[str, Written]


def _write(
    root: Path,
    exported: ExportedBars,
    request: OracleRequest,
    place: Place,
    known: Composite | None,
    end_ms: int | None,
) -> tuple[_Found, int]:
    series = rebuild(exported, request)
    priced = ~np.isnan(series.arrays.value)  # HALT has no price, and so no row
    times, values = series.close_ms[priced], series.arrays.value[priced]
    if not len(times):
        names = ", ".join(str(source.key) for source in series.sources)
        raise DataError(
            f"it has no price at any bar: of {names} fewer than oracle.degraded_quorum ="
            f" {request.rules.degraded_quorum} ever agree",
            remedy="ingest further venues, or change the limits of [oracle]",
        )
    text = composite_text(request.asset, place, times, values, root, end_ms)
    digest, path = hashlib.sha256(text.content).hexdigest(), root / text.path
    before = known.files.get(text.path) if known else None
    size = 0
    if before is None or before.text_sha256 != digest or not is_same_file(path, before.file):
        write_bytes(path, text.content)
        before, size = Written(stamp_of_bytes(path, text.content), digest), len(text.content)
    return _Found(len(times), int(times[0]), int(times[-1]), {text.path: before}), size


def _identity(root: Path, manifest: Manifest, place: Place, end_ms: int | None) -> str:
    """Hash over every bar file of the folder that could be a source, the rows of a feed, and the asked end."""
    digest = hashlib.sha256(str(end_ms).encode())
    for name, record in sorted(manifest.series.items()):
        if _is_source(record):
            for path, written in sorted(record.files.items()):
                digest.update(f"\n{name} {path} {written.text_sha256}".encode())
    log = log_path(root, place)
    digest.update(log.read_bytes() if log.is_file() else b"")
    return digest.hexdigest()


def _is_source(record: Record) -> bool:
    """Trade bars and marks; a venue's own index and oracle are made of the same prices and no source."""
    return bool(record.place.resolution) and record.key.series not in PRICE_SERIES[1:]


def _remove(root: Path, manifest: Manifest, asset: str, but: dict[str, Written] | None = None) -> None:
    found = manifest.composites.pop(asset, None)
    for name in set(found.files if found else ()) - set(but or ()):
        (root / name).unlink(missing_ok=True)

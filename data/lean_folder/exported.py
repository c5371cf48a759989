"""Bars of an exported folder as the series of the lake that they were: what the oracle of a run on Lean is made of.

The manifest names the series. It is read as plain JSON, because Lean's container has no msgspec.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crypto.errors import DataError
from data.lean_folder.archives import unpacked
from data.lean_folder.layout import MANIFEST_FORMAT, MANIFEST_NAME, PRICE_SERIES, Place
from data.lean_folder.lines import read_bars
from data.store.rows import Columns
from data.store.series import Provenance, Series, SeriesInfo, SeriesKey, SourceFile

_EXPORT = "write the folder with carry lean export"


class ExportedBars:
    """Bars, marks and index prices of a folder, by the lake's own names.

    ``DataError`` when the folder has no manifest of ours, or a damaged one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._records = {
            SeriesKey(**record["key"]): record
            for record in _manifest(root)["series"].values()
            if record["place"]["resolution"]  # rate files have none
        }

    def list(self) -> list[SeriesKey]:
        """Names of the series, sorted."""
        return sorted(self._records)

    def read(self, key: SeriesKey) -> Series:
        """All rows of a series. ``DataError`` names a file that is missing or is not the one that was exported."""
        record = self._records[key]
        place = Place(**record["place"])
        names = sorted(name for name in record["files"] if name.endswith(".zip"))  # the closes stand in the bars, too
        parts = [self._bars(place, name, record["files"][name]) for name in names]
        columns: Columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if key.series in PRICE_SERIES:
            columns.pop("volume")  # written as 0, because Lean wants one
        given = record["provenance"]
        origins = tuple(SourceFile(**origin) for origin in given["origins"])
        provenance = Provenance(given["source"], origins, synthetic=given["synthetic"])
        info = SeriesInfo(key, record["rows"], record["first_ms"], record["last_ms"], provenance, MANIFEST_FORMAT)
        return Series(key, columns, info)

    def _bars(self, place: Place, name: str, written: Mapping[str, Any]) -> Columns:
        path = self._root / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}", remedy=_EXPORT) from error
        if hashlib.sha256(content).hexdigest() != written["file"]["sha256"]:
            raise DataError(f"{path} is not the file that was exported", remedy=_EXPORT)
        day = path.name.split("_", maxsplit=1)[0] if place.resolution == "minute" else ""
        return read_bars(unpacked(path, content, place.entry_name(day)), str(path), day)


def composites_of(root: Path) -> dict[str, str]:
    """Composite oracles of the folder by asset, each with the hash of what it was asked for."""
    return {asset: record["request"] for asset, record in _manifest(root).get("composites", {}).items()}


def _manifest(root: Path) -> Mapping[str, Any]:
    path = root / MANIFEST_NAME
    try:
        document = json.loads(path.read_bytes())
        if document["format"] == MANIFEST_FORMAT:
            _ = document["series"]
            return dict(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}", remedy=_EXPORT) from error
    raise DataError(f"{path} has format {document['format']!r}, this version reads {MANIFEST_FORMAT!r}", remedy=_EXPORT)

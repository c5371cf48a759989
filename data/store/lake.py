"""The Parquet lake: one file per series, the source of truth for market data. Spec: docs/specs/data.md.

<root>/<venue>/<kind>/<symbol>/<series>[-<timeframe>].parquet
binance/linear/BTCUSDT/bars-1h.parquet
binance/linear/BTCUSDT/funding.parquet
binance/asset/USDT/borrow.parquet
"""

from __future__ import annotations

import builtins
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crypto.errors import CarryError, DataError
from crypto.market import Floats, Integers
from data.store.lakefile import TOOL, LakeFile, write_file
from data.store.merge import Merged, merge_rows
from data.store.rows import COLUMNS, OPTIONAL, Columns, Origin, check_rows, take
from data.store.series import KINDS, MergeResult, Provenance, Series, SeriesInfo, SeriesKey, SourceFile

_FOLDERS_ABOVE_A_SERIES = 3  # venue, kind, symbol

__all__ = ["KINDS", "Lake", "MergeResult", "Origin", "Provenance", "Series", "SeriesInfo", "SeriesKey", "SourceFile"]


@dataclass(frozen=True, slots=True)
class Lake:
    """A folder of Parquet series. The same input gives the same bytes: no clock goes into a file."""

    root: Path = field(default_factory=lambda: Path("data/lake"))

    def path(self, key: SeriesKey) -> Path:
        """File of the series, whether or not it exists."""
        return Path(self.root) / key.venue / key.kind / key.symbol / f"{key.file_name}.parquet"

    def has(self, key: SeriesKey) -> bool:
        """Whether the lake holds the series; ``DataError`` when its folder may not be read."""
        return _is_file(self.path(key))

    def write(
        self,
        key: SeriesKey,
        columns: Mapping[str, Floats | Integers],
        provenance: Provenance,
        origin: Origin | None = None,
    ) -> SeriesInfo:
        """Write the series, replacing the file as a whole. ``DataError`` names the first row that is not allowed."""
        kept = _typed(key, columns)
        check_rows(kept, key.series, key.timeframe, origin or Origin(str(key)))
        write_file(self.path(key), kept, provenance)
        times = kept["time_ms"]
        return SeriesInfo(key, len(times), int(times[0]), int(times[-1]), provenance, TOOL)

    def merge(
        self,
        key: SeriesKey,
        columns: Mapping[str, Floats | Integers],
        provenance: Provenance,
        *,
        origin: Origin | None = None,
        replace: bool = False,
        dry_run: bool = False,
    ) -> MergeResult:
        """Add rows to a series, making it when it is not there. Rows that are held already and equal change nothing.

        Rows that contradict held ones raise ``DataError`` naming the first, unless ``replace`` is true: then the new
        rows win. Generated and recorded rows are never mixed. With ``dry_run`` all is checked and nothing is written.
        """
        where = origin or Origin(str(key))
        incoming = _typed(key, columns)
        check_rows(incoming, key.series, key.timeframe, where)
        merged, combined, changed = self._join(key, incoming, provenance, where, replace=replace)
        if changed and not dry_run:
            self.write(key, merged.columns, combined)
        times = merged.columns["time_ms"]
        counts = (merged.added, merged.identical, merged.replaced)
        return MergeResult(key, len(times), *counts, int(times[0]), int(times[-1]), merged.completed)

    def _join(
        self, key: SeriesKey, incoming: Columns, provenance: Provenance, where: Origin, *, replace: bool
    ) -> tuple[Merged, Provenance, bool]:
        """Rows and provenance after the merge, and whether the file has to be written."""
        if not self.has(key):
            return Merged(incoming, added=len(incoming["time_ms"]), identical=0, replaced=0), provenance, True
        held = self.read(key)
        if held.info.provenance.synthetic != provenance.synthetic:
            raise DataError(
                f"{key}: held rows are {_nature(held.info.provenance)}, those of {where.name} {_nature(provenance)}",
                remedy="keep generated and recorded data in two lakes (--lake)",
            )
        merged = merge_rows(held.columns, incoming, str(key), where, replace=replace)
        combined = _combined(held.info.provenance, provenance)
        changed = merged.added or merged.replaced or merged.completed or combined != held.info.provenance
        return merged, combined, bool(changed)

    def read(
        self, key: SeriesKey, start_ms: int | None = None, end_ms: int | None = None, *, check: bool = True
    ) -> Series:
        """Rows with ``start_ms <= time_ms < end_ms`` (maybe none); parts of the file outside are not read.

        ``DataError`` when the series is not held (it lists what is), when the file is damaged, or when a row read is
        one that the lake may not hold. With ``check`` false rows come as they are, also those beside the range.
        """
        path = self.path(key)
        if not _is_file(path):
            raise self._missing(key)
        file = LakeFile(key, path)
        columns = file.columns(start_ms, end_ms)
        if check and len(columns["time_ms"]):
            check_rows(columns, key.series, key.timeframe, Origin(str(path)))
            low = None if start_ms is None else int(np.searchsorted(columns["time_ms"], start_ms))
            high = None if end_ms is None else int(np.searchsorted(columns["time_ms"], end_ms))
            columns = take(columns, slice(low, high))
        return Series(key, columns, file.info)

    def info(self, key: SeriesKey) -> SeriesInfo:
        """What the file says about itself, without reading its rows; errors as ``read``."""
        path = self.path(key)
        if not _is_file(path):
            raise self._missing(key)
        return LakeFile(key, path).info

    def list(self) -> builtins.list[SeriesKey]:
        """Keys of all series held, sorted. ``DataError`` when the folder is not there or may not be read."""
        root = Path(self.root)
        if not root.is_dir():
            raise DataError(
                f"there is no lake at {root}",
                remedy="make one with carry ingest or carry sample, or name another (--lake, data.lake in settings)",
            )
        return sorted(_key_of(path, root) for path in _parquet_files(root, _FOLDERS_ABOVE_A_SERIES))

    def _missing(self, key: SeriesKey) -> DataError:
        held = self.list()
        same = [str(other) for other in held if other.instrument == key.instrument]
        instruments = sorted({other.instrument for other in held})
        near = difflib.get_close_matches(key.instrument, instruments, n=3, cutoff=0.5)
        shown = same or near or instruments[:8]
        return DataError(
            f"the lake {self.root} holds no {key}; held: {', '.join(shown) or 'nothing'}",
            remedy="ingest it (carry ingest --help); carry data list shows all that is held",
        )


def _parquet_files(folder: Path, depth: int) -> Iterator[Path]:
    """Parquet files ``depth`` folders below. Unlike ``Path.glob`` it does not leave out what may not be read."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except PermissionError as error:
        raise _unreadable(folder) from error
    for entry in entries:
        if depth and entry.is_dir():
            yield from _parquet_files(entry, depth - 1)
        elif not depth and entry.suffix == ".parquet":
            yield entry


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> DataError:
    return DataError(f"{path} may not be read", remedy="change its permissions")


def _typed(key: SeriesKey, columns: Mapping[str, Floats | Integers]) -> Columns:
    """Columns in the lake's order and types; ``DataError`` when one is missing, unknown or of another length."""
    required, optional = COLUMNS[key.series], OPTIONAL.get(key.series, ())
    wrong = [f"column {name} is missing" for name in required if name not in columns]
    wrong += [f"column {name} is unknown" for name in columns if name not in required + optional]
    if wrong:
        has = ", ".join(required) + (f" and, if known, {', '.join(optional)}" if optional else "")
        raise DataError(f"{key}: {wrong[0]}", remedy=f"{key.series} has {has}")
    names = [*required, *(name for name in optional if name in columns)]
    if len({len(columns[name]) for name in names}) > 1:
        raise DataError(f"{key}: columns differ in length", remedy="give one value per row in each column")
    typed: Columns = {}
    for name in names:
        if name == "time_ms":
            typed[name] = np.ascontiguousarray(columns[name], dtype=np.int64)
        else:
            typed[name] = np.ascontiguousarray(columns[name], dtype=np.float64)
    return typed


def _nature(provenance: Provenance) -> str:
    return "generated" if provenance.synthetic else "recorded"


def _combined(held: Provenance, new: Provenance) -> Provenance:
    labels = dict.fromkeys([*held.source.split("; "), *new.source.split("; ")])
    origins = dict.fromkeys([*held.origins, *new.origins])
    return Provenance("; ".join(labels), tuple(origins), new.synthetic)


def _key_of(path: Path, root: Path) -> SeriesKey:
    venue, kind, symbol, name = path.relative_to(root).with_suffix("").parts
    series, _, timeframe = name.partition("-")
    try:
        return SeriesKey(venue, kind, symbol, series, timeframe)
    except CarryError as error:
        raise DataError(
            f"{path} is not a series of a lake: {error.message}", remedy="move that file out of the lake"
        ) from error

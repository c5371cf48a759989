"""What an importer makes of one file, and the steps from there into the lake that all importers share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from crypto.errors import UsageError
from crypto.units import iso, timeframe_ms
from data.store.lake import Lake
from data.store.resample import resample
from data.store.rows import TIMED_SERIES, Columns, Origin, check_rows, take
from data.store.series import MergeResult, Provenance, SeriesKey


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one file for one series, with where they come from and what was done to them (``notes``)."""

    key: SeriesKey
    columns: Columns
    provenance: Provenance
    origin: Origin
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one file: rows read from it, the outcome of the merge, notes for the reader."""

    file: str
    rows: int
    merge: MergeResult
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """Choices of a user that hold for every file of an ingest.

    ``resample``: make bars of this timeframe out of shorter ones, complete ones only. ``drop_last``: leave out each
    file's last bar. ``now_ms``: instant of the ingest; a last bar that ends after it is unfinished and is left out.
    """

    resample: str = ""
    drop_last: bool = False
    replace: bool = False
    dry_run: bool = False
    now_ms: int | None = None


def instrument_symbol(text: str) -> str:
    """``BTC/USDT``, ``BTC/USDT:USDT``, ``BTC_USDT_USDT``, ``BTC-USDT`` or ``BTCUSDT`` as ``BTCUSDT``."""
    parts = [part for part in re.split(r"[/_:-]", text.strip()) if part]
    if not parts:
        raise UsageError(f"symbol {text!r} is empty", remedy="for example BTCUSDT or BTC/USDT")
    return "".join(parts[:2])


def check_filter(name: str, asked: Sequence[str], found: Iterable[str]) -> None:
    """Raise ``UsageError`` when something asked for with ``--name`` is in no file, naming what is."""
    available = sorted(set(found))
    for value in asked:
        if value not in available:
            raise UsageError(
                f"--{name} {value}: no file is for it", remedy=f"found: {', '.join(available) or 'nothing'}"
            )


def ingest_piece(lake: Lake, piece: Piece, options: IngestOptions) -> Ingested:
    """Check one file's rows, leave out an unfinished last bar, resample, and merge into the lake.

    ``DataError`` names file and row when a row may not enter or contradicts a held one.
    """
    read = len(piece.columns["time_ms"])
    check_rows(piece.columns, piece.key.series, piece.key.timeframe, piece.origin)
    ready = _resampled(_without_unfinished(piece, options), options)
    if len(ready.columns["time_ms"]) == 0:
        raise UsageError(
            f"{piece.origin.name}: no complete bar is left",
            remedy="choose a shorter --resample, or leave out --drop-last",
        )
    merged = lake.merge(
        ready.key,
        ready.columns,
        ready.provenance,
        origin=ready.origin,
        replace=options.replace,
        dry_run=options.dry_run,
    )
    return Ingested(piece.origin.name, read, merged, ready.notes)


def _without_unfinished(piece: Piece, options: IngestOptions) -> Piece:
    if piece.key.series not in TIMED_SERIES:
        return piece
    last = int(piece.columns["time_ms"][-1])
    unfinished = options.now_ms is not None and last + timeframe_ms(piece.key.timeframe) > options.now_ms
    if not (options.drop_last or unfinished):
        return piece
    why = "it is not over yet" if unfinished else "--drop-last"
    note = f"left out the last bar, {iso(last)} ({why})"
    return replace(piece, columns=take(piece.columns, slice(0, -1)), notes=(*piece.notes, note))


def _resampled(piece: Piece, options: IngestOptions) -> Piece:
    if not options.resample or piece.key.series not in TIMED_SERIES or piece.key.timeframe == options.resample:
        return piece
    from_ms, to_ms = timeframe_ms(piece.key.timeframe), timeframe_ms(options.resample)
    if to_ms < from_ms or to_ms % from_ms:
        note = f"kept at {piece.key.timeframe}: {options.resample} bars cannot be made of them"
        return replace(piece, notes=(*piece.notes, note))
    columns, incomplete = resample(piece.columns, from_ms, to_ms)
    note = f"made {options.resample} bars of {piece.key.timeframe} bars"
    if incomplete:
        note += f", {incomplete} incomplete left out"
    return Piece(
        replace(piece.key, timeframe=options.resample),
        columns,
        piece.provenance,
        Origin(f"{piece.origin.name} at {options.resample}"),
        (*piece.notes, note),
    )

"""Market history of a run, out of the lake: one grid for all instruments, with settlements and borrow rates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from crypto.errors import DataError
from crypto.instruments import Kind, parse_key
from crypto.market import Bars, Floats, InstrumentHistory, Integers, MarketHistory, RateSeries, Settlements
from crypto.units import iso, timeframe_ms
from data.grid import Grid, choose_series, make_grid, read_bars
from data.settlements import load_settlements
from data.store.lake import Lake, SeriesInfo, SeriesKey


def load_market(
    lake: Lake,
    keys: Sequence[str],
    timeframe: str,
    start: str,
    end: str,
    *,
    tolerance_ms: int,
    borrow_assets: Sequence[tuple[str, str]] = (),
) -> MarketHistory:
    """History of the instruments ``keys`` (``venue:kind:SYMBOL``) on one grid of ``timeframe`` bars.

    ``start`` (included) and ``end`` (excluded) are ISO dates in UTC; empty means what all instruments hold in common.
    Missing bars are NaN. Settlements lie in (start, end]; ``tolerance_ms`` is how far a stamp may be off its hour.
    ``borrow_assets`` are (venue, asset); those without a series in the lake are left out.

    ``DataError`` names a series that is not held, a range without data (with what is held), a perp without funding, a
    damaged file; ``UsageError`` a malformed bound; ``SettingsError`` a malformed key.
    """
    held = lake.list()
    unique = list(dict.fromkeys(keys))
    chosen = {key: lake.info(_bars_key(lake, held, key, timeframe)) for key in unique}
    grid = make_grid(list(chosen.values()), timeframe, start, end)
    findings = _Findings()
    instruments = tuple(_instrument(lake, held, key, chosen[key], grid, tolerance_ms, findings) for key in unique)
    borrow = dict(_borrow(lake, held, borrow_assets, grid, findings))
    open_ms = grid.open_ms
    return MarketHistory(
        bar_ms=grid.bar_ms,
        open_ms=open_ms,
        instruments=instruments,
        borrow=borrow,
        data_hash=_hash(grid, instruments, borrow),
        synthetic=findings.synthetic,
        sources=findings.sources,
        notes=tuple(findings.notes),
    )


@dataclass(slots=True)
class _Findings:
    """Collected while loading: where each series came from, and what a reader of results must know."""

    sources: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    synthetic: bool = False

    def used(self, info: SeriesInfo) -> None:
        self.sources[str(info.key)] = info.provenance.source
        self.synthetic |= info.provenance.synthetic


def _bars_key(lake: Lake, held: Sequence[SeriesKey], key: str, timeframe: str) -> SeriesKey:
    venue, kind, symbol = parse_key(key)
    chosen = choose_series(held, key, "bars", timeframe)
    # Reading a series that is not held raises the error that lists what is.
    return chosen or lake.info(SeriesKey(venue, kind.value, symbol, "bars", timeframe)).key


def _instrument(
    lake: Lake,
    held: Sequence[SeriesKey],
    key: str,
    bars_info: SeriesInfo,
    grid: Grid,
    tolerance_ms: int,
    findings: _Findings,
) -> InstrumentHistory:
    bars = _read_noted(lake, bars_info.key, grid, findings)
    if np.isnan(bars.close).all():
        raise DataError(
            f"no complete bar of {bars_info.key} between {iso(grid.start_ms)} and {iso(grid.end_ms)}",
            remedy="choose start and end within what is held, or ingest more; carry data list shows what is held",
        )
    if bars_info.key.kind == Kind.SPOT:
        return InstrumentHistory(key, bars)
    loaded = load_settlements(lake, held, bars_info, grid, tolerance_ms)
    findings.used(loaded.info)
    findings.notes.extend(loaded.notes)
    return InstrumentHistory(key, bars, _mark(lake, held, key, grid, findings), loaded.settlements)


def _mark(lake: Lake, held: Sequence[SeriesKey], key: str, grid: Grid, findings: _Findings) -> Bars | None:
    """Mark bars on the grid; None, with a note, when the lake has none that are short enough."""
    chosen = choose_series(held, key, "mark", grid.timeframe)
    if chosen is None:
        findings.notes.append(f"{key}: no mark bars of {grid.timeframe} or shorter are held")
        return None
    return _read_noted(lake, chosen, grid, findings)


def _read_noted(lake: Lake, key: SeriesKey, grid: Grid, findings: _Findings) -> Bars:
    bars, missing = read_bars(lake, key, grid)
    findings.used(lake.info(key))
    if timeframe_ms(key.timeframe) != grid.bar_ms:
        findings.notes.append(f"{key}: put together to the run's bars")
    if missing:
        first = iso(grid.start_ms + int(np.argmax(np.isnan(bars.close))) * grid.bar_ms)
        findings.notes.append(f"{key}: {missing} of {len(bars.close)} bars missing, the first {first}")
    return bars


def _borrow(
    lake: Lake, held: Sequence[SeriesKey], assets: Sequence[tuple[str, str]], grid: Grid, findings: _Findings
) -> Iterator[tuple[tuple[str, str], RateSeries]]:
    """Rates that hold in the range: from the last one at or before its start on."""
    for venue, asset in dict.fromkeys(assets):
        key = SeriesKey(venue, "asset", asset, "borrow")
        if key not in held:
            continue
        rows = lake.read(key, None, grid.end_ms)
        first = max(0, int(np.searchsorted(rows.time_ms, grid.start_ms, side="right")) - 1)
        rates: Floats = rows.columns["hourly_rate"][first:].astype(np.float64, copy=False)
        findings.used(rows.info)
        yield (venue, asset), RateSeries(rows.time_ms[first:], rates)


def _hash(grid: Grid, instruments: Sequence[InstrumentHistory], borrow: Mapping[tuple[str, str], RateSeries]) -> str:
    """SHA-256 over the grid and every name and value, in a fixed order."""
    digest = hashlib.sha256(f"{grid.start_ms} {grid.end_ms} {grid.bar_ms}".encode())
    for history in instruments:
        for part in (history.bars, history.mark, history.settlements):
            digest.update(f"\n{history.key} {type(part).__name__}\n".encode())
            if part is not None:
                _update(digest, part)
    for (venue, asset), rates in sorted(borrow.items()):
        digest.update(f"\n{venue} {asset}\n".encode())
        _update(digest, rates)
    return digest.hexdigest()


def _update(digest: hashlib._Hash, part: Bars | Settlements | RateSeries) -> None:
    for column in fields(part):
        values: Floats | Integers = getattr(part, column.name)
        digest.update(f"{column.name} {len(values)} ".encode())
        digest.update(np.ascontiguousarray(values).data)

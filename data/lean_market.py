"""What a run on Lean needs besides Lean's own bars, out of its data folder: settlements, marks and borrow rates.

Lean delivers trade bars; funding, mark and borrow rates are read once at the start, checked, and used bar by bar. A row
of custom data would cost 23 to 60 us a bar in Lean, and Lean reads a malformed rate without complaint (lean-measured.md
I.3, K.1). Spec: docs/specs/lean.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from crypto.errors import DataError, SettingsError
from crypto.funding import settlement_calendar, settlement_instants
from crypto.instruments import Instrument, Kind
from crypto.market import Bars, Floats, InstrumentHistory, Integers, MarketHistory, RateSeries, Settlements
from crypto.settings import PriceSource, Settings
from crypto.units import iso, parse_iso, timeframe_ms
from crypto.venues.discounts import fee_coins
from crypto.venues.registry import instrument
from data.lean_folder import layout, lines
from data.lean_folder.archives import unpacked
from data.lean_folder.exported import ExportedBars
from data.lean_folder.properties import read_properties
from data.oracle_history import with_oracle
from data.store.rows import PRICES, Columns
from data.store.series import SeriesKey

_EXPORT = "write the folder with carry lean export"
_RESOLUTIONS = ("1m", "1h")  # bars of Lean that are short enough to settle hourly


def load_lean_market(root: Path, settings: Settings) -> MarketHistory:
    """Everything but the traded bars, which are NaN, on the grid of the run; those of coins that pay fees come along.

    Where coins are held at the start, the first bar of the spot legs is there, because it prices them.

    Start and end are the settings', or else what all mark series hold in common. ``DataError`` names a file that is
    missing, malformed or too short, and an instrument without symbol properties; ``SettingsError`` a bar length that
    Lean does not have. A settlement that is missing in a series gets a NaN rate. The oracle, where it is enabled, is
    rebuilt from the folder's own series of all venues.
    """
    if settings.run.timeframe not in _RESOLUTIONS:
        raise SettingsError(
            f"run.timeframe = {settings.run.timeframe!r}: Lean has bars of {' and '.join(_RESOLUTIONS)} only",
            remedy='set run.timeframe to "1h" or "1m"',
        )
    keys = dict.fromkeys(key for pair in settings.pairs for key in (pair.spot, pair.perp))
    instruments = [instrument(key, settings.instruments) for key in keys]
    coins = [instrument(coin.market, settings.instruments) for coin in fee_coins(settings)]
    _check_folder(root, [*instruments, *coins], settings.run.timeframe)
    marks = {item.key: _mark_bars(root, item, settings) for item in instruments if item.kind is not Kind.SPOT}
    bar_ms = timeframe_ms(settings.run.timeframe)
    start_ms, end_ms = _period(root, settings, marks.values(), bar_ms)
    open_ms = np.arange(start_ms, end_ms, bar_ms, dtype=np.int64)
    spot = (_spot(root, item, settings, open_ms) for item in instruments if item.kind is Kind.SPOT)
    perps = (
        _perp(root, item, settings, open_ms, end_ms, marks[item.key])
        for item in instruments
        if item.kind is not Kind.SPOT
    )
    borrow = dict(_borrow(root, instruments, end_ms)) if settings.borrow.enabled else {}
    paying = (_coin_history(root, item, settings.run.timeframe, open_ms) for item in coins)
    market = MarketHistory(bar_ms, open_ms, (*spot, *perps, *paying), borrow)
    return _with_oracle(root, market, instruments, settings) if settings.oracle.enabled else market


def _spot(root: Path, item: Instrument, settings: Settings, open_ms: Integers) -> InstrumentHistory:
    """A spot leg: nothing, but for the first bar where coins are held at the start."""
    held = {asset for amounts in settings.wallets.values() for asset in amounts}
    if held <= {settings.run.account_currency}:
        return InstrumentHistory(item.key, _nothing(open_ms))
    return InstrumentHistory(item.key, _opening(root, item, settings.run.timeframe, open_ms))


def _perp(
    root: Path, item: Instrument, settings: Settings, open_ms: Integers, end_ms: int, marks: Columns
) -> InstrumentHistory:
    mark = _on_grid(marks, open_ms) if marks else None
    settled = _settlements(root, item, settings, int(open_ms[0]), end_ms, marks)
    return InstrumentHistory(item.key, _nothing(open_ms), mark, settled)


def _nothing(open_ms: Integers) -> Bars:
    none = np.full(open_ms.size, math.nan)
    return Bars(none, none, none, none, none)


def _with_oracle(
    root: Path, market: MarketHistory, instruments: Iterable[Instrument], settings: Settings
) -> MarketHistory:
    """The market with the oracle's statuses, by the code of the embedded engine on the series that were exported."""
    exported, compared = ExportedBars(root), market
    if settings.data.valuation_price is PriceSource.LAST:  # then a perp's own price is its last trade
        trades = {item.key: _trades(exported, item, settings, market.open_ms) for item in instruments}
        histories = (replace(history, bars=trades[history.key]) for history in market.instruments)
        compared = replace(market, instruments=tuple(histories))
    try:
        return replace(market, oracle=with_oracle(compared, exported, settings).oracle)
    except DataError as error:
        more = "what the lake holds of other venues comes into the folder with carry lean export --config SETTINGS"
        raise DataError(error.message, remedy=f"{error.remedy}; {more}") from error


def _trades(exported: ExportedBars, item: Instrument, settings: Settings, open_ms: Integers) -> Bars:
    """Traded bars of a leg on the grid."""
    rows = exported.read(SeriesKey(item.venue, item.kind.value, item.symbol, "bars", settings.run.timeframe)).columns
    times = rows["time_ms"].astype(np.int64, copy=False)
    values = {name: _looked_up(open_ms, times, rows[name]) for name in (*PRICES, "volume")}
    return Bars(**values)


def _check_folder(root: Path, instruments: Iterable[Instrument], timeframe: str) -> None:
    """``DataError`` unless the folder lists every instrument and has its trade bars."""
    if not root.is_dir():
        raise DataError(f"Lean's data folder {root} does not exist", remedy=f"{_EXPORT}, and set data-folder to it")
    properties = read_properties(root)
    for item in instruments:
        layout.check_valued_rightly(item)
        place = _place(item, timeframe)
        if (place.market, place.ticker, place.security_type) not in properties:
            raise DataError(
                f"{root / layout.SYMBOL_PROPERTIES} has no {place.market},{place.ticker},{place.security_type}",
                remedy=_EXPORT,
            )
        bars = root / place.bars_path()
        path = bars.parent / place.ticker.lower() if place.resolution == "minute" else bars
        if not path.exists():
            raise DataError(f"{path} does not exist: no bars of {item.key}", remedy=_EXPORT)


def _place(item: Instrument, timeframe: str, series: str = "") -> layout.Place:
    market = layout.price_market(item.venue, series) if series else item.venue
    kind = layout.CRYPTO if item.kind is Kind.SPOT else layout.CRYPTO_FUTURE
    resolution = layout.resolution_of(timeframe, item.key) if timeframe else ""
    return layout.Place(kind, market, layout.ticker(item.symbol, item.quote), resolution)


def _mark_bars(root: Path, item: Instrument, settings: Settings) -> Columns:
    """Mark bars of a perp as columns; empty where they are missing and nothing is paid or valued on them."""
    place = _place(item, settings.run.timeframe, "mark")
    rows = _read_bars(root, place)
    if rows:
        return rows
    if PriceSource.MARK in (settings.data.valuation_price, settings.funding.price):
        raise DataError(
            f"{root / place.bars_path()} does not exist: no mark prices of {item.key}",
            remedy=f'{_EXPORT}, or set data.valuation_price and funding.price to "last"',
        )
    return {}


def _coin_history(root: Path, item: Instrument, timeframe: str, open_ms: Integers) -> InstrumentHistory:
    """Trade bars of a coin that pays fees, which price it before Lean has delivered any."""
    rows = _read_bars(root, _place(item, timeframe))
    volume = _looked_up(open_ms, rows["time_ms"].astype(np.int64, copy=False), rows["volume"])
    return InstrumentHistory(item.key, replace(_on_grid(rows, open_ms), volume=volume))


def _read_bars(root: Path, place: layout.Place) -> Columns:
    """All bars of a series as columns; empty where there is none."""
    parts = [
        lines.read_bars(unpacked(path, path.read_bytes(), entry), str(path), day)
        for path, entry, day in _bar_files(root, place)
    ]
    names = ("time_ms", *PRICES, "volume")
    return {name: np.concatenate([part[name] for part in parts]) for name in names} if parts else {}


def _bar_files(root: Path, place: layout.Place) -> Iterator[tuple[Path, str, str]]:
    """Files of a series with the name of the text inside and the day, in order of time."""
    if place.resolution != "minute":
        path = root / place.bars_path()
        if path.exists():
            yield path, place.entry_name(), ""
        return
    folder = (root / place.bars_path("")).parent
    for path in sorted(folder.glob("*_trade.zip")):
        day = path.name.split("_", maxsplit=1)[0]
        yield path, place.entry_name(day), day


def _opening(root: Path, item: Instrument, timeframe: str, open_ms: Integers) -> Bars:
    """The first bar of the run, which Lean has yet to deliver; all others are NaN."""
    place, first = _place(item, timeframe), open_ms[:1]
    day_of_run = iso(int(first[0]))[:10].replace("-", "")
    values = {name: np.full(open_ms.size, math.nan) for name in (*PRICES, "volume")}
    for path, entry, day in _bar_files(root, place):
        if day in ("", day_of_run):
            rows = lines.read_bars(unpacked(path, path.read_bytes(), entry), str(path), day)
            times = rows["time_ms"].astype(np.int64, copy=False)
            for name, column in values.items():
                column[:1] = _looked_up(first, times, rows[name])
    return Bars(**values)


def _period(root: Path, settings: Settings, marks: Iterable[Columns], bar_ms: int) -> tuple[int, int]:
    """First and last instant: the settings', else what every mark series holds."""
    known = [rows["time_ms"] for rows in marks if rows]
    if not (known or (settings.run.start and settings.run.end)):
        raise SettingsError(
            "run.start and run.end are empty, and no mark series says what the data cover",
            remedy="give both, as settings or as Lean parameters",
        )
    start = parse_iso(settings.run.start) if settings.run.start else max(int(times[0]) for times in known)
    end = parse_iso(settings.run.end) if settings.run.end else min(int(times[-1]) for times in known) + bar_ms
    if start >= end:
        raise DataError(f"{root} holds no bar between {iso(start)} and {iso(end)}", remedy=_EXPORT)
    return start, end


def _on_grid(rows: Columns, open_ms: Integers) -> Bars:
    times = rows["time_ms"].astype(np.int64, copy=False)
    values = {name: _looked_up(open_ms, times, rows[name]) for name in PRICES}
    return Bars(**values, volume=np.zeros(open_ms.size))


def _looked_up(times: Integers, known: Integers, values: Floats | Integers) -> Floats:
    """Value at each of ``times``; NaN where ``known``, ascending, has none."""
    result = np.full(len(times), math.nan)
    if len(known):
        places = np.minimum(np.searchsorted(known, times), len(known) - 1)
        found = known[places] == times
        result[found] = values[places[found]]
    return result


def _rates(root: Path, place: layout.Place, column: str) -> tuple[Integers, Floats] | None:
    """Stamps and values of a rate file; None when it is not there."""
    path = root / place.rate_path
    if not path.exists():
        return None
    rows = lines.read_rates(path.read_bytes(), str(path), column)
    return rows["time_ms"].astype(np.int64, copy=False), rows[column].astype(np.float64, copy=False)


def _settlements(
    root: Path, item: Instrument, settings: Settings, start_ms: int, end_ms: int, marks: Columns
) -> Settlements:
    """Settlements in (start, end] with their marks; the stamps are brought to their instants."""
    place = _place(item, "")
    rows = _rates(root, place, "funding_rate")
    if rows is None:
        raise DataError(f"{root / place.rate_path} does not exist: no funding of {item.key}", remedy=_EXPORT)
    try:
        instants = settlement_instants(rows[0], settings.data.settlement_tolerance_ms)
        calendar = settlement_calendar(instants)
    except DataError as error:
        raise DataError(f"{root / place.rate_path}: {error.message}", remedy=error.remedy) from error
    expected = np.sort(np.concatenate((instants, calendar.missing_ms)))
    if not expected.size or expected[0] > start_ms + _spacing(expected) or expected[-1] < end_ms - _spacing(expected):
        held = f"{iso(int(expected[0]))} to {iso(int(expected[-1]))}" if expected.size else "nothing"
        raise DataError(
            f"{root / place.rate_path} holds {held}, the run is {iso(start_ms)} to {iso(end_ms)}", remedy=_EXPORT
        )
    hours = np.concatenate((calendar.interval_hours[:1], np.diff(expected) / 3_600_000))
    inside = (expected > start_ms) & (expected <= end_ms)
    times = expected[inside]
    own = _rates(root, layout.settlement_mark_place(place), "mark_price")
    price = np.full(times.size, math.nan)
    if marks:
        price = _looked_up(times, marks["time_ms"].astype(np.int64, copy=False), marks["open"])
    if own is not None:
        given = _looked_up(times, settlement_instants(own[0], settings.data.settlement_tolerance_ms), own[1])
        price = np.where(np.isnan(given), price, given)
    return Settlements(times, _looked_up(times, instants, rows[1]), price, hours[inside])


def _spacing(times: Integers) -> int:
    """Longest time between two settlements."""
    return int(np.diff(times).max()) if times.size > 1 else 0


def _borrow(root: Path, instruments: Iterable[Instrument], end_ms: int) -> Iterator[tuple[tuple[str, str], RateSeries]]:
    """Hourly borrow rates of the spot legs' base assets, where the folder has them."""
    for item in instruments:
        if item.kind is not Kind.SPOT:
            continue
        place = layout.Place(
            layout.CRYPTO_FUTURE, layout.price_market(item.venue, layout.BORROW), layout.borrow_ticker(item.base)
        )
        rows = _rates(root, place, "hourly_rate")
        if rows is not None:
            keep = rows[0] < end_ms
            yield (item.venue, item.base), RateSeries(rows[0][keep], rows[1][keep])

"""The oracle's composite of an asset over stored series: the same code as live, at every close of a grid of bars.

Each venue is one source. Its price at a close is that of the last stored bar that had closed by then and in which it
traded; its age is the time since. So a venue that stops printing goes stale here as it does live.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crypto.errors import DataError, UsageError
from crypto.instruments import parse_key
from crypto.market import Floats, Integers
from crypto.oracle import OracleReading, Source, evaluate
from crypto.oracle_composite import MAJORS, OracleArrays, Rules, Status, composite_series
from crypto.units import iso, parse_iso, timeframe_ms
from data.contract_terms import ContractTerms, contract_terms
from data.grid import choose_series
from data.store.lake import Series, SeriesKey

# Weights that Hyperliquid's published oracle gives to the venues' spot prices; a venue that it does not name counts 1.
WEIGHTS: Mapping[str, float] = {"binance": 3.0, "okx": 2.0, "bybit": 2.0}
INPUTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "index": (("spot",), "bars"),
    "mark": (("linear", "inverse"), "mark"),
    "last": (("linear", "inverse"), "bars"),
}


class SeriesStore(Protocol):
    """Where stored series come from: the lake, or a folder that was exported for Lean."""

    def list(self) -> list[SeriesKey]:
        """Names of all series."""

    def read(self, key: SeriesKey) -> Series:
        """All rows of one."""


@dataclass(frozen=True, slots=True)
class OracleRequest:
    """What to rebuild. ``kind``: ``index`` of spot closes, ``mark`` of marks, ``last`` of perp trades (asked for only).

    Stored bars are known at their close only, so ``rules.max_age_ms`` is replaced by ``max_age_ms``: 0 demands that the
    venue traded in the bar that closes at the instant. ``unit``: common quote. ``quote_rates``: rates given by hand.
    ``instruments``: the keys to use, one per venue, instead of one per venue that is held. ``quotes``: further quotes
    whose rates are wanted.
    """

    asset: str
    kind: str = "index"
    timeframe: str = "1h"
    unit: str = "USDT"
    rules: Rules = MAJORS
    max_age_ms: int = 0
    venues: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    quote_rates: Mapping[str, float] = field(default_factory=dict)
    instruments: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in INPUTS:
            raise UsageError(f"--kind {self.kind} is unknown", remedy=f"use one of {', '.join(INPUTS)}")
        timeframe_ms(self.timeframe)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all of it: what decides a composite besides the prices."""
        values = [getattr(self, one.name) for one in fields(self)]
        parts = [sorted(value.items()) if isinstance(value, Mapping) else value for value in values]
        return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class OracleSource:
    """A venue's series as a source: its contract, weight, and price, rate and age at each instant."""

    key: SeriesKey
    terms: ContractTerms
    weight: float
    price: Floats
    quote_rate: Floats
    age_ms: Floats


@dataclass(frozen=True, slots=True)
class OracleSeries:
    """Composite at every close of the grid; ``arrays`` as ``crypto.oracle_composite.OracleArrays``, notes for people.

    ``quote_rates``: units of the common quote per unit of each quote, at every close. ``origins``: where each series
    that was read comes from, conversions among them, by its key.
    """

    request: OracleRequest
    rules: Rules
    close_ms: Integers
    sources: tuple[OracleSource, ...]
    arrays: OracleArrays
    quote_rates: Mapping[str, Floats]
    origins: Mapping[str, str]
    synthetic: bool
    notes: tuple[str, ...]

    def reading(self, row: int) -> OracleReading:
        """The reading of one instant with the verdict on each source, without the memory of recovery."""
        sources, rates = [], {}
        for source in self.sources:
            rates[source.terms.quote] = float(source.quote_rate[row])
            price, age = float(source.price[row]), float(source.age_ms[row])
            sources.append(Source(source.key.venue, price, source.terms.quote, age, source.weight))
        return evaluate(sources, rates, self.request.unit, self.rules)


def rebuild(lake: SeriesStore, request: OracleRequest, start: str = "", end: str = "") -> OracleSeries:
    """Composite of ``request.asset`` out of all venues of the lake, at every close in (start, end].

    Empty bounds are the first and last close that any venue has. ``DataError`` when no venue has the asset, with what
    is held; ``UsageError`` for a malformed bound or a venue that is not held.
    """
    held = lake.list()
    chosen = _choose(held, request)
    rows = [(key, terms, lake.read(key)) for key, terms in chosen]
    close_ms = _instants([series for _, _, series in rows], request, start, end)
    quotes = {terms.quote for _, terms, _ in rows} | set(request.quotes)
    used = [series for _, _, series in rows]
    rates, notes = _quote_rates(lake, held, quotes, request, close_ms, used)
    sources = []
    for key, terms, series in rows:
        price, age = _price_and_age(series, close_ms)
        weight = request.weights.get(key.venue, 1.0)
        sources.append(OracleSource(key, terms, weight, price / terms.multiplier, rates[terms.quote], age))
    rules = request.rules._replace(max_age_ms=float(request.max_age_ms))
    arrays = composite_series(
        close_ms,
        np.stack([source.price for source in sources], axis=1),
        np.stack([source.quote_rate for source in sources], axis=1),
        np.stack([source.age_ms for source in sources], axis=1),
        np.array([source.weight for source in sources]),
        rules,
    )
    origins = {str(series.key): series.info.provenance.source for series in used}
    synthetic = any(series.info.provenance.synthetic for series in used)
    return OracleSeries(request, rules, close_ms, tuple(sources), arrays, rates, origins, synthetic, tuple(notes))


def status_at(series: OracleSeries, times_ms: Integers) -> tuple[Floats, Integers]:
    """Value and status at each of ``times_ms``; an instant that the series does not have is a HALT without a value."""
    status = column_at(series, series.arrays.status, times_ms, int(Status.HALT))
    return column_at(series, series.arrays.value, times_ms, np.nan), status.astype(np.int64)


def column_at(series: OracleSeries, column: NDArray[Any], times_ms: Integers, missing: float) -> NDArray[Any]:
    """A column of the series at each of ``times_ms``; ``missing`` at an instant that the series does not have."""
    places = np.minimum(np.searchsorted(series.close_ms, times_ms), len(series.close_ms) - 1)
    return np.where(series.close_ms[places] == times_ms, column[places], missing)


def assets(held: Iterable[SeriesKey], kind: str) -> dict[str, set[str]]:
    """Venues by base asset that hold an input of the composite ``kind``."""
    kinds, series = INPUTS[kind]
    found: dict[str, set[str]] = {}
    for key in held:
        if key.kind in kinds and key.series == series:
            terms = contract_terms(key.venue, key.kind, key.symbol)
            if terms is not None:
                found.setdefault(terms.base, set()).add(key.venue)
    return found


def _choose(held: Sequence[SeriesKey], request: OracleRequest) -> list[tuple[SeriesKey, ContractTerms]]:
    """One series per venue: two contracts of one venue are not independent, so they don't count twice in a quorum."""
    if request.instruments:
        return [_named(held, request, name) for name in request.instruments]
    kinds, series = INPUTS[request.kind]
    best: dict[str, tuple[tuple[bool, int, str], SeriesKey, ContractTerms]] = {}
    for instrument in dict.fromkeys((key.venue, key.kind, key.symbol) for key in held if key.kind in kinds):
        terms = contract_terms(*instrument)
        key = choose_series(held, ":".join(instrument), series, request.timeframe)
        if terms is None or key is None or terms.base != request.asset:
            continue
        rank = (terms.quote != request.unit, kinds.index(key.kind), key.symbol)
        if key.venue not in best or rank < best[key.venue][0]:
            best[key.venue] = (rank, key, terms)
    for venue in request.venues:
        if venue not in best:
            raise UsageError(
                f"--venue {venue}: no {series} of {request.asset} of {request.timeframe} or shorter are held there",
                remedy=f"held: {', '.join(sorted(best)) or 'none'}",
            )
    if not best:
        known = sorted(assets(held, request.kind))
        raise DataError(
            f"no venue of the lake has {request.asset} for the composite {request.kind}"
            f" ({' or '.join(kinds)} {series} of {request.timeframe} or shorter)",
            remedy=f"ingest it, or ask for one of: {', '.join(known[:12]) or 'none held'};"
            f" or for another kind: {', '.join(INPUTS)}",
        )
    return [(key, terms) for venue, (_, key, terms) in sorted(best.items()) if venue in (request.venues or best)]


def _named(held: Sequence[SeriesKey], request: OracleRequest, name: str) -> tuple[SeriesKey, ContractTerms]:
    """The series and terms of an instrument that the request names; ``DataError`` where it can't be a source."""
    kinds, series = INPUTS[request.kind]
    venue, kind, symbol = parse_key(name)
    terms, key = contract_terms(venue, kind, symbol), choose_series(held, name, series, request.timeframe)
    if kind not in kinds or terms is None or terms.base != request.asset:
        raise DataError(
            f"{name} is no source of a composite {request.kind} of {request.asset}",
            remedy=f"name {' or '.join(kinds)} instruments of {request.asset}",
        )
    if key is None:
        raise DataError(
            f"no {series} of {name} of {request.timeframe} or shorter are held",
            remedy="ingest or fetch them, or leave that source out; carry data list shows what is held",
        )
    return key, terms


def _instants(rows: Sequence[Series], request: OracleRequest, start: str, end: str) -> Integers:
    step = timeframe_ms(request.timeframe)
    opens = min(series.info.first_ms for series in rows)
    closes = max(series.info.last_ms + timeframe_ms(series.key.timeframe) for series in rows)
    first = parse_iso(start) if start else opens
    last = parse_iso(end) if end else closes
    grid = np.arange((first // step + 1) * step, last // step * step + 1, step, dtype=np.int64)
    inside = grid[(grid > opens) & (grid <= closes)]
    if not len(inside):
        raise DataError(
            f"no {request.timeframe} bar of {request.asset} closes after {iso(first)} and up to {iso(last)}",
            remedy=f"held: {iso(opens)} .. {iso(closes)}",
        )
    return inside


def _price_and_age(series: Series, close_ms: Integers) -> tuple[Floats, Floats]:
    """Close of the last bar that traded and had closed by each instant, and the time since; NaN before the first."""
    columns = series.columns
    traded = columns["volume"] > 0.0 if "volume" in columns else np.ones(len(series.time_ms), dtype=bool)
    closes = series.time_ms[traded] + timeframe_ms(series.key.timeframe)
    if not len(closes):
        return np.full(len(close_ms), np.nan), np.full(len(close_ms), np.nan)
    places = np.searchsorted(closes, close_ms, side="right") - 1
    known = np.maximum(places, 0)
    price = np.where(places >= 0, columns["close"][traded][known], np.nan)
    return price, np.where(places >= 0, (close_ms - closes[known]).astype(np.float64), np.nan)


def _quote_rates(
    lake: SeriesStore,
    held: Sequence[SeriesKey],
    quotes: set[str],
    request: OracleRequest,
    close_ms: Integers,
    used: list[Series],
) -> tuple[dict[str, Floats], list[str]]:
    """Units of the common quote per unit of each quote: 1 for itself, by hand, or out of the lake's spot series.

    Series that were read for it are added to ``used``.
    """
    rates: dict[str, Floats] = {request.unit: np.ones(len(close_ms))}
    notes = []
    for quote in sorted(quotes - {request.unit}):
        if quote in request.quote_rates:
            rates[quote] = np.full(len(close_ms), request.quote_rates[quote])
            notes.append(f"1 {quote} = {request.quote_rates[quote]:g} {request.unit} throughout, given by hand")
            continue
        found = list(_conversions(lake, held, quote, request))
        if not found:
            rates[quote] = np.full(len(close_ms), np.nan)
            notes.append(f"no {quote}/{request.unit} spot series is held, so prices in {quote} are rejected")
            continue
        rates[quote] = _median_rate(found, request, close_ms)
        used.extend(series for series, _ in found)
        names = ", ".join(series.key.instrument for series, _ in found)
        notes.append(f"{quote} converted to {request.unit} by {names}")
    return rates, notes


def _conversions(
    lake: SeriesStore, held: Sequence[SeriesKey], quote: str, request: OracleRequest
) -> Iterable[tuple[Series, bool]]:
    """Spot series between the two quotes, and whether their price has to be turned over."""
    for symbol, inverted in ((quote + request.unit, False), (request.unit + quote, True)):
        for venue in sorted({key.venue for key in held if key.kind == "spot" and key.symbol == symbol}):
            key = choose_series(held, f"{venue}:spot:{symbol}", "bars", request.timeframe)
            if key is not None:
                yield lake.read(key), inverted


def _median_rate(found: Sequence[tuple[Series, bool]], request: OracleRequest, close_ms: Integers) -> Floats:
    """Composite of the conversions with equal weights; one venue is enough, as a rate is only a small correction."""
    prices, ages = [], []
    for series, inverted in found:
        price, age = _price_and_age(series, close_ms)
        prices.append(1.0 / price if inverted else price)
        ages.append(age)
    rules = request.rules._replace(max_age_ms=float(request.max_age_ms), quorum=1, degraded_quorum=1)
    stacked_price, stacked_age = np.stack(prices, axis=1), np.stack(ages, axis=1)
    ones = np.ones(stacked_price.shape)
    return composite_series(close_ms, stacked_price, ones, stacked_age, np.ones(len(found)), rules).value

"""Lays the shocks of a stress scenario on a market history. Pure: the given history stays as it is.

Spec: docs/specs/stress.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crypto.errors import SettingsError
from crypto.instruments import Instrument, Kind
from crypto.market import Bars, Floats, InstrumentHistory, Integers, MarketHistory, RateSeries, Settlements
from crypto.stress import BorrowRecall, FundingFlip, MarkSpike, Outage, PriceGap, StressScenario
from crypto.units import HOUR_MS, iso


def shock(
    market: MarketHistory, scenario: StressScenario, instruments: Sequence[Instrument], open_ms: int
) -> MarketHistory:
    """``market`` with all shocks of the scenario; ``instruments`` in any order, by their keys.

    ``SettingsError`` names a shock that lies outside the market, or that touches no asset of it.
    """
    _check(scenario, instruments, market, open_ms)
    made = {item.key: item for item in instruments}
    histories = tuple(_history(item, made[item.key], market, scenario, open_ms) for item in market.instruments)
    borrow = dict(market.borrow)
    for spot in instruments:
        if spot.kind is Kind.SPOT:
            series = _borrow(borrow.get((spot.venue, spot.base)), spot, scenario, market, open_ms)
            if series is not None:
                borrow[spot.venue, spot.base] = series
    digest = hashlib.sha256(f"{market.data_hash} {open_ms} {scenario!r}".encode()).hexdigest()
    notes = (*market.notes, f"shocks of the scenario {scenario.name!r} were laid on the market from {iso(open_ms)} on")
    return replace(market, instruments=histories, borrow=borrow, data_hash=digest, notes=notes)


def gap_factor(time_ms: Integers, start_ms: int, move: float, over_hours: float, return_hours: float) -> Floats:
    """Factor on prices at each time: 1 before ``start_ms``, a straight way to 1 + move, and back where it returns."""
    peak = start_ms + over_hours * HOUR_MS
    hours: Floats = np.asarray(time_ms, dtype=np.float64)
    if over_hours > 0.0:
        share = np.clip((hours - start_ms) / (over_hours * HOUR_MS), 0.0, 1.0)
    else:
        share = (hours >= start_ms).astype(np.float64)
    if return_hours > 0.0:
        share = np.where(hours > peak, np.clip(1.0 - (hours - peak) / (return_hours * HOUR_MS), 0.0, 1.0), share)
    factor: Floats = 1.0 + move * share
    return factor


def _applies(assets: tuple[str, ...], made: Instrument) -> bool:
    return not assets or made.base in assets


def _at(open_ms: int, hours: float) -> int:
    return open_ms + round(hours * HOUR_MS)


def _check(scenario: StressScenario, instruments: Sequence[Instrument], market: MarketHistory, open_ms: int) -> None:
    end_ms = int(market.open_ms[-1]) + market.bar_ms
    held = {item.base for item in instruments}
    groups: dict[str, Sequence[PriceGap | FundingFlip | BorrowRecall | Outage | MarkSpike]] = {
        "price_gap": scenario.price_gap,
        "funding_flip": scenario.funding_flip,
        "borrow_recall": scenario.borrow_recall,
        "outage": scenario.outage,
        "mark_spike": scenario.mark_spike,
    }
    for name, items in groups.items():
        for place, item in enumerate(items):
            if _at(open_ms, item.at_hours) >= end_ms:
                raise SettingsError(
                    f"{name}.{place}.at_hours = {item.at_hours:g} lies after the end of the market, {iso(end_ms)}",
                    remedy=f"the book opens at {iso(open_ms)}; give fewer hours or a later market.end",
                )
            strangers = set(getattr(item, "assets", ())) - held
            if strangers:
                raise SettingsError(
                    f"{name}.{place}.assets: {min(strangers)} is no base asset of the pairs",
                    remedy=f"known here: {', '.join(sorted(held))}",
                )


def _history(
    history: InstrumentHistory, made: Instrument, market: MarketHistory, scenario: StressScenario, open_ms: int
) -> InstrumentHistory:
    bars, mark, settlements = history.bars, history.mark, history.settlements
    is_spot = made.kind is Kind.SPOT
    for gap in scenario.price_gap:
        move = gap.spot if is_spot else gap.perp
        if not _applies(gap.assets, made) or move == 0.0:
            continue
        start = _at(open_ms, gap.at_hours)
        opens = gap_factor(market.open_ms, start, move, gap.over_hours, gap.return_hours)
        closes = gap_factor(market.open_ms + market.bar_ms - 1, start, move, gap.over_hours, gap.return_hours)
        bars = _scaled(bars, opens, closes)
        mark = None if mark is None else _scaled(mark, opens, closes)
        if settlements is not None:
            then = gap_factor(settlements.time_ms, start, move, gap.over_hours, gap.return_hours)
            settlements = replace(settlements, mark_price=settlements.mark_price * then)
    for flip in scenario.funding_flip:
        if settlements is not None and _applies(flip.assets, made):
            settlements = _flipped(settlements, flip, open_ms)
    for spike in scenario.mark_spike:
        if not is_spot and _applies(spike.assets, made):
            mark = _spiked(bars if mark is None else mark, spike, market, open_ms)
    for outage in scenario.outage:
        bars, mark = _darkened(bars, mark, outage, market, open_ms, is_spot=is_spot)
    return InstrumentHistory(history.key, bars, mark, settlements)


def _scaled(bars: Bars, opens: Floats, closes: Floats) -> Bars:
    """Prices times the factors at open and close; extremes with the larger or smaller one. Volumes stay."""
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    return Bars(bars.open * opens, bars.high * high, bars.low * low, bars.close * closes, bars.volume)


def _flipped(settlements: Settlements, flip: FundingFlip, open_ms: int) -> Settlements:
    first = int(np.searchsorted(settlements.time_ms, _at(open_ms, flip.at_hours), side="left"))
    rates = settlements.funding_rate.copy()
    rates[first : first + flip.settlements] = flip.rate
    return replace(settlements, funding_rate=rates)


def _spiked(mark: Bars, spike: MarkSpike, market: MarketHistory, open_ms: int) -> Bars:
    bar = int(np.searchsorted(market.open_ms + market.bar_ms, _at(open_ms, spike.at_hours), side="right"))
    high, low = mark.high.copy(), mark.low.copy()
    reached = mark.open[bar] * (1.0 + spike.move)
    high[bar], low[bar] = np.fmax(high[bar], reached), np.fmin(low[bar], reached)
    return replace(mark, high=high, low=low)


def _darkened(
    bars: Bars, mark: Bars | None, outage: Outage, market: MarketHistory, open_ms: int, *, is_spot: bool
) -> tuple[Bars, Bars | None]:
    """Bars that lie in the outage, in whole or in part, are taken away."""
    if not (outage.spot if is_spot else outage.perp):
        return bars, mark
    start, end = _at(open_ms, outage.at_hours), _at(open_ms, outage.at_hours + outage.hours)
    dark = (market.open_ms < end) & (market.open_ms + market.bar_ms > start)
    if mark is not None and not outage.mark_goes_on:
        mark = _without(mark, dark)
    return _without(bars, dark), mark


def _without(bars: Bars, dark: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Bars:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(*(np.where(dark, np.nan, column) for column in columns))


def _borrow(
    held: RateSeries | None, spot: Instrument, scenario: StressScenario, market: MarketHistory, open_ms: int
) -> RateSeries | None:
    """The asset's hourly rates with the recalls laid on; None where nothing changes."""
    recalls = [item for item in scenario.borrow_recall if item.hourly_rate > 0.0 and _applies(item.assets, spot)]
    if not recalls:
        return None
    first = int(market.open_ms[0]) // HOUR_MS * HOUR_MS
    hours = int((market.open_ms[-1] + market.bar_ms - first) // HOUR_MS) + 3
    time_ms = first + HOUR_MS * np.arange(hours, dtype=np.int64)
    rates = np.full(hours, scenario.book.borrow_annual / 8760.0)
    if held is not None:
        row = np.searchsorted(held.time_ms, time_ms, side="right") - 1
        rates = np.where(row >= 0, held.hourly_rate[np.maximum(row, 0)], rates)
    for item in recalls:
        rates = np.where(time_ms >= _at(open_ms, item.at_hours), item.hourly_rate, rates)
    return RateSeries(time_ms, rates)

"""The ADL events of a run, worked out from the mark before it: what the modelled counterparties leave to the queue.

Our own position is a drop in the contract's open interest, so it does not change what happens to the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crypto.adl import Positions, adl_rule, close_price, deficit_price
from crypto.adl_population import Population, PopulationModel, Stress, TierUsage, draw_population, stress
from crypto.adl_ranking import scores
from crypto.errors import SettingsError
from crypto.instruments import Instrument, Kind
from crypto.insurance import Pool, RollingPeak, fund_rule, spendable
from crypto.market import Floats
from crypto.settings import Settings
from crypto.simulator.state import ADL_EVENT, ADL_QUEUE, MARK_HIGH, MARK_LOW, VALUE

LOOK_BACK_BARS = 24 * 30  # entries of the model's positions are drawn from at most this many bars
QUEUE_ROWS = 512  # ranks kept of a queue: its lots are cut into this many parts


@dataclass(frozen=True, slots=True)
class _Event:
    bar: int
    side: int
    lots: float
    mark: float
    price: float
    queue: Floats  # (K, 2) score, lots up to and including it


def adl_tables(
    instruments: Sequence[Instrument],
    legs: Any,
    bars: Floats,
    tiers: Floats,
    tier_tables: Any,
    times: tuple[int, int],
    settings: Settings,
) -> tuple[Any, Any]:
    """Events and queues of all perp legs; writes each leg's range into ``legs``. Empty unless ``adl.enabled``.

    ``times``: start of the run and length of a bar, milliseconds. ``SettingsError`` names a contract without open
    interest or fund, and an inverse one, whose population the model can't draw.
    """
    events: list[_Event] = []
    if settings.adl.enabled:
        for leg, instrument in enumerate(instruments):
            legs[leg].adl_light = -1
            if instrument.kind is Kind.SPOT:
                continue
            legs[leg].adl_next = len(events)
            events.extend(_events(instrument, legs[leg], bars[leg], tiers, tier_tables, times, settings))
            legs[leg].adl_end = len(events)
    table = np.zeros(max(1, len(events)), ADL_EVENT).view(np.recarray)
    queues = np.zeros(max(1, sum(event.queue.shape[0] for event in events)), ADL_QUEUE).view(np.recarray)
    first = 0
    for row, event in zip(table, events, strict=False):
        end = first + event.queue.shape[0]
        row.bar, row.side, row.lots, row.mark, row.price = event.bar, event.side, event.lots, event.mark, event.price
        row.queue_first, row.queue_end = first, end
        queues.score[first:end], queues.lots[first:end] = event.queue[:, 0], event.queue[:, 1]
        first = end
    return table, queues


def _given(values: Mapping[str, float], name: str, key: str) -> float:
    if key not in values:
        raise SettingsError(
            f"adl.enabled needs adl.{name} of {key}", remedy=f'add "{key}" under [adl.{name}], in quote units'
        )
    return values[key]


def _events(
    instrument: Instrument,
    leg: Any,
    bars: Floats,
    tiers: Floats,
    tier_tables: Any,
    times: tuple[int, int],
    settings: Settings,
) -> list[_Event]:
    if instrument.kind is Kind.INVERSE:
        raise SettingsError(
            f"adl.enabled: {instrument.key} is an inverse contract, whose counterparties are not modelled",
            remedy="take the pair out, or set adl.enabled = false",
        )
    interest = _given(settings.adl.open_interest, "open_interest", instrument.key)
    rule = fund_rule(instrument.venue)
    fund = _given(settings.adl.insurance_fund, "insurance_fund", instrument.key)
    peak, symbol_peak = RollingPeak(rule.window_ms), RollingPeak(rule.window_ms)
    symbol_pnl = 0.0
    unit = float(leg.units_per_lot)
    found: list[_Event] = []
    value = bars[:, VALUE]
    for bar, side in _moves(bars, settings.adl.min_move):
        closes = value[max(0, bar - LOOK_BACK_BARS) : bar]
        closes = closes[~np.isnan(closes)]
        table = _table_at(leg, tier_tables, times[0] + bar * times[1])
        model = PopulationModel(
            open_interest_lots=max(1, round(interest / closes[-1] / unit)),
            unit=unit,
            tiers=_usage(tiers[:, table.first : table.end], settings.adl.smallest_position),
            mean_age_hours=settings.adl.mean_age_hours,
            liquidity_gap=settings.margin.liquidity_gap,
            seed=(settings.run.seed + bar) % 2**32,
        )
        population = draw_population(model, closes)
        mark = float(bars[bar, MARK_LOW if side > 0 else MARK_HIGH])
        end_ms = times[0] + (bar + 1) * times[1]
        pool = Pool(fund, peak.update(end_ms, fund), symbol_pnl, symbol_peak.update(end_ms, symbol_pnl))
        result = stress(
            population,
            mark,
            fund_balance=fund,
            may_spend=float(spendable(rule, pool)),
            keeps_surplus=rule.keeps_surplus,
        )
        symbol_pnl += result.fund_balance - fund
        fund = result.fund_balance
        found.append(_event(instrument.venue, population, result, bar, side, mark))
    return found


def _moves(bars: Floats, least: float) -> list[tuple[int, int]]:
    """Bars whose mark moved from the close before to an extreme by ``least`` or more, with the side that lost."""
    before = bars[:-1, VALUE]
    fall = 1.0 - bars[1:, MARK_LOW] / before
    rise = bars[1:, MARK_HIGH] / before - 1.0
    moves = [(int(bar) + 1, 1) for bar in np.flatnonzero(fall >= least)]
    moves += [(int(bar) + 1, -1) for bar in np.flatnonzero(rise >= least)]
    return sorted(moves)


def _table_at(leg: Any, tier_tables: Any, time_ms: int) -> Any:
    rows = range(int(leg.table_first), int(leg.table_end))
    valid = [row for row in rows if tier_tables[row].effective_ms <= time_ms]
    return tier_tables[valid[-1] if valid else rows[0]]


def _usage(columns: Floats, smallest: float) -> TierUsage:
    """Tiers from ``smallest`` up, with open interest spread over them by equal shares of the logarithm of size."""
    floor, rate, deduction, cap, leverage = columns
    kept = cap > smallest
    low = np.maximum(floor[kept], smallest)
    high = np.where(np.isinf(cap[kept]), low * 2.0, cap[kept])
    width = np.log(high / low)
    share = width / width.sum()
    share[-1] = 1.0 - share[:-1].sum()
    return TierUsage(
        *(
            tuple(float(number) for number in column)
            for column in (low, high, leverage[kept], rate[kept], deduction[kept], share)
        )
    )


def _event(venue: str, population: Population, result: Stress, bar: int, side: int, mark: float) -> _Event:
    rule = adl_rule(venue)
    unit = population.model.unit
    price = mark
    if result.adl_lots > 0:
        price = close_price(rule, deficit_price(mark, result.adl_deficit, side * result.adl_lots * unit), mark)
    remaining = np.where(result.survives, population.lots, 0)
    quantity = population.lots * unit
    others = Positions(
        account=population.account,
        lots=remaining,
        entry_value=quantity * population.entry_price,
        wallet=population.wallet,
        maintenance=np.maximum(0.0, np.abs(quantity) * mark * population.maintenance_rate - population.deduction),
    )
    score = scores(rule, others, unit, mark)
    queue = np.flatnonzero(remaining * side < 0)
    order = queue[np.argsort(-score[queue], kind="stable")]
    return _Event(bar, side, float(result.adl_lots), mark, price, _ranks(score, remaining, order))


def _ranks(score: Floats, lots: Any, order: Any) -> Floats:
    """Score and running lots of the queue at ``QUEUE_ROWS`` evenly spaced ranks, the last one included."""
    running = np.cumsum(np.abs(lots[order])).astype(np.float64)
    places = np.unique(np.linspace(0, order.size - 1, min(order.size, QUEUE_ROWS)).astype(np.int64))
    return np.column_stack((score[order][places], running[places]))

"""A seeded synthetic market as a venue would publish it: bars, marks, funding and borrow rates.

The model is in docs/specs/sample.md. Nothing here is real data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crypto.errors import DataError
from crypto.market import Bars, Floats, Integers
from crypto.scenario import BURN_IN_MINUTES, DAILY_BORROW_RATE, AssetParameters, ContractParameters, Scenario
from crypto.synthetic_paths import MarketState, Timeline, asset_path, market_state, ornstein_uhlenbeck, stream
from crypto.units import HOUR_MS, MINUTE_MS

INTEREST_PER_8H = 0.0001
INTEREST_CLAMP = 0.0005
MARK_AVERAGE_MINUTES = 30
MAX_STAMP_DELAY_MS = 31
OUTAGE_MINUTES = 180

BORROW_HALF_LIFE_HOURS = 120.0
BORROW_LOG_DEVIATION = 0.25
BORROW_REVISION_HOURS = 4


@dataclass(frozen=True, slots=True)
class AssetMarket:
    """One asset as a venue would publish it. ``spot`` is NaN where the venue was out; stamps are some ms late."""

    parameters: AssetParameters
    spot: Bars
    perp: Bars
    mark: Bars
    settlement_stamp_ms: Integers
    funding_rate: Floats


@dataclass(frozen=True, slots=True)
class SyntheticMarket:
    """A whole generated market. ``borrow``: asset -> fraction per hour, one value per ``borrow_ms``."""

    scenario: Scenario
    timeline: Timeline
    open_ms: Integers
    assets: tuple[AssetMarket, ...]
    borrow_ms: Integers
    borrow: Mapping[str, Floats]


def generate(scenario: Scenario) -> SyntheticMarket:
    """The market of a scenario: same scenario, same values. ``DataError`` when a price ends up at a few ticks."""
    state = market_state(scenario)
    return SyntheticMarket(
        scenario=scenario,
        timeline=state.timeline,
        open_ms=bar_opens(scenario),
        assets=tuple(asset_market(scenario, state, parameters) for parameters in scenario.assets),
        borrow_ms=borrow_times(scenario),
        borrow={asset: borrow_rates(scenario, asset) for asset in borrowed_assets(scenario)},
    )


def asset_market(scenario: Scenario, state: MarketState, parameters: AssetParameters) -> AssetMarket:
    """One asset of the market: bars of spot, perp and mark, and its funding settlements."""
    path = asset_path(scenario, state, parameters)
    spot, perp = parameters.spot, parameters.perp
    index = path.index * perp.multiplier
    marks = index * (1.0 + trailing_mean(path.premium, MARK_AVERAGE_MINUTES))
    spot_bars = bars(path.index, path.spot_volume, scenario.bar_minutes, spot)
    perp_bars = bars(index * (1.0 + path.premium), path.perp_volume, scenario.bar_minutes, perp)
    check_price_resolution(spot, spot_bars, scenario.seed)
    check_price_resolution(perp, perp_bars, scenario.seed)
    stamps, rates = settlements(scenario, path.premium, parameters)
    return AssetMarket(
        parameters=parameters,
        spot=without_outage(spot_bars, scenario, state.timeline),
        perp=perp_bars,
        mark=bars(marks, np.zeros_like(path.perp_volume), scenario.bar_minutes, perp),
        settlement_stamp_ms=stamps,
        funding_rate=rates,
    )


def check_price_resolution(contract: ContractParameters, prices: Bars, seed: int) -> None:
    """``DataError`` when a price fell so far that a tick is more than a tenth of it: such a market says nothing."""
    lowest = float(np.min(prices.low))
    if lowest < 10.0 * 10.0**-contract.decimals:
        raise DataError(
            f"{contract.symbol}: with seed {seed} the simulated price falls to {lowest:.{contract.decimals}f},"
            " less than ten ticks",
            remedy="choose another seed or fewer days",
        )


def bars(points: Floats, volume: Floats, bar_minutes: int, contract: ContractParameters) -> Bars:
    """Bars of the market after the burn-in from minute points (n + 1) and step volumes (n).

    A bar spans its first and last point, so it opens where the one before closed. Volumes of a traded series are at
    least one unit of their last digit; a series without volume (a mark) keeps zero.
    """
    prices = np.round(points[BURN_IN_MINUTES:], contract.decimals)
    inside = prices[:-1].reshape(-1, bar_minutes)
    close = prices[bar_minutes::bar_minutes]
    sums = volume[BURN_IN_MINUTES:].reshape(-1, bar_minutes).sum(axis=1)
    digits = contract.volume_decimals
    return Bars(
        open=inside[:, 0].copy(),
        high=np.maximum(inside.max(axis=1), close),
        low=np.minimum(inside.min(axis=1), close),
        close=close.copy(),
        volume=np.where(sums > 0.0, np.maximum(np.round(sums, digits), 10.0**-digits), 0.0),
    )


def without_outage(spot: Bars, scenario: Scenario, events: Timeline) -> Bars:
    """The same bars with NaN in the bars of the outage."""
    minute = np.arange(spot.open.size) * scenario.bar_minutes
    out = (minute >= events.outage_minute) & (minute < events.outage_minute + OUTAGE_MINUTES)
    columns = (np.where(out, np.nan, column) for column in (spot.open, spot.high, spot.low, spot.close, spot.volume))
    return Bars(*columns)


def trailing_mean(values: Floats, window: int) -> Floats:
    """Mean of the last ``window`` values up to and with each one; of fewer at the beginning."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    end = np.arange(1, values.size + 1)
    begin = np.maximum(end - window, 0)
    return np.asarray((sums[end] - sums[begin]) / (end - begin))


def funding_rate(premiums: Floats, interval_hours: int, cap: float) -> Floats:
    """Funding rate per interval of one row of premium samples each, by Binance's rule; rounded to 8 decimals.

    Samples are averaged with weights 1, 2, ..., n. ``F8 = P + clamp(I - P, -0.05 %, 0.05 %)`` is per 8 hours; the rate
    of an N-hour contract is ``F8 / (8 / N)``, held within ``-cap .. cap`` (fraction per interval). Longs pay when
    positive.
    """
    weights = np.arange(1.0, premiums.shape[1] + 1.0)
    average = premiums @ weights / weights.sum()
    per_8h = average + np.clip(INTEREST_PER_8H - average, -INTEREST_CLAMP, INTEREST_CLAMP)
    return np.asarray(np.round(np.clip(per_8h * interval_hours / 8.0, -cap, cap), 8))


def settlements(scenario: Scenario, premium: Floats, parameters: AssetParameters) -> tuple[Integers, Floats]:
    """Stamps (0 to 31 ms late) and rates of all settlements from the start of the market to before its end."""
    interval = parameters.settlement_hours * 60
    count = scenario.minutes // interval
    first = BURN_IN_MINUTES - interval + 1  # a settlement averages the points after the one before, up to its own
    samples = premium[first : first + count * interval].reshape(count, interval)
    rates = funding_rate(samples, parameters.settlement_hours, parameters.funding_cap)
    instants = scenario.start_ms + np.arange(count, dtype=np.int64) * (interval * MINUTE_MS)
    delay = stream(scenario.seed, f"{parameters.base}/stamps").integers(0, MAX_STAMP_DELAY_MS + 1, count)
    return instants + delay, rates


def bar_opens(scenario: Scenario) -> Integers:
    """Open instants of all bars, UTC milliseconds."""
    count = scenario.minutes // scenario.bar_minutes
    return scenario.start_ms + np.arange(count, dtype=np.int64) * (scenario.bar_minutes * MINUTE_MS)


def borrow_times(scenario: Scenario) -> Integers:
    """Hour marks of the borrow series, UTC milliseconds."""
    return scenario.start_ms + np.arange(scenario.days * 24, dtype=np.int64) * HOUR_MS


def borrowed_assets(scenario: Scenario) -> tuple[str, ...]:
    """Assets that have a borrow series: the bases of the scenario, and USDT."""
    return (*(parameters.base for parameters in scenario.assets), "USDT")


def borrow_rates(scenario: Scenario, asset: str) -> Floats:
    """Fraction per hour at each hour mark; the venue revises it every four hours. ``KeyError`` for an unknown asset."""
    random = stream(scenario.seed, f"{asset}/borrow")
    revisions = scenario.days * 24 // BORROW_REVISION_HOURS
    half_life = BORROW_HALF_LIFE_HOURS / BORROW_REVISION_HOURS
    log_rate = ornstein_uhlenbeck(random.standard_normal(revisions), half_life, BORROW_LOG_DEVIATION)
    daily = DAILY_BORROW_RATE[asset] * np.exp(log_rate - BORROW_LOG_DEVIATION**2 / 2.0)
    return np.repeat(np.round(daily / 24.0, 10), BORROW_REVISION_HOURS)

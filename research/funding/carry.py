"""What funding is worth after costs: net carry, time to break even, a screener, and whether its ranking lasts.

Everything is for long spot and short perp, which receives funding when the rate is positive. Basis moves, borrow and
margin are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from crypto import funding_statistics as statistics
from crypto.errors import UsageError
from crypto.fees import round_trip_cost
from crypto.instruments import Kind
from crypto.units import HOUR_MS
from crypto.venues.registry import VENUES
from crypto.worked.contracts import DEFAULT_FEE_TIER
from data.contract_terms import contract_terms
from research.funding.forecasts import strategy_forecast
from research.funding.history import FundingHistories, FundingHistory, require_positive
from research.funding.tables import (
    A_YEAR,
    BPS,
    HOURS_OF_A_DAY,
    PERCENT,
    identity,
    intervals_text,
    persistence_of,
    utc,
    weighted_deviation,
)

_MIN_COVERAGE = 0.95
_TIE_DIGITS = 9  # of percent a year: 84 x 0.005 % and 42 x 0.01 % are equal, whatever the rounding of their sums


@dataclass(frozen=True, slots=True)
class Costs:
    """Cost of entering and leaving both legs.

    ``round_trip_bps`` of notional when given; else taker fees of the venue's ``tier`` on both legs and ``slippage_bps``
    per fill, four fills in all. ``holding_hours``: how long the position is meant to be held, one hour at least.
    """

    holding_hours: float = 720.0
    slippage_bps: float = 0.5
    tier: str = DEFAULT_FEE_TIER
    round_trip_bps: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("holding_hours", 1.0), ("slippage_bps", 0.0), ("round_trip_bps", 0.0)):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value >= least):
                raise UsageError(f"{name} = {value} is out of range", remedy=f"give {name} from {least:g} on")

    @property
    def whole_hours(self) -> int:
        """The holding period in whole hours, on which every figure is made: funding is known by the hour."""
        return round(self.holding_hours)

    def of(self, venue: str, kind: str) -> float:
        """Fraction of one leg's notional; NaN for a venue whose fees are not shipped.

        ``UsageError`` for a fee tier that the venue does not have.
        """
        if self.round_trip_bps is not None:
            return self.round_trip_bps / BPS
        if venue not in VENUES:
            return float("nan")
        fees = VENUES[venue].fees
        for table in (fees[Kind.SPOT], fees[Kind(kind)]):
            if self.tier not in table.tiers:
                raise UsageError(
                    f"fee tier {self.tier!r}: {venue} has none of that name for {table.kind} contracts",
                    remedy=f"use one of {', '.join(table.tiers)}; look at one venue (--venue); or state the round trip"
                    " in bps (--cost-bps)",
                )
        spot, perp = fees[Kind.SPOT].rates(self.tier), fees[Kind(kind)].rates(self.tier)
        slippage = self.slippage_bps / BPS
        return round_trip_cost(spot.taker, perp.taker, slippage, slippage)


def net_carry(histories: FundingHistories, costs: Costs | None = None) -> pd.DataFrame:
    """Net carry at each contract's mean rate, and what holding from every past settlement would have left.

    ``holds``: settlements after which the whole holding period is known; they overlap, so there are only about
    ``holds_apart`` independent ones. ``net`` is funding received less the round trip, of the notional at entry.
    """
    given = costs or Costs()
    return pd.DataFrame([_net_of(contract, given) for contract in histories.contracts])


def _net_of(contract: FundingHistory, costs: Costs) -> dict[str, Any]:
    cost = costs.of(contract.key.venue, contract.key.kind)
    known = np.isfinite(contract.rate)
    hours = float(contract.interval_hours[known].sum())
    per_hour = float(contract.rate[known].sum()) / hours if hours else np.nan
    holding = costs.whole_hours
    first, hourly = statistics.hourly_accrual(contract.time_ms, contract.rate, contract.interval_hours)
    received = statistics.ahead_mean(contract.time_ms, first, hourly, holding) * holding
    net = received[np.isfinite(received)] - cost
    low, median, high = np.quantile(net, (0.05, 0.5, 0.95)) if len(net) else (np.nan, np.nan, np.nan)
    return identity(contract) | {
        "round_trip_bps": cost * BPS,
        "mean_percent_a_year": per_hour * A_YEAR,
        "break_even_days": statistics.hours_to_pay(cost, per_hour) / HOURS_OF_A_DAY,
        "holding_days": holding / HOURS_OF_A_DAY,
        "net_percent_a_year": (per_hour * holding - cost) / holding * A_YEAR,
        "holds": len(net),
        "holds_apart": hours / holding,
        "profitable_holds_percent": float((net > 0).mean()) * PERCENT if len(net) and np.isfinite(cost) else np.nan,
        "hold_net_p05_bps": float(low) * BPS,
        "hold_net_median_bps": float(median) * BPS,
        "hold_net_p95_bps": float(high) * BPS,
    }


def screen(
    histories: FundingHistories,
    costs: Costs | None = None,
    *,
    lookback_days: float = 30.0,
    half_life_hours: float = 72.0,
    largest_gap_days: float = 2.0,
) -> pd.DataFrame:
    """One row per contract, best net carry first, over the ``lookback_days`` before the last settlement of all.

    ``forecast``: the strategy's weighted mean now; NaN where the contract's data ended. ``net``: mean over the lookback
    for the holding period, less the round trip, per year. ``ended``: the contract's last settlement (``to_utc``) lies
    more than ``largest_gap_days`` before that of the others: it was delisted, or its data are not up to date.
    ``spot_leg``: the shipped spot instrument on the same venue, in the perp's quote where there is one.
    """
    require_positive(half_life_hours=half_life_hours, largest_gap_days=largest_gap_days)
    if not lookback_days > 0:
        raise UsageError(f"lookback_days = {lookback_days} is not above 0", remedy="give days; inf is all history")
    given = costs or Costs()
    end_ms = histories.end_ms
    rows = [
        _screen_row(contract, given, end_ms, lookback_days, half_life_hours, largest_gap_days)
        for contract in histories.contracts
    ]
    frame = pd.DataFrame(rows)
    frame["rank"] = -frame["net_percent_a_year"].round(_TIE_DIGITS)
    return frame.sort_values(["rank", "venue", "kind", "symbol"], ignore_index=True).drop(columns="rank")


def _screen_row(
    contract: FundingHistory, costs: Costs, end_ms: int, lookback: float, half_life: float, gap_days: float
) -> dict[str, Any]:
    recent = contract.last(lookback, end_ms)
    known = np.isfinite(recent.rate)
    hours = float(recent.interval_hours[known].sum())
    per_hour = float(recent.rate[known].sum()) / hours if hours else np.nan
    cost = costs.of(contract.key.venue, contract.key.kind)
    runs = statistics.sign_runs(recent.rate, recent.interval_hours)
    lives = persistence_of(contract)
    main = max(lives.values(), key=lambda found: found.phi.observations, default=None)
    positive = float(recent.interval_hours[known & (recent.rate > 0)].sum())
    ended = bool(end_ms - contract.time_ms[-1] > gap_days * HOURS_OF_A_DAY * HOUR_MS)
    forecast = np.nan if ended else float(strategy_forecast(contract, half_life)[-1])
    return identity(contract) | {
        "base": contract.base,
        "net_percent_a_year": (per_hour * costs.whole_hours - cost) / costs.whole_hours * A_YEAR,
        "mean_percent_a_year": per_hour * A_YEAR,
        "forecast_percent_a_year": forecast * A_YEAR,
        "break_even_days": statistics.hours_to_pay(cost, per_hour) / HOURS_OF_A_DAY,
        "deviation_percent_a_year": weighted_deviation(recent.annual * PERCENT, recent.interval_hours),
        "positive_share_percent_of_hours": positive / hours * PERCENT if hours else np.nan,
        "half_life_hours": main.half_life_hours.value if main is not None else np.nan,
        "flips": max(0, len(runs.sign) - 1),
        "at_limit": sum(limit.hits for limit in contract.limits),
        "intervals_hours": intervals_text(contract),
        "days_covered": hours / HOURS_OF_A_DAY,
        "round_trip_bps": cost * BPS,
        "spot_leg": spot_leg(contract),
        "ended": ended,
        "to_utc": utc(contract.time_ms[-1:])[0],
    }


def spot_leg(contract: FundingHistory) -> str:
    """Key of the shipped spot instrument on the contract's venue and base asset; empty when there is none.

    One in the contract's own quote comes first: against another quote the pair holds that quote's risk as well.
    """
    key = contract.key
    if key.venue not in VENUES:
        return ""
    terms = contract_terms(key.venue, key.kind, key.symbol)
    quote = "" if terms is None else terms.quote
    instruments = VENUES[key.venue].instruments.values()
    legs = [item for item in instruments if item.kind is Kind.SPOT and item.base == contract.base]
    return min(((item.quote != quote, item.key) for item in legs), default=(True, ""))[1]


def survivorship(histories: FundingHistories, screened: pd.DataFrame) -> str:
    """What a reader of a screen must know about the contracts that are not in it."""
    ended = int(screened["ended"].sum())
    count = len(histories.contracts)
    if count == 1:
        return (
            "A single contract, chosen with hindsight: others like it may have been delisted and are not in the data."
        )
    if ended == 0:
        return (
            f"Survivors only: all {count} contracts settle up to the end of the data, so those delisted before are "
            "missing. Averages over this list are too good, and the more so the longer the history."
        )
    whole = screened.groupby("venue", sort=False)["ended"].all()
    late = [
        f"Of {venue} all end by {screened.loc[screened['venue'] == venue, 'to_utc'].max():%Y-%m-%d}, so it is rather "
        "that its data are not up to date. "
        for venue in whole.index[whole]
    ]
    return (
        f"{ended} of {count} contracts end before the others (delisted, or not brought up to date) and stay in the "
        f"tables, marked ended. {''.join(late)}Contracts that were delisted before the data were collected are missing "
        "all the same: averages over this list may be too good."
    )


@dataclass(frozen=True, slots=True)
class RankingTest:
    """Whether a ranking by past funding says anything about the funding that follows.

    The two periods of ``days`` each lie one after the other at the end of the data; ``contracts`` cover both whole.
    ``rank_correlation`` is Spearman's. The rest are means in percent a year: of the tenth (at least one) ranked highest
    in the first period, there and in the second, and of all contracts in the second.
    """

    days: float
    contracts: int
    rank_correlation: float
    top_count: int
    top_first_percent_a_year: float
    top_second_percent_a_year: float
    all_second_percent_a_year: float


def ranking_test(histories: FundingHistories, days: float = 14.0) -> RankingTest:
    """Rank by mean funding of one period, look at the next: what a screen by past funding would have earned."""
    require_positive(days=days)
    end_ms = histories.end_ms
    split_ms = end_ms - round(days * HOURS_OF_A_DAY * HOUR_MS)
    first, second = [], []
    for contract in histories.contracts:
        halves = [contract.last(days, split_ms), contract.last(days, end_ms)]
        covered = [float(half.interval_hours[np.isfinite(half.rate)].sum()) for half in halves]
        if min(covered) >= _MIN_COVERAGE * days * HOURS_OF_A_DAY:
            earned = [float(np.nansum(half.rate)) / hours * A_YEAR for half, hours in zip(halves, covered, strict=True)]
            first.append(earned[0])
            second.append(earned[1])
    before, after = np.round(first, _TIE_DIGITS), np.round(second, _TIE_DIGITS)
    top = np.argsort(-before, kind="stable")[: max(1, len(before) // 10)]
    has_any = len(before) > 0
    return RankingTest(
        days,
        len(before),
        statistics.rank_correlation(before, after),
        len(top) if has_any else 0,
        float(before[top].mean()) if has_any else float("nan"),
        float(after[top].mean()) if has_any else float("nan"),
        float(after.mean()) if has_any else float("nan"),
    )

"""Tables about funding histories, as pandas frames. Units stand in the column names; ``percent_a_year`` is simple.

Docs: docs/specs/funding_research.md, which names the formula and the interval's method of every column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from crypto import funding_statistics as statistics
from crypto.errors import UsageError
from crypto.funding import sums_by_year
from crypto.market import Floats, Integers
from crypto.units import DAY_MS, HOUR_MS, HOURS_PER_YEAR
from research.funding.history import FundingHistories, FundingHistory, require_positive

PERCENT = 100.0
BPS = 1e4
A_YEAR = HOURS_PER_YEAR * PERCENT  # percent a year of a fraction per hour
HOURS_OF_A_DAY = 24
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LAGS_HOURS = (8, 16, 24, 48, 72, 120, 168, 336, 720)
_THURSDAY = 3  # 1970-01-01


def identity(contract: FundingHistory) -> dict[str, Any]:
    """The columns that name a contract."""
    return {"venue": contract.key.venue, "kind": contract.key.kind, "symbol": contract.key.symbol}


def rates(histories: FundingHistories) -> pd.DataFrame:
    """Every settlement of every contract, one row each."""
    frames = [
        pd.DataFrame(
            identity(contract)
            | {
                "settled_utc": utc(contract.time_ms),
                "interval_hours": contract.interval_hours,
                "rate_percent": contract.rate * PERCENT,
                "rate_percent_a_year": contract.annual * PERCENT,
            }
        )
        for contract in histories.contracts
    ]
    return pd.concat(frames, ignore_index=True)


def summary(histories: FundingHistories) -> pd.DataFrame:
    """Distribution of each contract's rates over its whole history, weighted by the hours each rate covers."""
    return pd.DataFrame([_summary_of(contract) for contract in histories.contracts])


def _summary_of(contract: FundingHistory) -> dict[str, Any]:
    weights, annual = contract.interval_hours, contract.annual * PERCENT
    low, median, high = statistics.weighted_quantiles(annual, weights, (0.05, 0.5, 0.95))
    mean = mean_annual(contract)
    known = np.isfinite(annual)
    positive = float(weights[known & (annual > 0)].sum() / weights[known].sum()) if known.any() else np.nan
    return identity(contract) | {
        "settlements": len(contract.rate),
        "missing": contract.missing,
        "from_utc": utc(contract.time_ms[:1])[0],
        "to_utc": utc(contract.time_ms[-1:])[0],
        "intervals_hours": intervals_text(contract),
        "mean_percent_a_year": mean.value,
        "mean_low95_percent_a_year": mean.low,
        "mean_high95_percent_a_year": mean.high,
        "deviation_percent_a_year": weighted_deviation(annual, weights),
        "p05_percent_a_year": low,
        "median_percent_a_year": median,
        "p95_percent_a_year": high,
        "lowest_rate_percent": float(np.nanmin(contract.rate)) * PERCENT,
        "highest_rate_percent": float(np.nanmax(contract.rate)) * PERCENT,
        "positive_share_percent_of_hours": positive * PERCENT,
    }


def mean_annual(contract: FundingHistory) -> statistics.Estimate:
    """Mean rate in percent a year: all rates over all their hours. Interval: Newey-West on complete UTC days."""
    known = np.isfinite(contract.rate)
    hours = float(contract.interval_hours[known].sum())
    value = float(contract.rate[known].sum()) / hours * A_YEAR if hours else np.nan
    _, days = daily(contract)
    around = statistics.mean_estimate(days / HOURS_OF_A_DAY * A_YEAR)
    half = (around.high - around.low) / 2.0
    return statistics.Estimate(value, value - half, value + half, int(known.sum()))


def daily(contract: FundingHistory) -> tuple[Integers, Floats]:
    """Funding of every complete UTC day: end of the day (ms) and sum of what accrued in it, a fraction."""
    first, hourly = statistics.hourly_accrual(contract.time_ms, contract.rate, contract.interval_hours)
    return statistics.window_sums(first, hourly, HOURS_OF_A_DAY)


def by_year(histories: FundingHistories) -> pd.DataFrame:
    """Sum of all settlements of each UTC year, per cent of notional, and what it comes to per 365 days."""
    rows = []
    for contract in histories.contracts:
        years = contract.time_ms.astype("datetime64[ms]").astype("datetime64[Y]").astype(np.int64) + 1970
        for year, total in sums_by_year(contract.time_ms, contract.rate).items():
            inside = (years == year) & np.isfinite(contract.rate)
            hours = float(contract.interval_hours[inside].sum())
            rows.append(
                identity(contract)
                | {
                    "year": year,
                    "settlements": int(inside.sum()),
                    "days": hours / HOURS_OF_A_DAY,
                    "funding_percent": total * PERCENT,
                    "funding_percent_a_year": total / hours * A_YEAR if hours else np.nan,
                }
            )
    return pd.DataFrame(rows)


def by_hour(histories: FundingHistories) -> pd.DataFrame:
    """Mean rate by UTC hour of settlement. Interval: Newey-West over that hour's settlements in order of time."""
    rows = []
    for contract in histories.contracts:
        hours = contract.time_ms // HOUR_MS % HOURS_OF_A_DAY
        for hour in np.unique(hours):
            chosen = hours == hour
            found = statistics.mean_estimate(contract.annual[chosen] * PERCENT)
            rows.append(identity(contract) | {"hour_utc": int(hour)} | _mean_columns(found))
    return pd.DataFrame(rows)


def by_weekday(histories: FundingHistories) -> pd.DataFrame:
    """Mean of complete UTC days by weekday. Interval: Newey-West over that weekday's days in order of time."""
    rows = []
    for contract in histories.contracts:
        ends, sums = daily(contract)
        weekdays = (ends // DAY_MS - 1 + _THURSDAY) % 7
        for index, name in enumerate(WEEKDAYS):
            found = statistics.mean_estimate(sums[weekdays == index] / HOURS_OF_A_DAY * A_YEAR)
            rows.append(identity(contract) | {"weekday": name} | _mean_columns(found))
    return pd.DataFrame(rows)


def hour_by_weekday(contract: FundingHistory) -> Floats:
    """Mean rate in percent a year of the hours that settlements pay for: weekday (rows, Monday first) and UTC hour.

    The rate of a settlement counts for every hour of its interval, so contracts of 1 and of 8 hours fill the same grid.
    """
    first, hourly = statistics.hourly_accrual(contract.time_ms, contract.rate, contract.interval_hours)
    hours = first // HOUR_MS + np.arange(len(hourly))
    known = np.isfinite(hourly)
    place = ((hours // HOURS_OF_A_DAY + _THURSDAY) % 7 * HOURS_OF_A_DAY + hours % HOURS_OF_A_DAY)[known]
    counts = np.bincount(place, minlength=168).astype(np.float64)
    sums = np.bincount(place, weights=hourly[known] * A_YEAR, minlength=168)
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan).reshape(7, HOURS_OF_A_DAY)


def _mean_columns(found: statistics.Estimate) -> dict[str, Any]:
    return {
        "observations": found.observations,
        "mean_percent_a_year": found.value,
        "mean_low95_percent_a_year": found.low,
        "mean_high95_percent_a_year": found.high,
    }


def persistence(histories: FundingHistories) -> pd.DataFrame:
    """First-order autoregression and half-life, per contract and interval: rates of 4 and 8 hours are never mixed."""
    rows = []
    for contract in histories.contracts:
        for hours, found in persistence_of(contract).items():
            rows.append(
                identity(contract)
                | {
                    "interval_hours": hours,
                    "pairs": found.phi.observations,
                    "phi": found.phi.value,
                    "phi_low95": found.phi.low,
                    "phi_high95": found.phi.high,
                    "half_life_hours": found.half_life_hours.value,
                    "half_life_low95_hours": found.half_life_hours.low,
                    "half_life_high95_hours": found.half_life_hours.high,
                }
            )
    return pd.DataFrame(rows, columns=_PERSISTENCE)


_PERSISTENCE = (
    *("venue", "kind", "symbol", "interval_hours", "pairs", "phi", "phi_low95", "phi_high95"),
    *("half_life_hours", "half_life_low95_hours", "half_life_high95_hours"),
)


def persistence_of(contract: FundingHistory) -> dict[float, statistics.Autoregression]:
    """Autoregressions by interval in hours."""
    per_hour = contract.rate_per_hour
    pairs = statistics.equal_spacing_pairs(contract.time_ms, contract.interval_hours)
    return {
        hours: statistics.autoregression(per_hour[rows], per_hour[rows + 1], hours) for hours, rows in pairs.items()
    }


def autocorrelations(histories: FundingHistories, lags_hours: Sequence[int] = LAGS_HOURS) -> pd.DataFrame:
    """Correlation of rates exactly a lag apart, with the band in which it would lie 95 % of the time without any."""
    for lag in lags_hours:
        require_positive(lag_hours=lag)
    rows = []
    for contract in histories.contracts:
        for lag in lags_hours:
            value, pairs = statistics.autocorrelation(contract.time_ms, contract.rate_per_hour, lag)
            band = statistics.Z_95 / np.sqrt(pairs) if pairs else np.nan
            rows.append(
                identity(contract)
                | {"lag_hours": lag, "pairs": pairs, "autocorrelation": value, "no_correlation_band95": band}
            )
    return pd.DataFrame(rows)


def sign_flips(histories: FundingHistories) -> pd.DataFrame:
    """Runs of one sign. Means and medians are over complete runs; the first and last run are cut by the data."""
    return pd.DataFrame([_flips_of(contract) for contract in histories.contracts])


def _flips_of(contract: FundingHistory) -> dict[str, Any]:
    runs = statistics.sign_runs(contract.rate, contract.interval_hours)
    row = identity(contract) | {
        "flips": max(0, len(runs.sign) - 1),
        "flips_a_year": max(0, len(runs.sign) - 1) / contract.hours * HOURS_PER_YEAR,
    }
    for name, sign in (("positive", 1), ("negative", -1)):
        mine = runs.sign == sign
        whole = runs.hours[mine & ~runs.is_cut]
        row |= {
            f"complete_{name}_runs": len(whole),
            f"mean_{name}_run_hours": float(whole.mean()) if len(whole) else np.nan,
            f"median_{name}_run_hours": float(np.median(whole)) if len(whole) else np.nan,
            f"longest_{name}_run_hours": float(runs.hours[mine].max()) if mine.any() else 0.0,
        }
    return row | {
        "current_sign": int(runs.sign[-1]) if len(runs.sign) else 0,
        "current_run_hours_so_far": float(runs.hours[-1]) if len(runs.sign) else 0.0,
    }


def caps(histories: FundingHistories) -> pd.DataFrame:
    """Rates that look like the venue's limit (reached twice, or a round figure of 10 bps and more), and how often."""
    rows = [
        identity(contract)
        | {
            "limit_percent": limit.funding_rate * PERCENT,
            "hits": limit.hits,
            "share_percent_of_settlements": limit.hits / len(contract.rate) * PERCENT,
            "first_utc": utc(np.array([limit.first_ms]))[0],
        }
        for contract in histories.contracts
        for limit in contract.limits
    ]
    columns = ("venue", "kind", "symbol", "limit_percent", "hits", "share_percent_of_settlements", "first_utc")
    return pd.DataFrame(rows, columns=columns)


def intervals_text(contract: FundingHistory) -> str:
    """Intervals in the order in which they held: ``8``, ``8>4``; from five on the ones held longest ago are cut."""
    texts = [f"{segment.interval_hours:g}" for segment in contract.segments]
    return ">".join(texts) if len(texts) <= 4 else f"...>{'>'.join(texts[-3:])}"


def base_pairs(histories: FundingHistories) -> Iterator[tuple[FundingHistory, FundingHistory]]:
    """Every two contracts on the same base asset at different venues."""
    contracts = sorted(histories.contracts, key=lambda contract: contract.key)
    for index, left in enumerate(contracts):
        for right in contracts[index + 1 :]:
            if left.base == right.base and left.key.venue != right.key.venue:
                yield left, right


def common_windows(left: FundingHistory, right: FundingHistory, window_hours: int) -> tuple[Integers, Floats, Floats]:
    """Funding of both in the same windows: ends (ms) and sums (fractions); only windows that both cover whole."""
    ends, sums = [], []
    for contract in (left, right):
        first, hourly = statistics.hourly_accrual(contract.time_ms, contract.rate, contract.interval_hours)
        times, totals = statistics.window_sums(first, hourly, window_hours)
        ends.append(times)
        sums.append(totals)
    common, in_left, in_right = np.intersect1d(ends[0], ends[1], assume_unique=True, return_indices=True)
    return common, sums[0][in_left], sums[1][in_right]


def spreads(histories: FundingHistories, window_hours: int = 8) -> pd.DataFrame:
    """Funding of one venue less that of another on a common clock of ``window_hours``, and how they move together.

    ``UsageError`` for a window that is not a whole number of hours from 1 on.
    """
    if window_hours < 1 or window_hours != int(window_hours):
        raise UsageError(f"window_hours = {window_hours} is no window", remedy="give whole hours from 1 on")
    rows = []
    for left, right in base_pairs(histories):
        ends, of_left, of_right = common_windows(left, right, window_hours)
        if len(ends) < 2:
            continue
        spread = of_left - of_right
        mean = statistics.mean_estimate(spread * BPS)
        together = statistics.correlation(of_left, of_right)
        low, high = np.quantile(spread * BPS, (0.05, 0.95))
        rows.append(
            {
                "base": left.base,
                "left": left.name,
                "right": right.name,
                "window_hours": window_hours,
                "windows": len(ends),
                "from_utc": utc(ends[:1])[0],
                "to_utc": utc(ends[-1:])[0],
                "mean_spread_bps": mean.value,
                "mean_spread_low95_bps": mean.low,
                "mean_spread_high95_bps": mean.high,
                "spread_deviation_bps": float(np.std(spread, ddof=1)) * BPS,
                "spread_p05_bps": float(low),
                "spread_p95_bps": float(high),
                "mean_spread_percent_a_year": mean.value / BPS / window_hours * A_YEAR,
                "correlation": together.value,
                "correlation_low95": together.low,
                "correlation_high95": together.high,
            }
        )
    return pd.DataFrame(rows, columns=_SPREADS)


_SPREADS = (
    *("base", "left", "right", "window_hours", "windows", "from_utc", "to_utc", "mean_spread_bps"),
    *("mean_spread_low95_bps", "mean_spread_high95_bps", "spread_deviation_bps", "spread_p05_bps", "spread_p95_bps"),
    *("mean_spread_percent_a_year", "correlation", "correlation_low95", "correlation_high95"),
)


def weighted_deviation(values: Floats, weights: Floats) -> float:
    """Standard deviation of the known values by weight; NaN with fewer than two."""
    known = np.isfinite(values)
    if known.sum() < 2:
        return float("nan")
    mean = np.average(values[known], weights=weights[known])
    return float(np.sqrt(np.average((values[known] - mean) ** 2, weights=weights[known])))


def utc(times_ms: Integers) -> pd.DatetimeIndex:
    """Instants as pandas has them."""
    return pd.to_datetime(times_ms, unit="ms", utc=True)


def columns_of(frame: pd.DataFrame) -> Mapping[str, Any]:
    """Columns as plain lists for JSON; instants as ISO text."""
    plain = {}
    for name, values in frame.items():
        if pd.api.types.is_datetime64_any_dtype(values):
            plain[str(name)] = [None if pd.isna(value) else f"{value:%Y-%m-%dT%H:%M:%SZ}" for value in values]
        else:
            plain[str(name)] = values.tolist()
    return plain

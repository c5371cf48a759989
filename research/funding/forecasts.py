"""How well funding can be forecast: the strategy's forecast and its alternatives against what was then paid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from crypto import funding_statistics as statistics
from crypto.errors import DataError
from crypto.market import Floats, Integers
from crypto.pipeline.features import observe_settlement
from crypto.units import HOUR_MS, iso
from research.funding.history import FundingHistories, FundingHistory, require_positive
from research.funding.tables import A_YEAR, BPS, identity

HALF_LIVES_HOURS = (24.0, 72.0, 168.0)
HORIZONS_HOURS = (24, 168, 720)
NEXT = "next settlement"


def strategy_forecast(contract: FundingHistory, half_life_hours: float) -> Floats:
    """The strategy's forecast after each settlement, fraction per hour: the same code as in its features.

    NaN before the first known rate. ``UsageError`` for a half-life that is not positive.
    """
    require_positive(half_life_hours=half_life_hours)
    weights = statistics.forecast_weights(contract.interval_hours, half_life_hours).tolist()
    row = SimpleNamespace(funding_per_hour=float("nan"), funding_seen=0)
    found = np.empty(len(contract.rate))
    rows = zip(contract.rate.tolist(), contract.interval_hours.tolist(), weights, strict=True)
    for index, (rate, hours, weight) in enumerate(rows):
        if not math.isnan(rate):  # a settlement without a rate is left out, as in the features
            observe_settlement(row, rate, hours, weight)
        found[index] = row.funding_per_hour
    return found


def forecasts(contract: FundingHistory, half_lives_hours: Sequence[float] = HALF_LIVES_HOURS) -> dict[str, Floats]:
    """Forecasts known after each settlement, fraction per hour, by name of the method."""
    known = np.isfinite(contract.rate)
    hours = np.cumsum(np.where(known, contract.interval_hours, 0.0))
    paid = np.cumsum(np.nan_to_num(contract.rate))
    last = np.maximum.accumulate(np.where(known, np.arange(len(known)), 0))
    made = {
        "zero": np.zeros(len(known)),
        "last rate": contract.rate_per_hour[last],
        "mean to date": np.divide(paid, hours, out=np.full(len(known), np.nan), where=hours > 0),
    }
    for half_life in half_lives_hours:
        made[f"weighted mean, half-life {half_life:g} h"] = strategy_forecast(contract, half_life)
    return made


def forecast_errors(
    histories: FundingHistories,
    half_lives_hours: Sequence[float] = HALF_LIVES_HOURS,
    horizons_hours: Sequence[int] = HORIZONS_HOURS,
) -> pd.DataFrame:
    """Errors of each method for the next settlement and for the mean rate over each horizon after a settlement.

    All methods of a contract and horizon are compared on the same settlements. Error = forecast less what came.
    ``mae_less_than_last_rate``: mean absolute error of the last rate less that of the method (positive: the method is
    better); interval by Newey-West with as many lags as forecasts overlap (Diebold and Mariano 1995).
    """
    for hours in horizons_hours:
        require_positive(horizon_hours=hours)
    rows: list[dict[str, Any]] = []
    for contract in histories.contracts:
        made = forecasts(contract, half_lives_hours)
        for horizon, (target, overlap) in _targets(contract, horizons_hours).items():
            rows += [identity(contract) | {"horizon": horizon} | row for row in _errors(made, target, overlap)]
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = (
    *("venue", "kind", "symbol", "horizon", "method", "forecasts", "mean_error_percent_a_year", "mae_percent_a_year"),
    *("rmse_percent_a_year", "sign_hits_percent", "mae_less_than_last_rate_percent_a_year"),
    *("mae_less_low95_percent_a_year", "mae_less_high95_percent_a_year"),
)


def _targets(contract: FundingHistory, horizons_hours: Sequence[int]) -> dict[str, tuple[Floats, int]]:
    """What was then paid per hour, by horizon, and how many forecasts overlap in it."""
    spacing = np.diff(contract.time_ms) / HOUR_MS
    is_next = spacing == contract.interval_hours[1:]  # else a settlement between the two rows is missing
    following = np.append(np.where(is_next, contract.rate_per_hour[1:], np.nan), np.nan)
    first, hourly = statistics.hourly_accrual(contract.time_ms, contract.rate, contract.interval_hours)
    usual = float(np.median(contract.interval_hours))
    targets = {NEXT: (following, 0)}
    for horizon in horizons_hours:
        ahead = statistics.ahead_mean(contract.time_ms, first, hourly, horizon)
        targets[f"{horizon} h"] = (ahead, round(horizon / usual))
    return targets


def _errors(made: Mapping[str, Floats], target: Floats, overlap: int) -> list[dict[str, Any]]:
    known = np.isfinite(target) & np.logical_and.reduce([np.isfinite(values) for values in made.values()])
    if not known.any():
        return []
    came = target[known] * A_YEAR
    naive = np.abs(made["last rate"][known] * A_YEAR - came)
    rows = []
    for method, values in made.items():
        error = values[known] * A_YEAR - came
        lags = max(overlap, statistics.newey_west_lags(len(error)))
        better = statistics.mean_estimate(naive - np.abs(error), lags)
        rows.append(
            {
                "method": method,
                "forecasts": len(error),
                "mean_error_percent_a_year": float(error.mean()),
                "mae_percent_a_year": float(np.abs(error).mean()),
                "rmse_percent_a_year": float(np.sqrt((error**2).mean())),
                "sign_hits_percent": _sign_hits(values[known], came),
                "mae_less_than_last_rate_percent_a_year": better.value,
                "mae_less_low95_percent_a_year": better.low,
                "mae_less_high95_percent_a_year": better.high,
            }
        )
    return rows


def _sign_hits(forecast: Floats, came: Floats) -> float:
    """Share of forecasts with the right sign, per cent, where one came: a rate of zero has none.

    NaN for a method that never names a sign.
    """
    signed = came != 0.0
    if not (forecast.any() and signed.any()):
        return float("nan")
    return float((np.sign(forecast[signed]) == np.sign(came[signed])).mean()) * 100.0


LEADS_HOURS = (0.0167, 0.25, 1.0, 4.0, 8.0)


def prediction_errors(
    contract: FundingHistory, predicted: pd.DataFrame, lead_hours: Sequence[float] = LEADS_HOURS
) -> pd.DataFrame:
    """Errors of the rate that the venue predicted, by the time left until its settlement.

    ``predicted`` has ``time_ms`` (when it was published), ``settlement_ms`` (of the settlement it is for) and
    ``predicted_rate`` (fraction per interval). Each prediction is counted in the first of the ascending ``lead_hours``
    that is not below its lead; later ones than the settlement, and longer ones, are left out. Rates in bps.
    ``DataError`` when none is left.
    """
    wanted = (predicted["settlement_ms"].to_numpy(np.int64) + HOUR_MS // 2) // HOUR_MS * HOUR_MS
    places = np.minimum(np.searchsorted(contract.time_ms, wanted), len(contract.time_ms) - 1)
    lead = (wanted - predicted["time_ms"].to_numpy(np.int64)) / HOUR_MS
    paid = contract.rate[places]
    usable = (contract.time_ms[places] == wanted) & (lead >= 0) & np.isfinite(paid)
    error = (predicted["predicted_rate"].to_numpy(np.float64) - paid) * BPS
    bucket: Integers = np.searchsorted(np.asarray(lead_hours), lead)
    if not (usable & (bucket < len(lead_hours))).any():
        raise DataError(
            f"none of {len(predicted)} predicted rates is for a settlement of {contract.name} within"
            f" {max(lead_hours):g} h of it",
            remedy=f"times are milliseconds since 1970; settlements are held from {iso(int(contract.time_ms[0]))} to"
            f" {iso(int(contract.time_ms[-1]))}",
        )
    rows = []
    for index, hours in enumerate(lead_hours):
        chosen = error[usable & (bucket == index)]
        rows.append(
            identity(contract)
            | {
                "lead_up_to_hours": hours,
                "predictions": len(chosen),
                "mean_error_bps": float(chosen.mean()) if len(chosen) else np.nan,
                "mae_bps": float(np.abs(chosen).mean()) if len(chosen) else np.nan,
                "largest_error_bps": float(np.abs(chosen).max()) if len(chosen) else np.nan,
            }
        )
    return pd.DataFrame(rows)

"""The whole funding study: every table, the page, and the folder that they are written to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from data.tables import write_folder
from research.funding import carry, forecasts, pairs, tables
from research.funding.carry import Costs
from research.funding.history import FundingHistories
from research.funding.page import Study, render

STEPS = 13


def study(
    histories: FundingHistories,
    costs: Costs | None = None,
    *,
    lookback_days: float = 30.0,
    half_life_hours: float = 72.0,
    window_hours: int = 8,
    ranking_days: float = 14.0,
    on_step: Callable[[], None] = lambda: None,
) -> Study:
    """Every table of ``histories``. ``on_step`` is called ``STEPS`` - 1 times."""
    given = costs or Costs()
    made: dict[str, pd.DataFrame] = {}
    jobs: dict[str, Callable[[], pd.DataFrame]] = {
        "summary": lambda: tables.summary(histories),
        "by_year": lambda: tables.by_year(histories),
        "by_hour": lambda: tables.by_hour(histories),
        "by_weekday": lambda: tables.by_weekday(histories),
        "persistence": lambda: tables.persistence(histories),
        "autocorrelation": lambda: tables.autocorrelations(histories),
        "sign_flips": lambda: tables.sign_flips(histories),
        "caps": lambda: tables.caps(histories),
        "spreads": lambda: tables.spreads(histories, window_hours),
        "forecast_errors": lambda: forecasts.forecast_errors(histories),
        "net_carry": lambda: carry.net_carry(histories, given),
        "screen": lambda: carry.screen(histories, given, lookback_days=lookback_days, half_life_hours=half_life_hours),
    }
    for name, job in jobs.items():
        made[name] = job()
        on_step()
    made["pairs"] = pairs.tradable_pairs(made["screen"])
    settings = {
        "lookback_days": lookback_days,
        "forecast_half_life_hours": half_life_hours,
        "spread_window_hours": window_hours,
        "holding_hours": given.holding_hours,
        "slippage_bps_per_fill": given.slippage_bps,
        "fee_tier": given.tier,
        "round_trip_bps": "of each venue" if given.round_trip_bps is None else given.round_trip_bps,
    }
    ranking = carry.ranking_test(histories, ranking_days)
    word = carry.survivorship(histories, made["screen"])
    return Study(histories, made, given, ranking, word, settings)


def report(histories: FundingHistories, folder: Path | str, costs: Costs | None = None) -> dict[str, Path]:
    """Write every table as CSV and Parquet and the page ``report.html`` into the new ``folder``; name -> path."""
    return write(study(histories, costs), Path(folder))


def write(made: Study, folder: Path) -> dict[str, Path]:
    """Write a study into the new ``folder``; it appears whole or not at all."""
    return write_folder(folder, made.tables, {"report.html": render(made)})

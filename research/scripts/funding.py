"""Funding research in a notebook or script: load histories from a lake, get pandas frames, write a report.

    from research.scripts import funding

    histories = funding.load("data/lake", ["BTCUSDT"])
    funding.summary(histories)
    funding.tradable_pairs(funding.screen(histories, funding.Costs(holding_hours=720)))

Units stand in the column names; rates ``percent_a_year`` are simple, on the hours that settlements really cover. The
commands of ``carry funding`` print these same frames. Formulas and methods: docs/specs/funding_research.md.
"""

from __future__ import annotations

from data.predictions import read_predictions
from research.funding.carry import (
    Costs,
    RankingTest,
    net_carry,
    ranking_test,
    screen,
    survivorship,
)
from research.funding.forecasts import (
    forecast_errors,
    forecasts,
    prediction_errors,
    strategy_forecast,
)
from research.funding.history import FundingHistories, FundingHistory, load
from research.funding.pairs import settings_text, tradable_pairs
from research.funding.report import report
from research.funding.tables import (
    autocorrelations,
    by_hour,
    by_weekday,
    by_year,
    caps,
    hour_by_weekday,
    persistence,
    rates,
    sign_flips,
    spreads,
    summary,
)

__all__ = [
    "Costs",
    "FundingHistories",
    "FundingHistory",
    "RankingTest",
    "autocorrelations",
    "by_hour",
    "by_weekday",
    "by_year",
    "caps",
    "forecast_errors",
    "forecasts",
    "hour_by_weekday",
    "load",
    "net_carry",
    "persistence",
    "prediction_errors",
    "ranking_test",
    "rates",
    "read_predictions",
    "report",
    "screen",
    "settings_text",
    "sign_flips",
    "spreads",
    "strategy_forecast",
    "summary",
    "survivorship",
    "tradable_pairs",
]

"""The tables of the funding page: title, headings with units, and what to know about each; and their cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from research.funding.markup import frame_table
from research.report.page import card

CONTRACT = {"venue": "Venue", "symbol": "Contract"}
_TEXT = (
    "venue",
    "symbol",
    "weekday",
    "left",
    "right",
    "base",
    "horizon",
    "method",
    "intervals_hours",
    "spot_leg",
    "now",
)
_ROWS_WITHOUT_CONTROLS = 60


@dataclass(frozen=True, slots=True)
class TableText:
    """Title, headings by column and a note below."""

    title: str
    heads: Mapping[str, str]
    note: str = ""


_SEASON_MEANS = {
    "observations": "Observations",
    "mean_percent_a_year": "Mean, % a year",
    "mean_low95_percent_a_year": "95 % from",
    "mean_high95_percent_a_year": "95 % to",
}
BY_HOUR = TableText("By hour of settlement, UTC", CONTRACT | {"hour_utc": "Hour"} | _SEASON_MEANS)
BY_WEEKDAY = TableText("By weekday", CONTRACT | {"weekday": "Weekday"} | _SEASON_MEANS)
SUMMARY = TableText(
    "Rates over the whole history",
    CONTRACT
    | {
        "intervals_hours": "Intervals, h",
        "settlements": "Settlements",
        "missing": "Missing",
        "mean_percent_a_year": "Mean, % a year",
        "mean_low95_percent_a_year": "95 % from",
        "mean_high95_percent_a_year": "95 % to",
        "deviation_percent_a_year": "Deviation",
        "p05_percent_a_year": "5th pct",
        "median_percent_a_year": "Median",
        "p95_percent_a_year": "95th pct",
        "lowest_rate_percent": "Lowest rate, %",
        "highest_rate_percent": "Highest rate, %",
        "positive_share_percent_of_hours": "Hours > 0, %",
    },
    (
        "Weighted by the hours that each rate covers. Intervals of the mean: Newey-West on daily sums. They are too "
        "narrow when regimes last for months, as those of funding do."
    ),
)
PERSISTENCE = TableText(
    "Autoregression and half-life",
    CONTRACT
    | {
        "interval_hours": "Interval, h",
        "pairs": "Pairs",
        "phi": "Coefficient",
        "phi_low95": "95 % from",
        "phi_high95": "to",
        "half_life_hours": "Half-life, h",
        "half_life_low95_hours": "95 % from",
        "half_life_high95_hours": "to",
    },
    (
        "First-order autoregression of settlements that follow each other at one interval; robust (White) intervals. "
        "Where the autocorrelation above falls more slowly than its powers, a slowly moving level lies under it."
    ),
)
SIGN_FLIPS = TableText(
    "Changes of sign",
    CONTRACT
    | {
        "flips": "Flips",
        "flips_a_year": "Flips a year",
        "mean_positive_run_hours": "Mean run > 0, h",
        "median_positive_run_hours": "Median",
        "longest_positive_run_hours": "Longest",
        "mean_negative_run_hours": "Mean run < 0, h",
        "median_negative_run_hours": "Median",
        "longest_negative_run_hours": "Longest",
        "now": "At the end",
        "current_run_hours_so_far": "For so far, h",
    },
    "Means and medians over complete runs.",
)
SPREADS = TableText(
    "Differences between venues",
    {
        "left": "First",
        "right": "Second",
        "windows": "Windows",
        "from_utc": "From",
        "to_utc": "To",
        "mean_spread_bps": "Mean, bps",
        "mean_spread_low95_bps": "95 % from",
        "mean_spread_high95_bps": "95 % to",
        "spread_deviation_bps": "Deviation, bps",
        "mean_spread_percent_a_year": "Mean, % a year",
        "correlation": "Correlation",
        "correlation_low95": "95 % from",
        "correlation_high95": "95 % to",
    },
    "First less second per window. Correlation: Fisher's interval with the number of independent windows.",
)
FORECASTS = TableText(
    "Errors by method",
    CONTRACT
    | {
        "horizon": "Ahead",
        "method": "Method",
        "forecasts": "Forecasts",
        "mean_error_percent_a_year": "Mean error",
        "mae_percent_a_year": "Mean absolute",
        "rmse_percent_a_year": "Root mean square",
        "sign_hits_percent": "Right sign, %",
        "mae_less_than_last_rate_percent_a_year": "Better than last rate",
        "mae_less_low95_percent_a_year": "95 % from",
        "mae_less_high95_percent_a_year": "95 % to",
    },
    "Errors in % a year. Better: how much smaller the mean absolute error is than that of the last rate.",
)
NET_CARRY = TableText(
    "Net carry over the whole history",
    CONTRACT
    | {
        "round_trip_bps": "Round trip, bps",
        "mean_percent_a_year": "Mean, % a year",
        "break_even_days": "Break-even, days",
        "holding_days": "Held, days",
        "net_percent_a_year": "Net, % a year",
        "holds": "Holds",
        "holds_apart": "Of them apart",
        "profitable_holds_percent": "Paid, %",
        "hold_net_p05_bps": "5th pct, bps",
        "hold_net_median_bps": "Median, bps",
        "hold_net_p95_bps": "95th pct, bps",
    },
    (
        "Holds: entered after every past settlement and kept for the holding period; they overlap, so only about so "
        "many lie apart. Basis moves, borrow and margin are not in it."
    ),
)
SCREENER = TableText(
    "Screener",
    CONTRACT
    | {
        "intervals_hours": "Intervals, h",
        "days_covered": "Days",
        "mean_percent_a_year": "Mean, % a year",
        "forecast_percent_a_year": "Forecast",
        "deviation_percent_a_year": "Deviation",
        "positive_share_percent_of_hours": "Hours > 0, %",
        "flips": "Flips",
        "half_life_hours": "Half-life, h",
        "at_limit": "At limit",
        "break_even_days": "Break-even, days",
        "net_percent_a_year": "Net, % a year",
        "spot_leg": "Spot leg shipped",
        "ended": "Ended",
    },
    (
        "Over the last days; half-life and rates at a limit are of the whole history. Best net carry first. Click a "
        "heading to sort."
    ),
)
CAPS = TableText(
    "Rates at what looks like the venue's limit",
    CONTRACT
    | {
        "limit_percent": "Rate, %",
        "hits": "Settlements",
        "share_percent_of_settlements": "Share, %",
        "first_utc": "First",
    },
    ("Extreme rates that were reached twice or are round figures of at least 10 bps. A guess: venues change limits."),
)


def table_card(text: TableText, frame: pd.DataFrame) -> str:
    """A card with a table that sorts by its headings; long ones can be searched and are cut until unfolded."""
    table = frame_table(text.title, frame, text.heads, text=_TEXT, kind="dense sortable")
    if len(frame) <= _ROWS_WITHOUT_CONTROLS:
        return card(text.title, table.replace("dense sortable", "dense sortable short"), text.note)
    controls = (
        '<div class="controls"><label>Search<input type="search"></label>'
        '<button type="button" class="page">Show all</button><span class="count"></span></div>'
    )
    return card(text.title, controls + table, text.note)

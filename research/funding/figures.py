"""The figures of the funding page as plain plotly.js dictionaries."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from crypto import funding_statistics as statistics
from crypto.market import Floats, Integers
from crypto.units import HOUR_MS
from research.funding.history import FundingHistories, FundingHistory
from research.funding.tables import PERCENT, WEEKDAYS, base_pairs, common_windows, hour_by_weekday, mean_annual
from research.report.drawing import Figure, encode, finish, heat_map, line, pair_line, rounded, stacked_layout
from research.report.words import number

LINES_SHOWN = 8
POINTS_PER_LINE = 2_000
_AVERAGE_DAYS = 30
_BARS_SHOWN = 20
_MAJORS = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "LINK")
_HOURS_OF_A_MONTH = 730
_NO_TIME: Integers = np.empty(0, dtype=np.int64)


def build_figures(
    histories: FundingHistories, shown: Sequence[FundingHistory], tables: Mapping[str, pd.DataFrame]
) -> dict[str, Figure]:
    """All figures by key, in the order of the page. ``shown``: the contracts that lines are drawn of."""
    figures = [
        cumulative_figure(shown),
        level_figure(shown),
        distribution_figure(shown),
        seasonality_figure(shown),
        autocorrelation_figure(shown, tables["autocorrelation"]),
        runs_figure(shown),
        *([spread_figure(histories, int(tables["spreads"]["window_hours"].iloc[0]))] if len(tables["spreads"]) else []),
        forecast_figure(tables["forecast_errors"]),
        ranking_figure(tables["screen"]),
        universe_figure(tables["screen"]),
    ]
    return {figure.key: figure for figure in figures}


def most_telling(histories: FundingHistories, count: int = LINES_SHOWN) -> list[FundingHistory]:
    """The contracts that lines are drawn of: the longest histories, majors first among equals; in order of names."""

    def rank(contract: FundingHistory) -> tuple[int, int, str]:
        major = _MAJORS.index(contract.base) if contract.base in _MAJORS else len(_MAJORS)
        return -round(contract.hours / _HOURS_OF_A_MONTH), major, str(contract.key)

    longest = sorted(histories.contracts, key=rank)[:count]
    return sorted(longest, key=lambda contract: contract.key)


def _span(contracts: Sequence[FundingHistory]) -> Integers:
    first = min(int(contract.time_ms[0]) for contract in contracts)
    return np.array([first, max(int(contract.time_ms[-1]) for contract in contracts)], dtype=np.int64)


def cumulative_figure(shown: Sequence[FundingHistory]) -> Figure:
    """Funding received by a short perp since the start, simple sum."""
    data = []
    for index, contract in enumerate(shown):
        total = np.cumsum(np.nan_to_num(contract.rate)) * PERCENT
        data.append(pair_line(contract.time_ms, total, contract.name, index, POINTS_PER_LINE))
    layout = stacked_layout(_span(shown), [("Sum of rates, % of notional", 1.0, ",.10~g")])
    ends = ", ".join(f"{item.name} {number(float(np.nansum(item.rate)) * PERCENT, 1)} %" for item in shown)
    note = "What a short perp received per unit of notional, not compounded; each line starts at zero with its data."
    label = f"Line chart of summed funding, at the end: {ends}."
    return finish("cumulative", "Funding received since the start", note, label, data, layout, 420)


def level_figure(shown: Sequence[FundingHistory]) -> Figure:
    """Mean of the last thirty days, in percent a year."""
    data = []
    for index, contract in enumerate(shown):
        first, hourly = statistics.hourly_accrual(contract.time_ms, contract.rate, contract.interval_hours)
        window = _AVERAGE_DAYS * 24
        means = statistics.ahead_mean(contract.time_ms - window * HOUR_MS, first, hourly, window) * 8760 * PERCENT
        data.append(pair_line(contract.time_ms, means, contract.name, index, POINTS_PER_LINE))
    layout = stacked_layout(_span(shown), [(f"Mean of the last {_AVERAGE_DAYS} days, % a year", 1.0, ",.10~g")])
    note = "Gaps: a settlement of the thirty days before is missing. Drag to zoom, double-click to zoom out."
    label = f"Line chart of the mean funding of thirty days of {len(shown)} contracts in percent a year."
    return finish("level", "Level of funding", note, label, data, layout, 380)


def distribution_figure(shown: Sequence[FundingHistory]) -> Figure:
    """Share of hours by annual rate, between the 1st and 99th percentile of all."""
    everything = np.concatenate([contract.annual for contract in shown]) * PERCENT
    low, high = np.nanquantile(everything, (0.01, 0.99))
    edges = np.linspace(low, high if high > low else low + 1.0, 61)
    middles = (edges[1:] + edges[:-1]) / 2.0
    data = []
    for index, contract in enumerate(shown):
        known = np.isfinite(contract.rate)
        counts, _ = np.histogram(contract.annual[known] * PERCENT, edges, weights=contract.interval_hours[known])
        share = counts / contract.interval_hours[known].sum() * PERCENT
        drawn = _xy(middles, share, contract.name, index)
        drawn["line"] = {"width": 1.6, "shape": "hvh"}
        data.append(drawn)
    layout = stacked_layout(_NO_TIME, [("Share of hours, %", 1.0, ",.10~g")])
    layout["xaxis"] |= {"type": "linear", "title": {"text": "Rate, % a year"}, "hoverformat": ".1f"}
    layout["margin"] |= {"b": 48}
    note = "Between the 1st and the 99th percentile. A peak at 10.95 % a year is the interest of 0.01 % per 8 hours."
    label = f"Histogram of annual funding rates of {len(shown)} contracts from {number(low, 1)} to {number(high, 1)} %."
    return finish("distribution", "Rates by frequency", note, label, data, layout, 360, is_time=False)


def seasonality_figure(shown: Sequence[FundingHistory]) -> Figure:
    """Mean rate by weekday and hour less the contract's mean, as a heat map of one contract at a time."""
    grids = [hour_by_weekday(contract) - mean_annual(contract).value for contract in shown]
    choices: list[dict[str, Any]] = []
    for contract, grid in zip(shown, grids, strict=True):
        known = np.abs(grid[np.isfinite(grid)])
        limit = max(float(np.quantile(known, 0.95)), 0.1) if len(known) else 1.0
        choices.append({"name": contract.name, "z": [rounded(row) for row in grid], "zmax": round(limit, 4)})
    hours = [f"{hour:02d}:00" for hour in range(24)]
    heat = heat_map(hours, WEEKDAYS, choices[0], gap=2, hover="%{y} %{x} UTC: %{z:+,.2f} points", ticks="+~g")
    layout = {
        "margin": {"l": 48, "r": 10, "t": 10, "b": 30},
        "xaxis": {"type": "category", "showgrid": False},
        "yaxis": {"autorange": "reversed", "showgrid": False, "zeroline": False},
        "hovermode": "closest",
    }
    note = "Mean of the hours that settlements pay for, less the contract's mean; points a year, blue is above it. UTC."
    label = (
        "Heat map of mean funding by weekday and hour; the tables below hold the means by settlement and by weekday."
    )
    figure = finish("funding", "By hour and weekday", note, label, [heat], layout, 300, is_time=False)
    figure.choices.extend(choices)
    return figure


def autocorrelation_figure(shown: Sequence[FundingHistory], table: pd.DataFrame) -> Figure:
    """Correlation of rates by the hours between them, with the band of no correlation."""
    data = []
    widest = 0.0
    for index, contract in enumerate(shown):
        rows = table[_is(table, contract) & table["autocorrelation"].notna()]
        widest = max(widest, float(rows["no_correlation_band95"].max()) if len(rows) else 0.0)
        drawn = _xy(rows["lag_hours"].to_numpy(float), rows["autocorrelation"].to_numpy(float), contract.name, index)
        data.append(drawn | {"mode": "lines+markers", "marker": {"size": 5}})
    layout = stacked_layout(_NO_TIME, [("Autocorrelation", 1.0, ".2f")])
    layout["xaxis"] |= {
        "type": "log",
        "title": {"text": "Hours between two settlements"},
        "tickvals": [1, 2, 4, 8, 16, 24, 48, 72, 168, 336, 720],
        "hoverformat": ",d",
    }
    layout["yaxis"]["zeroline"] = True
    layout["shapes"] = [_band("y", -widest, widest)]
    layout["margin"] |= {"b": 48}
    note = "Shaded: where it would lie in 95 % of cases if rates were independent, for the shortest of these histories."
    label = f"Autocorrelation of funding of {len(shown)} contracts by lag; the table below holds half-lives."
    return finish("autocorrelation", "Autocorrelation", note, label, data, layout, 340, is_time=False)


def _band(axis: str, low: float, high: float) -> dict[str, Any]:
    where = {"xref": "paper", "x0": 0, "x1": 1, "yref": axis, "y0": low, "y1": high}
    return {"type": "rect", **where, "line": {"width": 0}, "fillcolor": "rgba(140,140,150,0.18)", "layer": "below"}


def runs_figure(shown: Sequence[FundingHistory]) -> Figure:
    """Share of the runs of one sign that lasted longer than each length."""
    data = []
    for index, contract in enumerate(shown):
        runs = statistics.sign_runs(contract.rate, contract.interval_hours)
        for sign, dash in ((1, "solid"), (-1, "dot")):
            hours, counts = np.unique(runs.hours[(runs.sign == sign) & ~runs.is_cut], return_counts=True)
            if counts.sum() < 5:
                continue
            # At least this long: all less the shorter ones. It holds from the length before up to and with its own.
            longer = 1.0 - (np.cumsum(counts) - counts) / counts.sum()
            drawn = _xy(hours, longer * PERCENT, contract.name, index, legend=sign > 0)
            drawn |= {"line": {"width": 1.4, "dash": dash, "shape": "vh"}, "legendgroup": contract.name}
            drawn["hovertemplate"] = f"{'positive' if sign > 0 else 'negative'} %{{y:.1f}} %"
            data.append(drawn)
    layout = stacked_layout(_NO_TIME, [("Share of runs at least this long, %", 1.0, ",.10~g")])
    layout["xaxis"] |= {
        "type": "log",
        "title": {"text": "Length of a run of one sign, hours"},
        "tickvals": [1, 4, 8, 24, 72, 168, 720, 2160],
        "hoverformat": ",d",
    }
    layout["yaxis"]["range"] = [0, 100]
    layout["margin"] |= {"b": 48}
    note = "Solid: positive rates, dotted: negative ones. Complete runs only: the first and last are cut by the data."
    label = f"Survival curves of runs of one sign of {len(shown)} contracts; the table below holds their means."
    return finish("runs", "How long a sign lasts", note, label, data, layout, 340, is_time=False)


def spread_figure(histories: FundingHistories, window_hours: int = 8) -> Figure:
    """Summed difference of funding between venues, on a common clock."""
    data: list[dict[str, Any]] = []
    spans = []
    for left, right in base_pairs(histories):
        if len(data) == LINES_SHOWN:
            break
        ends, of_left, of_right = common_windows(left, right, window_hours)
        if len(ends) > 1:
            total = np.cumsum(of_left - of_right) * PERCENT
            name = f"{left.base}: {left.key.venue} less {right.key.venue}"
            data.append(pair_line(ends, total, name, len(data), POINTS_PER_LINE))
            spans.append(ends)
    bounds = np.array([min(s[0] for s in spans), max(s[-1] for s in spans)]) if spans else _NO_TIME
    layout = stacked_layout(bounds, [("Sum of differences, % of notional", 1.0, ",.10~g")])
    note = f"Windows of {window_hours} hours that both venues cover whole. Rising: the first venue pays shorts more."
    label = f"Line chart of summed funding differences of {len(data)} pairs of venues."
    return finish("spread", "Funding of one venue less another, summed", note, label, data, layout, 360)


def forecast_figure(table: pd.DataFrame) -> Figure:
    """Median over contracts of the mean absolute error, by method and horizon."""
    horizons = list(dict.fromkeys(table["horizon"]))
    data = []
    for index, method in enumerate(dict.fromkeys(table["method"])):
        rows = table[table["method"] == method]
        medians = rows.groupby("horizon")["mae_percent_a_year"].median().reindex(horizons)
        y = rounded(medians.to_numpy(float))
        data.append({"type": "bar", "name": method, "x": horizons, "y": y, "meta": {"slot": index}})
    layout = stacked_layout(_NO_TIME, [("Mean absolute error, % a year", 1.0, ",.10~g")])
    layout |= {"barmode": "group", "bargap": 0.25}
    layout["xaxis"] |= {"type": "category", "title": {"text": "Mean rate over the time ahead"}}
    layout["margin"] |= {"b": 48}
    note = "Median over the contracts. Smaller is better; zero is the error of forecasting nothing."
    label = "Grouped bars of forecast errors by method and horizon; the table below holds them per contract."
    return finish("forecast", "Size of the error by method and horizon", note, label, data, layout, 360, is_time=False)


def ranking_figure(screened: pd.DataFrame) -> Figure:
    """The contracts with the highest and, on a scale of their own, those with the lowest net carry."""
    known = screened[screened["net_percent_a_year"].notna()]
    head = known.head(_BARS_SHOWN)
    tail = known.iloc[max(len(head), len(known) - _BARS_SHOWN) :]
    layout = stacked_layout(_NO_TIME, [("Net carry, % a year" + (": highest" if len(tail) else ""), 1.0, ",.10~g")])
    data = []
    parts = [("", "Highest", head)] + ([("2", "Lowest", tail)] if len(tail) else [])
    for slot, (axis, name, rows) in enumerate(parts):
        names = [_named(row) for row in rows.itertuples()]
        y = rounded(rows["net_percent_a_year"].to_numpy(float))
        where = {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
        data.append({"type": "bar", "name": name, "x": names, "y": y, "meta": {"slot": slot}} | where)
    layout["xaxis"] |= {"type": "category", "tickangle": -55, "tickfont": {"size": 10}}
    if len(tail):
        layout["xaxis"]["domain"] = [0.0, 0.47]
        layout["xaxis2"] = layout["xaxis"] | {"domain": [0.53, 1.0], "anchor": "y2"}
        layout["yaxis2"] = layout["yaxis"] | {"anchor": "x2"}
        layout["annotations"].append(layout["annotations"][0] | {"text": "Lowest, another scale", "x": 0.53})
    layout |= {"showlegend": False, "hovermode": "closest"}
    layout["margin"] |= {"b": 150}
    label = f"Bars of net carry of {len(head)} contracts with the highest and {len(tail)} with the lowest."
    note = (
        "Mean rate of the last days that are screened, long spot and short perp, less a round trip over the holding "
        "period. The table below is of the whole history, so it may say otherwise."
    )
    return finish("ranking", "Highest and lowest net carry", note, label, data, layout, 470, is_time=False)


def _named(row: Any) -> str:
    return f"{html.escape(str(row.symbol))} {html.escape(str(row.venue))}"


def universe_figure(screened: pd.DataFrame) -> Figure:
    """Mean against variability of every contract, coloured by its present interval."""
    drawn = screened[screened["mean_percent_a_year"].notna() & screened["deviation_percent_a_year"].notna()]
    table = drawn.assign(now=[text.rsplit(">", 1)[-1] for text in drawn["intervals_hours"]])
    data = []
    for index, interval in enumerate(sorted(set(table["now"]), key=float)):
        rows = table[table["now"] == interval]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"every {interval} h",
                "x": encode(rows["deviation_percent_a_year"].to_numpy(float)),
                "y": encode(rows["mean_percent_a_year"].to_numpy(float)),
                "text": [_named(row) for row in rows.itertuples()],
                "hovertemplate": "%{text}<br>mean %{y:.1f} % a year<br>deviation %{x:.1f} %<extra></extra>",
                "marker": {"size": 7, "opacity": 0.65},
                "meta": {"slot": index, "known": len(rows)},
            }
        )
    layout = stacked_layout(_NO_TIME, [("Mean, % a year", 1.0, ",.10~g")])
    layout["xaxis"] |= {"type": "linear", "title": {"text": "Deviation, % a year"}}
    note = "One point per contract over the lookback, by its present settlement interval."
    if len(table) > 50:
        x, y = (table[f"{name}_percent_a_year"].dropna().to_numpy(float) for name in ("deviation", "mean"))
        layout["xaxis"]["range"] = [0.0, float(np.quantile(x, 0.97))]
        layout["yaxis"]["range"] = [float(np.quantile(y, 0.03)), 1.05 * float(y.max())]
        note += " Axes leave out the wildest three in a hundred; double-click shows all."
    layout |= {"hovermode": "closest"}
    layout["yaxis"]["zeroline"] = True
    layout["margin"] |= {"b": 48}
    label = f"Scatter of mean against variability of funding of {len(table)} contracts."
    return finish("universe", "All contracts", note, label, data, layout, 440, is_time=False)


def _xy(x: Floats, y: Floats, name: str, index: int, *, legend: bool = True) -> dict[str, Any]:
    """A line over an axis that is no time; NaN values are gaps."""
    drawn = line(_NO_TIME, np.empty(0), name, index % LINES_SHOWN, 4, legend=legend)
    known = int(np.isfinite(y).sum())
    return drawn | {"mode": "lines", "x": encode(x), "y": encode(y), "meta": drawn["meta"] | {"known": known}}


def _is(table: pd.DataFrame, contract: FundingHistory) -> Any:
    key = contract.key
    return (table["venue"] == key.venue) & (table["kind"] == key.kind) & (table["symbol"] == key.symbol)

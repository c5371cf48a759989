"""The figures of the report as plain plotly.js dictionaries, made from the arrays of a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from crypto.market import Floats, Integers
from crypto.result import BacktestResult
from research.report.drawing import (
    AMOUNT,
    DASHES,
    TOTAL_SLOT,
    Figure,
    finish,
    heat_map,
    line,
    pair_line,
    rounded,
    stacked_layout,
)
from research.report.periods import FundingCalendar, funding_calendar, monthly_sums, total_of
from research.report.venue_events import distance_figure
from research.report.words import component_name, day, is_number, lookup, money, number, percent, signed_money

MAX_POINTS_PER_LINE = 3_000
WHOLE_COUNTS_SHOWN = 5
MAX_POINTS_PER_PAGE = 90_000
MIN_POINTS_PER_LINE = 250


def build_figures(result: BacktestResult) -> dict[str, Figure]:
    """All figures by key, in the order of the page."""
    limit = points_per_line(result)
    figures: tuple[Figure | None, ...] = (
        equity_figure(result, limit),
        attribution_figure(result, limit),
        monthly_attribution_figure(result),
        pair_pnl_figure(result, limit),
        basis_figure(result, limit),
        exposure_figure(result, limit),
        wallet_figure(result, limit),
        funding_figure(funding_calendar(result.ledger, len(result.pair_names)), result.pair_names),
        trip_figure(result),
        distance_figure(result, limit),
    )
    return {figure.key: figure for figure in figures if figure is not None}


def points_per_line(result: BacktestResult) -> int:
    """Points that each line may have, so that the page stays small with many pairs."""
    pairs, wallets = len(result.pair_names), len(result.wallet_names)
    lines = 2 + len(result.component_names) + 1 + pairs + 2 * pairs + 4 * pairs + 2 + wallets + 1
    return max(MIN_POINTS_PER_LINE, min(MAX_POINTS_PER_LINE, MAX_POINTS_PER_PAGE // lines))


def equity_figure(result: BacktestResult, limit: int) -> Figure:
    """Equity over drawdown; the worst drawdown is shaded."""
    equity = result.equity
    peak = np.maximum.accumulate(equity)
    drawdown = np.where(peak > 0.0, equity / np.where(peak > 0.0, peak, 1.0) - 1.0, np.nan)
    data = [
        line(result.time_ms, equity, "Equity", 0, limit, width=1.6),
        line(result.time_ms, drawdown, "Drawdown", 1, limit, axis="y2", fill="tozeroy"),
    ]
    layout = stacked_layout(result.time_ms, [("Equity, account currency", 0.70, AMOUNT), ("Drawdown", 0.30, ".1%")])
    layout["showlegend"] = False
    start, end = result.summary.get("max_drawdown_start_ms"), result.summary.get("max_drawdown_end_ms")
    note = ""
    if is_number(start) and is_number(end) and end > start:
        layout["shapes"] = [_band(start, end)]
        note = "Shaded: the largest fall from a peak to the lowest point after it."
    label = (
        f"Line chart of equity from {money(equity[0])} on {day(result.time_ms[0])} to {money(equity[-1])} on "
        f"{day(result.time_ms[-1])}, and of its drawdown, at worst {percent(np.nanmin(drawdown, initial=0.0))}."
    )
    return finish("equity", "Equity and drawdown", note, label, data, layout, 480)


def _band(start: float, end: float) -> dict[str, Any]:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": start,
        "x1": end,
        "y0": 0,
        "y1": 1,
        "line": {"width": 0},
        "fillcolor": "rgba(140,140,150,0.14)",
        "layer": "below",
    }


def attribution_figure(result: BacktestResult, limit: int) -> Figure:
    """Cumulative components of the change of equity, and their sum."""
    cumulative = np.cumsum(result.attribution.sum(axis=1), axis=0)
    total = result.equity - result.equity[0]
    data = [line(result.time_ms, total, "Equity change", TOTAL_SLOT, limit, width=2.2)]
    for index, name in enumerate(result.component_names):
        dash = DASHES[1] if index >= 4 else DASHES[0]
        data.append(line(result.time_ms, cumulative[:, index], component_name(name), index, limit, dash=dash))
    sums = ", ".join(
        f"{name} {signed_money(value)}" for name, value in zip(result.component_names, cumulative[-1], strict=True)
    )
    layout = stacked_layout(result.time_ms, [("Cumulative, account currency", 1.0, AMOUNT)])
    note = "Components add up to the change of equity at every instant. Click a name to hide it."
    return finish("attribution", "Where the result came from", note, f"Line chart of {sums}.", data, layout, 440)


def monthly_attribution_figure(result: BacktestResult) -> Figure:
    """Components per month as stacked bars, and the month's total as a marker."""
    months, sums = monthly_sums(result.time_ms, result.attribution.sum(axis=1))
    x = [f"{month}-01" for month in months]
    data: list[dict[str, Any]] = []
    for index, name in enumerate(result.component_names):
        y = rounded(sums[:, index])
        data.append({"type": "bar", "name": component_name(name), "x": x, "y": y, "meta": {"slot": index}})
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Month",
            "x": x,
            "y": rounded(sums.sum(axis=1)),
            "meta": {"slot": TOTAL_SLOT},
            "marker": {"symbol": "diamond", "size": 7},
        }
    )
    layout = stacked_layout(np.empty(0, dtype=np.int64), [("Per month, account currency", 1.0, AMOUNT)])
    layout |= {"barmode": "relative", "bargap": 0.25}
    layout["xaxis"] |= {"dtick": "M1" if len(x) <= 14 else None, "hoverformat": "%B %Y"}
    label = f"Stacked bars of the components in {len(x)} months; the monthly return table below holds their sums."
    return finish(
        "monthly", "Components by month", "Diamond: sum of the month.", label, data, layout, 360, is_time=False
    )


def pair_pnl_figure(result: BacktestResult, limit: int) -> Figure:
    """Cumulative profit of every pair, from cash and position values."""
    data = [
        pair_line(result.time_ms, result.pair_pnl[:, pair], name, pair, limit)
        for pair, name in enumerate(result.pair_names)
    ]
    ends = ", ".join(f"{name} {signed_money(result.pair_pnl[-1, pair])}" for pair, name in enumerate(result.pair_names))
    layout = stacked_layout(result.time_ms, [("Cumulative P&amp;L, account currency", 1.0, AMOUNT)])
    note = "From cash and position values, independent of the attribution."
    return finish(
        "pairs", "P&L by pair", note, f"Line chart of cumulative profit: {ends or 'no pair'}.", data, layout, 340
    )


def basis_figure(result: BacktestResult, limit: int) -> Figure:
    """Basis over the annualised carry forecast of every pair."""
    data = []
    for pair, name in enumerate(result.pair_names):
        data.append(pair_line(result.time_ms, result.basis_bps[:, pair], name, pair, limit))
        data.append(pair_line(result.time_ms, result.carry_annual[:, pair], name, pair, limit, axis="y2", legend=False))
    layout = stacked_layout(
        result.time_ms,
        [("Basis, perp over spot, bps", 0.5, AMOUNT), ("Annualised funding forecast, short perp", 0.5, ".0%")],
    )
    note = "Gaps: a leg without a fresh price, or the forecast still warming up."
    return finish("basis", "Basis and carry", note, _range_label(result), data, layout, 520)


def _range_label(result: BacktestResult) -> str:
    parts = []
    for pair, name in enumerate(result.pair_names):
        values = result.basis_bps[:, pair]
        known = values[np.isfinite(values)]
        span = f"{number(known.min(), 1)} to {number(known.max(), 1)} bps" if len(known) else "no value"
        parts.append(f"{name} {span}")
    return f"Line chart of basis and annualised carry. Basis: {'; '.join(parts) or 'no pair'}."


def exposure_figure(result: BacktestResult, limit: int) -> Figure:
    """Exposure of both legs, gross leverage, net delta and collateral ratio."""
    equity = result.equity
    safe = np.where(equity > 0.0, equity, np.nan)
    leverage = np.abs(result.perp_value).sum(axis=1) / safe
    delta = (result.spot_value + result.perp_value).sum(axis=1) / safe
    data = []
    for pair, name in enumerate(result.pair_names):
        data.append(pair_line(result.time_ms, result.spot_value[:, pair], f"{name} spot", pair, limit, group=name))
        data.append(pair_line(result.time_ms, result.perp_value[:, pair], f"{name} perp", pair, limit, group=name))
        ratio = pair_line(
            result.time_ms, result.collateral_ratio[:, pair], f"{name} ratio", pair, limit, axis="y4", legend=False
        )
        data.append(ratio | {"legendgroup": name})
    data.append(line(result.time_ms, leverage, "Gross perp / equity", TOTAL_SLOT, limit, axis="y2", legend=False))
    data.append(line(result.time_ms, delta, "Net delta / equity", TOTAL_SLOT, limit, axis="y3", legend=False))
    rows = [
        ("Exposure of spot and perp legs, account currency", 0.40, AMOUNT),
        ("Leverage: gross perp notional / equity", 0.18, ".2f"),
        ("Net delta / equity", 0.18, ".2%"),
        ("Collateral ratio: perp wallet equity / its notional", 0.24, ".2f"),
    ]
    layout = stacked_layout(result.time_ms, rows)
    layout["shapes"], note = _collateral_limits(result)
    upper = _robust_upper(result.collateral_ratio)
    if upper is not None:
        layout["yaxis4"] |= {"range": [0, upper], "autorange": False}
        note += " The ratio's axis leaves out rare high values, when a position is almost closed."
    label = (
        f"Line charts of leg exposures; of leverage, at most {_largest(leverage)}; of net delta, at most "
        f"{_largest(np.abs(delta) * 100)} per cent of equity; and of the collateral ratio."
    )
    return finish("exposure", "Exposure, leverage and collateral", note, label, data, layout, 860)


def _collateral_limits(result: BacktestResult) -> tuple[list[dict[str, Any]], str]:
    shapes = []
    for key in ("min_collateral_ratio", "max_collateral_ratio"):
        limit = lookup(result.settings, "portfolio", key)
        if is_number(limit):
            where = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y4", "y0": limit, "y1": limit}
            shapes.append(
                {"type": "line", **where, "line": {"width": 1, "dash": "dot", "color": "rgba(140,140,150,0.9)"}}
            )
    return shapes, "Dotted: limits of the settings." if shapes else ""


def _robust_upper(values: Floats) -> float | None:
    """Upper end of an axis that a few very large values would flatten, None when the axis needs no cut."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    usual = 1.3 * float(np.quantile(known, 0.98))
    return usual if 0.0 < usual < float(known.max()) else None


def _largest(values: Floats) -> str:
    known = values[np.isfinite(values)]
    return number(known.max()) if len(known) else "unknown"


def wallet_figure(result: BacktestResult, limit: int) -> Figure:
    """Equity of every wallet."""
    data = [
        pair_line(result.time_ms, result.wallet_equity[:, index], name, index, limit)
        for index, name in enumerate(result.wallet_names)
    ]
    ends = ", ".join(f"{name} {money(result.wallet_equity[-1, i])}" for i, name in enumerate(result.wallet_names))
    layout = stacked_layout(result.time_ms, [("Equity, account currency", 1.0, AMOUNT)])
    note = "Steps are transfers between wallets; amounts on their way have a line of their own."
    return finish("wallets", "Wallets", note, f"Line chart of wallet equities, at the end {ends}.", data, layout, 360)


def funding_figure(calendar: FundingCalendar, pair_names: Sequence[str]) -> Figure:
    """Funding per day as a heat map, months across and days down, for all pairs or one."""
    months = [str(month) for month in calendar.months]
    values = [("All pairs", total_of(calendar.daily)), *zip(pair_names, calendar.daily, strict=True)]
    choices: list[dict[str, Any]] = [
        {"name": name, "z": [rounded(row) for row in daily.T], "zmax": _color_limit(daily)} for name, daily in values
    ]
    heat = heat_map(months, range(1, 32), choices[0], gap=1, hover="%{x}-%{y:02d}: %{z:,.2f}", ticks="~s")
    layout = {
        "margin": {"l": 40, "r": 10, "t": 10, "b": 30},
        "xaxis": {
            "type": "category",
            "showgrid": False,
            "tickangle": 0,
            "tickvals": months[:: -(-len(months) // 8) or 1],
        },
        "yaxis": {
            "autorange": "reversed",
            "showgrid": False,
            "tickvals": [1, 5, 10, 15, 20, 25, 31],
            "zeroline": False,
        },
        "hovermode": "closest",
    }
    label = f"Heat map of funding received per day in {len(months)} months; the table below holds the monthly sums."
    note = "By the UTC date of the settlement, in account currency: blue received, orange paid, blank no settlement."
    data = [heat] if months else []
    figure = finish("funding", "Funding received by day", note, label, data, layout, 430, is_time=False)
    figure.choices.extend(choices)
    return figure


def _color_limit(values: Floats) -> float:
    known = np.abs(values[np.isfinite(values)])
    limit = float(np.quantile(known, 0.98)) if len(known) else 0.0
    return limit if limit > 0.0 else 1.0


def trip_figure(result: BacktestResult) -> Figure:
    """Distribution of the result of closed round trips in bps of notional."""
    closed = result.trips[(result.trips["is_open"] == 0) & (result.trips["notional"] > 0.0)]
    bps = closed["pnl"] / closed["notional"] * 1e4
    bps = bps[np.isfinite(bps)]
    data: list[dict[str, Any]] = []
    most = 0
    if len(bps):
        counts, middles, width = histogram(bps)
        most = int(counts.max())
        for name, slot, chosen in (("Loss", 1, middles < 0.0), ("Gain", 0, middles > 0.0)):
            x, y = rounded(middles[chosen]), [int(count) for count in counts[chosen]]
            data.append({"type": "bar", "name": name, "x": x, "y": y, "width": width * 0.92, "meta": {"slot": slot}})
    layout = stacked_layout(np.empty(0, dtype=np.int64), [("Round trips", 1.0, ",d")])
    layout["xaxis"] |= {"type": "linear", "title": {"text": "P&amp;L, bps of notional"}, "hoverformat": ".1f"}
    if most <= WHOLE_COUNTS_SHOWN:  # else half counts are marked, and rounded to whole ones
        layout["yaxis"]["dtick"] = 1
    layout["margin"] |= {"b": 48}
    median = f", median {number(float(np.median(bps)), 1)} bps" if len(bps) else ""
    label = f"Histogram of {len(bps)} closed round trips{median}."
    return finish("trips", "P&L per closed round trip", "", label, data, layout, 260, is_time=False)


def histogram(values: Floats, bins: int = 40) -> tuple[Integers, Floats, float]:
    """Counts, bin middles and bin width: at most about ``bins`` bins of a round width, zero between two of them."""
    span = max(float(values.max() - values.min()), 1.0)
    power = 10.0 ** math.floor(math.log10(span / bins))
    width = next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= span / bins)
    bin_of = np.floor(values / width).astype(np.int64)
    first = int(bin_of.min())
    counts = np.bincount(bin_of - first)
    return counts, (first + np.arange(len(counts)) + 0.5) * width, width

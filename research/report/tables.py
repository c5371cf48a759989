"""The tables of the report as HTML. Names and messages are escaped; numbers come formatted from ``words``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from crypto.market import Floats
from crypto.pipeline.reasons import Reason
from crypto.result import BacktestResult
from research.report.markup import coloured, plain_text, row, row_of_heat, table
from research.report.periods import FundingCalendar, ReturnTable, total_of
from research.report.words import (
    DASH,
    component_name,
    escape,
    is_number,
    number,
    percent,
    plain_words,
    signed,
    signed_money,
)

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TRIP_COLUMNS: tuple[tuple[str, str, str, int, bool], ...] = (
    # key, heading, kind, digits, coloured by sign
    ("number", "#", "number", 0, False),
    ("pair", "Pair", "text", 0, False),
    ("direction", "Spot", "text", 0, False),
    ("open_ms", "Opened", "time", 0, False),
    ("close_ms", "Closed", "time", 0, False),
    ("reason", "Exit reason", "text", 0, False),
    ("hours", "Hours", "number", 0, False),
    ("notional", "Notional", "number", 0, False),
    ("pnl", "P&L", "number", 2, True),
    ("pnl_bps", "P&L bps", "number", 1, True),
    ("open_basis_bps", "Entry bps", "number", 1, False),
    ("close_basis_bps", "Exit bps", "number", 1, False),
    ("basis", "Basis", "number", 2, False),
    ("delta", "Delta", "number", 2, False),
    ("funding", "Funding", "number", 2, False),
    ("borrow", "Borrow", "number", 2, False),
    ("fees", "Fees", "number", 2, False),
    ("slippage", "Slippage", "number", 2, False),
)
# what the venue did by force: no column while it is nothing in every trip
FORCED_TRIP_COLUMNS: tuple[tuple[str, str, str, int, bool], ...] = (
    ("liquidation", component_name("liquidation"), "number", 2, False),
    ("adl", component_name("adl"), "number", 2, False),
    ("naked", component_name("naked"), "number", 2, False),
)


def attribution_table(result: BacktestResult) -> str:
    """Totals per pair and component; the last rows hold them against the change of equity."""
    totals = result.attribution.sum(axis=0)
    names = (*result.pair_names, "No pair")
    own = [*result.pair_pnl[-1], float("nan")]
    rows = [
        row(name, [*_amounts(totals[index]), *_against(totals[index].sum(), own[index])])
        for index, name in enumerate(names)
    ]
    change = float(result.equity[-1] - result.equity[0])
    everything = totals.sum(axis=0)
    total = float(everything.sum())
    foot = [
        row(
            "Sum of components", [*_amounts(everything), coloured(total, signed_money(total)), DASH, DASH], kind="total"
        ),
        row("Equity change", [*[""] * len(everything), coloured(change, signed_money(change)), "", ""], kind="total"),
        row("Residual", [*[""] * len(everything), residual(total - change), "", ""], kind="check"),
    ]
    head = ["Pair", *[component_name(name) for name in result.component_names], "Total", "Own P&L", "Residual"]
    return table("Totals per pair and component, account currency", head, rows, foot=foot, kind="dense")


def wallet_table(result: BacktestResult) -> str:
    """Change of every wallet by component, with what the components leave unexplained."""
    totals = result.wallet_attribution.sum(axis=0)
    rows = []
    for index, name in enumerate(result.wallet_names):
        start, end = float(result.wallet_equity[0, index]), float(result.wallet_equity[-1, index])
        cells = [number(start), *_amounts(totals[index]), number(end), residual(totals[index].sum() - (end - start))]
        rows.append(row(name, cells))
    head = ["Wallet", "Start", *[component_name(name) for name in result.component_names], "End", "Residual"]
    return table("Change of every wallet by component, account currency", head, rows, kind="dense")


def _amounts(values: Floats) -> list[str]:
    return [coloured(value, signed_money(value)) for value in values]


def _against(total: float, own: float) -> list[str]:
    shown = coloured(total, signed_money(total))
    return [shown, signed_money(own), residual(total - own) if math.isfinite(own) else DASH]


def residual(value: float) -> str:
    """A difference that should be rounding only: with exponent, since cents would hide it."""
    return f"{value:.1e}".replace("-", "\u2212") if math.isfinite(value) else DASH


def return_table(values: ReturnTable) -> str:
    """Returns per month, and per year in the last column."""
    known = np.abs(values.monthly[np.isfinite(values.monthly)])
    scale = float(known.max()) if len(known) else 0.0
    rows = [
        row_of_heat(
            str(year), values.monthly[index], scale, percent, f'<td class="year">{_yearly(values.yearly[index])}</td>'
        )
        for index, year in enumerate(values.years)
    ]
    return table("Return per month and year", ["Year", *MONTHS, "Full year"], rows, kind="heat")


def _yearly(value: float) -> str:
    return coloured(value, percent(value))


def funding_table(calendar: FundingCalendar, pair_names: Sequence[str]) -> str:
    """Funding received per pair and month, and per year in the last column."""
    monthly = np.where(np.isnan(calendar.daily).all(axis=2), np.nan, np.nansum(calendar.daily, axis=2))
    groups = [*zip(pair_names, monthly, strict=True)]
    if len(pair_names) > 1:
        groups.append(("All pairs", total_of(monthly)))
    rows: list[str] = []
    digits = 0 if np.nanmax(np.abs(monthly), initial=0.0) >= 100.0 else 2
    for name, sums in groups:
        known = np.abs(sums[np.isfinite(sums)])
        scale = float(known.max()) if len(known) else 0.0
        for year, months in _by_year(calendar, sums):
            total = float(np.nansum(months))
            end = f'<td class="year">{coloured(total, signed_money(total))}</td>'
            rows.append(row_of_heat(f"{name} {year}", months, scale, partial(signed, digits=digits), end))
    return table(
        "Funding received per pair and month, account currency", ["Pair", *MONTHS, "Full year"], rows, kind="heat"
    )


def _by_year(calendar: FundingCalendar, sums: Floats) -> Iterable[tuple[int, Floats]]:
    count = calendar.months.astype(np.int64)
    years = 1970 + count // 12
    for year in np.unique(years):
        months = np.full(12, np.nan)
        months[count[years == year] % 12] = sums[years == year]
        yield int(year), months


def trip_columns(result: BacktestResult) -> tuple[tuple[str, str, str, int, bool], ...]:
    """Columns of the round trips: the usual ones, and of the venue's forced ones those that are nonzero in a trip."""
    forced = tuple(column for column in FORCED_TRIP_COLUMNS if np.any(result.trips[column[0]] != 0.0))
    return TRIP_COLUMNS + forced


def trip_rows(result: BacktestResult) -> str:
    """The round trips as JSON for the page's script, one array per trip in the order of ``trip_columns``."""
    shown = trip_columns(result)
    columns = [{"key": key, "kind": kind, "digits": digits, "sign": sign} for key, _, kind, digits, sign in shown]
    keys = [key for key, *_ in shown]
    rows = [_trip_row(result, index, keys) for index in range(len(result.trips))]
    return json.dumps({"columns": columns, "rows": rows}, allow_nan=False, separators=(",", ":"))


def _trip_row(result: BacktestResult, index: int, keys: Sequence[str]) -> list[Any]:
    trip = result.trips[index]
    known: dict[str, Any] = {
        "number": index + 1,
        "pair": result.pair_names[int(trip["pair"])],
        "direction": "long" if trip["direction"] > 0 else "short",
        "open_ms": int(trip["open_ms"]),
        "close_ms": None if trip["is_open"] else int(trip["close_ms"]),
        "pnl_bps": _rounded(trip["pnl"] / trip["notional"] * 1e4) if trip["notional"] > 0.0 else None,
        "reason": "still open" if trip["is_open"] else plain_words(Reason(int(trip["reason"])).name.lower()),
    }
    return [known[key] if key in known else _rounded(trip[key]) for key in keys]


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def trip_table(result: BacktestResult) -> str:
    """Controls and the empty table that the page's script fills."""
    if not len(result.trips):
        return '<p class="note">No round trip was opened in this run.</p>'
    options = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in result.pair_names)
    heads = "".join(
        f'<th scope="col"{" class=text" if kind == "text" else ""}><button type="button">{escape(title)}</button></th>'
        for _, title, kind, _, _ in trip_columns(result)
    )
    return (
        '<div class="controls">'
        f'<label>Pair<select id="trip-pair"><option value="">all</option>{options}</select></label>'
        '<label>Outcome<select id="trip-outcome"><option value="">all</option><option value="gain">gain</option>'
        '<option value="loss">loss</option><option value="open">still open</option></select></label>'
        '<label>Spot leg or exit reason<input id="trip-search" type="search" placeholder="funding flip"></label>'
        '<button class="page" id="trip-back" type="button">Previous</button>'
        '<button class="page" id="trip-next" type="button">Next</button>'
        '<span class="count" id="trip-count" role="status"></span></div>'
        '<div class="scroll" role="region" tabindex="0" aria-label="Round trips"><table id="trip-table" class="dense">'
        '<caption class="only-read">Round trips; a click on a heading sorts</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody></tbody></table></div>"
    )


def policy_table(policies: Mapping[str, Any]) -> str:
    """Named policies and how often each was applied, as the run reports them."""
    if not policies:
        return '<p class="note">The run reports no policy.</p>'
    rows = [row(plain_words(name), _policy_cells(value), text_cells=1) for name, value in policies.items()]
    return table("Policies and how often each was applied", ["Policy", "Setting", "Applied"], rows, text_columns=2)


def _policy_cells(value: Any) -> list[str]:
    if is_number(value):
        return [DASH, number(value, 0)]
    if not isinstance(value, Mapping):
        return [escape(plain_text(value)), DASH]
    rest = dict(value)
    applied = rest.pop("applied", rest.pop("count", None))
    policy = rest.pop("policy", None)
    words = [] if policy is None else [plain_text(policy)]
    words += [f"{plain_words(str(key))} {plain_text(item)}" for key, item in rest.items()]
    return [escape(", ".join(words)) or DASH, number(applied, 0)]

"""The HTML report: one self-contained page made from a ``BacktestResult``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from plotly.offline import get_plotlyjs

from crypto.result import BacktestResult
from research.report import fee_coins, order_tables, tables
from research.report.drawing import Figure
from research.report.figures import build_figures, points_per_line
from research.report.markup import coloured, key_value_table, synthetic_banner
from research.report.periods import funding_calendar, returns
from research.report.script import SCRIPT
from research.report.style import DARK, LIGHT, style_sheet
from research.report.venue_events import venue_events_table
from research.report.words import (
    DASH,
    day,
    escape,
    instant,
    is_number,
    lookup,
    money,
    number,
    percent,
    share,
    signed_money,
)

# The page may run what it carries and load nothing: a browser refuses every request to the network.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
SECTIONS = (
    ("equity", "Equity"),
    ("attribution", "Attribution"),
    ("returns", "Returns"),
    ("carry", "Basis and carry"),
    ("exposure", "Exposure"),
    ("funding", "Funding"),
    ("trips", "Round trips"),
    ("orders", "Orders"),
    ("data", "Data and policies"),
    ("provenance", "Provenance"),
)


def render(result: BacktestResult) -> str:
    """The report as one HTML page that needs no network and no other file."""
    figures = build_figures(result)
    title = escape(run_name(result))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title} · Carry backtest</title><style>{style_sheet()}</style></head><body>"
        '<a class="skip" href="#main">To the results</a>'
        f'{_header(result)}{_navigation()}<main id="main">{_tiles(result)}{_body(result, figures)}</main>'
        f"{_footer(result)}"
        f'<script type="application/json" id="figures">{script_safe(figure_json(figures))}</script>'
        f'<script type="application/json" id="round-trips">{script_safe(tables.trip_rows(result))}</script>'
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>\n"
    )


def script_safe(text: str) -> str:
    """JSON that can stand inside a script element: no ``<`` can end it or open a comment."""
    return text.replace("<", "\\u003c")


def run_name(result: BacktestResult) -> str:
    """Name of the run from its settings."""
    name = lookup(result.settings, "run", "name")
    return str(name) if name else "carry"


def figure_json(figures: Mapping[str, Figure]) -> str:
    """Both palettes and every figure as the JSON that the page's script reads."""
    drawn = {
        key: {
            "data": figure.data,
            "layout": figure.layout,
            "height": figure.height,
            "time": figure.is_time,
            "choices": figure.choices,
        }
        for key, figure in figures.items()
    }
    return json.dumps({"light": LIGHT, "dark": DARK, "figures": drawn}, allow_nan=False, separators=(",", ":"))


def _header(result: BacktestResult) -> str:
    venues = dict.fromkeys(key.split(":", 1)[0] for key in result.instrument_keys)
    years = result.summary.get("years")
    bars = f"{number(result.summary.get('bars'), 0)} of {result.provenance.get('timeframe', DASH)}"
    facts = {
        "Period": f"{instant(result.time_ms[0])} to {instant(result.time_ms[-1])} UTC",
        "Years": number(years, 2),
        "Bars": bars,
        "Venues": ", ".join(venues) or DASH,
        "Pairs": ", ".join(result.pair_names) or DASH,
        "Account currency": currency(result),
    }
    items = "".join(f"<li>{escape(name)} <b>{escape(value)}</b></li>" for name, value in facts.items())
    is_complete = result.status == "completed"
    word = "completed" if is_complete else "stopped early"
    state = f'<li><span class="status{"" if is_complete else " bad"}">{word}</span></li>'
    return (
        f'<header class="top"><p class="eyebrow">Carry backtest</p><h1>{escape(run_name(result))}</h1>'
        f'<ul class="facts">{items}{state}</ul>{_banners(result)}</header>'
    )


def _banners(result: BacktestResult) -> str:
    banners = ""
    if result.provenance.get("synthetic"):
        banners += synthetic_banner(
            "Prices and rates of this run were generated, not traded. The figures say nothing about any market."
        )
    if result.status != "completed":
        banners += (
            f'<div class="banner bad" role="alert"><strong>The run stopped early:</strong> {escape(result.status)}. '
            "Everything below ends at that instant.</div>"
        )
    return banners


def currency(result: BacktestResult) -> str:
    """Account currency from the settings, a dash when they don't say."""
    return str(lookup(result.settings, "run", "account_currency") or DASH)


def _navigation() -> str:
    links = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in SECTIONS)
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>'


def _tiles(result: BacktestResult) -> str:
    summary = result.summary
    get = summary.get
    funding, fees, slippage = (lookup(summary, "components", name) for name in ("funding", "fees", "slippage"))
    fell = f"{day(get('max_drawdown_start_ms'))} to {day(get('max_drawdown_end_ms'))}"
    orders = f"{number(get('orders'), 0)} orders, {number(get('rejected'), 0)} rejected"
    tiles = (
        ("Net return", coloured(get("net_return"), percent(get("net_return"))), signed_money(get("net_pnl"))),
        ("Annualised return", percent(get("annual_return")), f"over {number(get('years'))} years"),
        ("Volatility", share(get("annual_volatility"), 2), "annualised, 365 days"),
        ("Sharpe ratio", number(get("sharpe")), "annualised, 365 days"),
        ("Largest drawdown", share(get("max_drawdown"), 2), fell),
        ("Equity", money(get("end_equity")), f"from {money(get('start_equity'))}"),
        ("Funding", coloured(funding, signed_money(funding)), "received less paid"),
        ("Fees", coloured(fees, signed_money(fees)), f"{number(get('fills'), 0)} fills"),
        ("Slippage", coloured(slippage, signed_money(slippage)), "against the open"),
        ("Round trips", number(get("round_trips"), 0), orders),
        ("Time in market", share(get("time_in_market")), "of all bars"),
        (
            "Turnover",
            f"{number(get('turnover'))}\u00d7" if is_number(get("turnover")) else DASH,
            "traded value / equity, forced fills too",
        ),
    )
    items = "".join(
        f'<div class="tile"><dt>{name}</dt><dd class="value">{value}</dd><dd class="detail">{escape(detail)}</dd></div>'
        for name, value, detail in tiles
    )
    return f'<dl class="tiles" aria-label="Headline figures, {escape(currency(result))}">{items}</dl>'


def _fee_coins(result: BacktestResult) -> str:
    figures = result.summary.get("fee_coins")
    return card("Fees in the venue's own coin", fee_coins.fee_coin_tables(figures), fee_coins.NOTE) if figures else ""


def _body(result: BacktestResult, figures: Mapping[str, Figure]) -> str:
    calendar = funding_calendar(result.ledger, len(result.pair_names))
    content = {
        "equity": chart(figures["equity"]),
        "attribution": chart(figures["attribution"])
        + card("Totals by pair and component", tables.attribution_table(result), ATTRIBUTION_NOTE)
        + chart(figures["monthly"])
        + chart(figures["pairs"]),
        "returns": card("Monthly and yearly returns", tables.return_table(returns(result.time_ms, result.equity))),
        "carry": chart(figures["basis"]),
        "exposure": chart(figures["exposure"])
        + (chart(figures["distance"]) if "distance" in figures else "")
        + _venue_events(result)
        + chart(figures["wallets"])
        + card("Wallets by component", tables.wallet_table(result)),
        "funding": chart(figures["funding"], _funding_choice(result))
        + card("Funding by month", tables.funding_table(calendar, result.pair_names)),
        "trips": chart(figures["trips"]) + card("Every round trip", tables.trip_table(result), NO_SCRIPT),
        "orders": card("Orders and fills by instrument", order_tables.order_table(result), ORDER_NOTE)
        + _fee_coins(result)
        + f'<div class="two">{card("By intent and status", order_tables.status_table(result))}'
        + f"{card('Why orders did not fill', order_tables.reason_table(result))}</div>",
        "data": card("Policies applied", tables.policy_table(result.policies)) + _data(result.provenance),
        "provenance": _provenance(result),
    }
    return "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{content[key]}</section>'
        for key, title in SECTIONS
    )


ATTRIBUTION_NOTE = (
    "Account currency. Own P&amp;L comes from cash and position values; the residual is what the components leave "
    "unexplained and should be rounding only."
)
ORDER_NOTE = (
    "Traded value is fee over fee rate, so orders without a fee are left out of the averages. Negative basis points "
    "are a cost. Maker: share of orders with fills that rested post-only. A liquidation counts as an order, and its "
    "fee is among the fees; traded value and averages leave it out."
)
EVENT_NOTE = (
    "Value: fee of a liquidation, what the fund paid (+) or kept (\u2212) at a takeover, a guard's measure,"
    " or equity at the kill switch. Limit: the guard's, or the equity peak."
)
NO_SCRIPT = "<noscript>Charts and this table need the page's own script. trips.csv holds every round trip.</noscript>"


def chart(figure: Figure, controls: str = "") -> str:
    """A figure with heading, note and the place where the page's script draws it."""
    note = f"<p>{escape(figure.note)}</p>" if figure.note else ""
    return (
        f"<figure><figcaption><h3>{escape(figure.title)}</h3>{note}</figcaption>{controls}"
        f'<div class="chart" id="figure-{figure.key}" role="img" aria-label="{escape(figure.label)}" '
        f'style="min-height:{figure.height}px"></div></figure>'
    )


def card(title: str, content: str, note: str = "") -> str:
    """A titled box around a table; ``content`` and ``note`` are HTML."""
    below = f'<p class="note">{note}</p>' if note else ""
    return f'<div class="card"><h3>{escape(title)}</h3>{content}{below}</div>'


def _venue_events(result: BacktestResult) -> str:
    listed = venue_events_table(result)
    return card("What the venue and the guards did", listed, EVENT_NOTE) if listed else ""


def _funding_choice(result: BacktestResult) -> str:
    options = "".join(f"<option>{escape(name)}</option>" for name in ("All pairs", *result.pair_names))
    return f'<div class="controls"><label>Shown<select id="funding-pair">{options}</select></label></div>'


def _data(provenance: Mapping[str, Any]) -> str:
    sources = provenance.get("sources") or {}
    notes = provenance.get("notes") or ()
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    found = f'<ul class="notes">{listed}</ul>' if listed else '<p class="note">The data gave no finding.</p>'
    origin = (
        key_value_table("Where each series came from", sources)
        if sources
        else ('<p class="note">The run names no source.</p>')
    )
    return card("Findings in the data", found) + card("Sources", origin)


def _provenance(result: BacktestResult) -> str:
    shown = {key: value for key, value in result.provenance.items() if key not in ("sources", "notes")}
    groups = "".join(_settings_group(name, value) for name, value in result.settings.items())
    settings = groups or '<p class="note">The run holds no settings.</p>'
    return card("Versions, hashes and seed", key_value_table("Provenance", shown)) + card("Settings", settings)


def _settings_group(name: str, value: Any) -> str:
    content = key_value_table(f"Settings of {name}", _as_mapping(name, value))
    return f"<details><summary>{escape(name)}</summary>{content}</details>"


def _as_mapping(name: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping) and value:
        return value
    if isinstance(value, list | tuple) and value:
        return {f"{name}[{index}]": item for index, item in enumerate(value)}
    return {name: value}


def _footer(result: BacktestResult) -> str:
    return (
        f"<footer>Instants are UTC and bars are stamped at their close. Lines show at most {points_per_line(result):,} "
        "points: each stretch keeps its lowest and highest value. The Parquet files beside this page hold every value."
        "</footer>"
    )

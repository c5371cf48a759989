"""The funding page: one self-contained HTML file with figures and tables, made of the frames written beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from plotly.offline import get_plotlyjs

from research.funding.carry import Costs, RankingTest
from research.funding.figures import build_figures, most_telling
from research.funding.history import FundingHistories, FundingHistory
from research.funding.markup import frame_table
from research.funding.script import SCRIPT as TABLE_SCRIPT
from research.report.drawing import Figure
from research.report.markup import key_value_table
from research.report.page import POLICY, card, chart, figure_json, script_safe
from research.report.script import SCRIPT
from research.report.style import style_sheet
from research.report.words import day, escape, number, signed

SECTIONS = (
    ("level", "Level"),
    ("distribution", "Distribution"),
    ("seasonality", "Seasonality"),
    ("persistence", "Persistence"),
    ("venues", "Between venues"),
    ("forecasts", "Forecasts"),
    ("carry", "Net carry"),
    ("screen", "Screener"),
    ("data", "Data and method"),
)
_NAMES = {"venue": "Venue", "symbol": "Contract"}
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
class Study:
    """What the page shows: histories, the frames by name, costs, the ranking test and the word on survivorship."""

    histories: FundingHistories
    tables: Mapping[str, pd.DataFrame]
    costs: Costs
    ranking: RankingTest
    survivorship: str
    settings: Mapping[str, object]


def render(study: Study) -> str:
    """The page as HTML that needs no network and no other file."""
    shown = most_telling(study.histories)
    figures = build_figures(study.histories, shown, study.tables)
    title = "Funding rates"
    links = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name in SECTIONS)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title} · Carry research</title><style>{style_sheet()}</style></head><body>"
        '<a class="skip" href="#main">To the results</a>'
        f'{_header(study)}<nav aria-label="Sections"><ul>{links}</ul></nav>'
        f'<main id="main">{_tiles(study)}{_body(study, figures, shown)}</main>{_footer(study, shown)}'
        f'<script type="application/json" id="figures">{script_safe(figure_json(figures))}</script>'
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script><script>{TABLE_SCRIPT}</script></body></html>\n"
    )


def _header(study: Study) -> str:
    contracts = study.histories.contracts
    venues = dict.fromkeys(contract.key.venue for contract in contracts)
    start = min(int(contract.time_ms[0]) for contract in contracts)
    facts = {
        "Contracts": number(len(contracts), 0),
        "Venues": ", ".join(venues),
        "Settlements": number(sum(len(contract.rate) for contract in contracts), 0),
        "From": day(start),
        "To": day(study.histories.end_ms),
    }
    items = "".join(f"<li>{escape(name)} <b>{escape(value)}</b></li>" for name, value in facts.items())
    banners = f'<div class="banner warn" role="note"><strong>Survivorship.</strong> {escape(study.survivorship)}</div>'
    if study.histories.synthetic:
        banners = (
            '<div class="banner warn" role="note"><strong>SYNTHETIC MARKET.</strong> These rates were generated, not '
            f"settled anywhere. The figures say nothing about any market.</div>{banners}"
        )
    return (
        '<header class="top"><p class="eyebrow">Carry research</p><h1>Funding rates</h1>'
        f'<ul class="facts">{items}</ul>{banners}</header>'
    )


def _tiles(study: Study) -> str:
    screened, summary, lives = (study.tables[name] for name in ("screen", "summary", "persistence"))
    ranking = study.ranking
    profitable = float((screened["net_percent_a_year"] > 0).sum())
    switched = int(summary["intervals_hours"].str.contains(">").sum())
    known = int(screened["net_percent_a_year"].notna().sum())
    tiles = (
        (
            "Median of the means",
            f"{signed(_median(screened['mean_percent_a_year']), 1)} %",
            f"a year, last {study.settings['lookback_days']:g} days",
        ),
        ("Pay after costs", number(profitable, 0), f"of {known} contracts with known costs and rates in those days"),
        ("Hours with a positive rate", f"{number(_median(summary['positive_share_percent_of_hours']), 0)} %", "median"),
        ("Half-life", f"{number(_median(lives['half_life_hours']), 0)} h", "median over contracts and intervals"),
        ("Changed their interval", number(switched, 0), f"of {len(summary)} contracts, within the data"),
        (
            "Ranking persists",
            number(ranking.rank_correlation, 2),
            f"rank correlation of {ranking.days:g} days and the next, {ranking.contracts} contracts",
        ),
    )
    items = "".join(
        f'<div class="tile"><dt>{name}</dt><dd class="value">{value}</dd><dd class="detail">{escape(detail)}</dd></div>'
        for name, value, detail in tiles
    )
    return f'<dl class="tiles" aria-label="Headline figures">{items}</dl>'


def _median(values: pd.Series) -> float:
    known = values.dropna()
    return float(known.median()) if len(known) else float("nan")


def _body(study: Study, figures: Mapping[str, Figure], shown: Sequence[FundingHistory]) -> str:
    content = {
        "level": chart(figures["level"]) + chart(figures["cumulative"]) + _years(study.tables["by_year"], shown),
        "distribution": chart(figures["distribution"]) + _summary(study.tables["summary"]),
        "seasonality": chart(figures["funding"], _choice(shown)) + _seasons(study, shown),
        "persistence": chart(figures["autocorrelation"])
        + _persistence(study.tables["persistence"])
        + chart(figures["runs"])
        + _flips(study.tables["sign_flips"]),
        "venues": (chart(figures["spread"]) if "spread" in figures else "") + _spreads(study.tables["spreads"]),
        "forecasts": chart(figures["forecast"]) + _forecasts(study.tables["forecast_errors"], shown),
        "carry": chart(figures["ranking"]) + _net(study.tables["net_carry"]),
        "screen": chart(figures["universe"]) + _screen(study.tables["screen"]) + _ranking(study.ranking),
        "data": _caps(study.tables["caps"]) + _data(study),
    }
    return "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{content[key]}</section>'
        for key, title in SECTIONS
    )


def _table_card(title: str, frame: pd.DataFrame, heads: Mapping[str, str], note: str = "") -> str:
    """A card with a table that sorts by its headings; long ones can be searched and are cut until unfolded."""
    table = frame_table(title, frame, heads, text=_TEXT, kind="dense sortable")
    if len(frame) <= _ROWS_WITHOUT_CONTROLS:
        return card(title, table.replace("dense sortable", "dense sortable short"), note)
    controls = (
        '<div class="controls"><label>Search<input type="search"></label>'
        '<button type="button" class="page">Show all</button><span class="count"></span></div>'
    )
    return card(title, controls + table, note)


def _of(frame: pd.DataFrame, shown: Sequence[FundingHistory]) -> pd.DataFrame:
    keys = {(item.key.venue, item.key.kind, item.key.symbol) for item in shown}
    triples = zip(frame["venue"], frame["kind"], frame["symbol"], strict=True)
    return frame[[triple in keys for triple in triples]]


def _years(frame: pd.DataFrame, shown: Sequence[FundingHistory]) -> str:
    wide = _of(frame, shown).pivot_table(index=["venue", "symbol"], columns="year", values="funding_percent")
    heads = _NAMES | {f"funding_percent_{year}": str(year) for year in wide.columns}
    wide.columns = [f"funding_percent_{year}" for year in wide.columns]
    note = "Sum of all settlements of the year, % of notional, as a short perp received it. Years in part at both ends."
    return _table_card("Funding by year", wide.reset_index(), heads, note)


def _summary(frame: pd.DataFrame) -> str:
    heads = _NAMES | {
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
    }
    note = (
        "Weighted by the hours that each rate covers. Intervals of the mean: Newey-West on daily sums. They are too "
        "narrow when regimes last for months, as those of funding do."
    )
    return _table_card("Rates over the whole history", frame, heads, note)


def _choice(shown: Sequence[FundingHistory]) -> str:
    options = "".join(f"<option>{escape(contract.name)}</option>" for contract in shown)
    return f'<div class="controls"><label>Shown<select id="funding-pair">{options}</select></label></div>'


def _seasons(study: Study, shown: Sequence[FundingHistory]) -> str:
    means = {
        "observations": "Observations",
        "mean_percent_a_year": "Mean, % a year",
        "mean_low95_percent_a_year": "95 % from",
        "mean_high95_percent_a_year": "95 % to",
    }
    by_hour = _table_card(
        "By hour of settlement, UTC", _of(study.tables["by_hour"], shown), _NAMES | {"hour_utc": "Hour"} | means
    )
    by_day = _table_card("By weekday", _of(study.tables["by_weekday"], shown), _NAMES | {"weekday": "Weekday"} | means)
    note = (
        '<p class="note">Of the contracts that lines are drawn of. With this many means, one in twenty lies outside '
        "its interval by chance.</p>"
    )
    return f'<div class="two">{by_hour}{by_day}</div>{note}'


def _persistence(frame: pd.DataFrame) -> str:
    heads = _NAMES | {
        "interval_hours": "Interval, h",
        "pairs": "Pairs",
        "phi": "Coefficient",
        "phi_low95": "95 % from",
        "phi_high95": "to",
        "half_life_hours": "Half-life, h",
        "half_life_low95_hours": "95 % from",
        "half_life_high95_hours": "to",
    }
    note = (
        "First-order autoregression of settlements that follow each other at one interval; robust (White) intervals. "
        "Where the autocorrelation above falls more slowly than its powers, a slowly moving level lies under it."
    )
    return _table_card("Autoregression and half-life", frame, heads, note)


def _flips(frame: pd.DataFrame) -> str:
    heads = _NAMES | {
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
    }
    words = frame["current_sign"].map({1: "positive", -1: "negative", 0: "zero"})
    return _table_card("Changes of sign", frame.assign(now=words), heads, "Means and medians over complete runs.")


def _spreads(frame: pd.DataFrame) -> str:
    heads = {
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
    }
    if frame.empty:
        return card("Differences between venues", '<p class="note">No base asset is here on two venues at once.</p>')
    note = "First less second per window. Correlation: Fisher's interval with the number of independent windows."
    return _table_card("Differences between venues", frame, heads, note)


def _forecasts(frame: pd.DataFrame, shown: Sequence[FundingHistory]) -> str:
    heads = _NAMES | {
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
    }
    note = "Errors in % a year. Better: how much smaller the mean absolute error is than that of the last rate."
    return _table_card("Errors by method", _of(frame, shown), heads, note)


def _net(frame: pd.DataFrame) -> str:
    heads = _NAMES | {
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
    }
    note = (
        "Holds: entered after every past settlement and kept for the holding period; they overlap, so only about so "
        "many lie apart. Basis moves, borrow and margin are not in it."
    )
    return _table_card("Net carry over the whole history", frame, heads, note)


def _screen(frame: pd.DataFrame) -> str:
    heads = _NAMES | {
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
    }
    note = (
        "Over the last days; half-life and rates at a limit are of the whole history. Best net carry first. Click a "
        "heading to sort."
    )
    return _table_card("Screener", frame, heads, note)


def _ranking(test: RankingTest) -> str:
    if not test.contracts:
        text = f"No contract covers two periods of {test.days:g} days."
        return card("Does a ranking by past funding hold?", f'<p class="note">{text}</p>')
    values = {
        "Contracts that cover both periods": number(test.contracts, 0),
        "Rank correlation of the two periods": number(test.rank_correlation, 2),
        f"Best {test.top_count} of the first period, there": f"{signed(test.top_first_percent_a_year, 1)} % a year",
        "The same contracts in the second period": f"{signed(test.top_second_percent_a_year, 1)} % a year",
        "All contracts in the second period": f"{signed(test.all_second_percent_a_year, 1)} % a year",
    }
    note = f"Two periods of {test.days:g} days, one after the other, at the end of the data. One split of one time."
    return card("Does a ranking by past funding hold?", key_value_table("Ranking test", values), note)


def _caps(frame: pd.DataFrame) -> str:
    heads = _NAMES | {
        "limit_percent": "Rate, %",
        "hits": "Settlements",
        "share_percent_of_settlements": "Share, %",
        "first_utc": "First",
    }
    note = (
        "Extreme rates that were reached twice or are round figures of at least 10 bps. A guess: venues change limits."
    )
    return _table_card("Rates at what looks like the venue's limit", frame, heads, note)


def _data(study: Study) -> str:
    skipped = "".join(f"<li>{escape(name)}: {escape(reason)}</li>" for name, reason in study.histories.skipped)
    sources = dict.fromkeys(contract.source for contract in study.histories.contracts)
    listed = "".join(f"<li>{escape(source)}</li>" for source in sources)
    left_out = f'<ul class="notes">{skipped}</ul>' if skipped else '<p class="note">No contract was left out.</p>'
    return (
        card("Sources", f'<ul class="notes">{listed}</ul>')
        + card("Left out", left_out)
        + card("Settings of this study", key_value_table("Settings", study.settings))
    )


def _footer(study: Study, shown: Sequence[FundingHistory]) -> str:
    total = len(study.histories.contracts)
    which = f"the {len(shown)} contracts with the longest histories" if total > len(shown) else "all contracts"
    lines = f"Lines are drawn of {which}"
    return (
        f"<footer>{lines}. Instants are UTC. Intervals between settlements are read out of each contract's rows. "
        "Annual rates are simple. The CSV and Parquet files beside this page hold every table whole; "
        "docs/specs/funding_research.md has the formulas.</footer>"
    )

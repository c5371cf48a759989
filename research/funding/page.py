"""The funding page: one self-contained HTML file with figures and tables, made of the frames written beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from plotly.offline import get_plotlyjs

from research.funding.carry import Costs, RankingTest
from research.funding.figures import build_figures, most_telling
from research.funding.history import FundingHistories, FundingHistory
from research.funding.page_tables import (
    BY_HOUR,
    BY_WEEKDAY,
    CAPS,
    CONTRACT,
    FORECASTS,
    NET_CARRY,
    PERSISTENCE,
    SCREENER,
    SIGN_FLIPS,
    SPREADS,
    SUMMARY,
    TableText,
    table_card,
)
from research.funding.script import SCRIPT as TABLE_SCRIPT
from research.report.drawing import Figure
from research.report.markup import key_value_table, synthetic_banner
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
        what = "These rates were generated, not settled anywhere. The figures say nothing about any market."
        banners = synthetic_banner(what) + banners
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
        "distribution": chart(figures["distribution"]) + table_card(SUMMARY, study.tables["summary"]),
        "seasonality": chart(figures["funding"], _choice(shown)) + _seasons(study, shown),
        "persistence": chart(figures["autocorrelation"])
        + table_card(PERSISTENCE, study.tables["persistence"])
        + chart(figures["runs"])
        + _flips(study.tables["sign_flips"]),
        "venues": (chart(figures["spread"]) if "spread" in figures else "") + _spreads(study.tables["spreads"]),
        "forecasts": chart(figures["forecast"]) + table_card(FORECASTS, _of(study.tables["forecast_errors"], shown)),
        "carry": chart(figures["ranking"]) + table_card(NET_CARRY, study.tables["net_carry"]),
        "screen": chart(figures["universe"]) + table_card(SCREENER, study.tables["screen"]) + _ranking(study.ranking),
        "data": table_card(CAPS, study.tables["caps"]) + _data(study),
    }
    return "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{content[key]}</section>'
        for key, title in SECTIONS
    )


def _of(frame: pd.DataFrame, shown: Sequence[FundingHistory]) -> pd.DataFrame:
    keys = {(item.key.venue, item.key.kind, item.key.symbol) for item in shown}
    triples = zip(frame["venue"], frame["kind"], frame["symbol"], strict=True)
    return frame[[triple in keys for triple in triples]]


def _years(frame: pd.DataFrame, shown: Sequence[FundingHistory]) -> str:
    wide = _of(frame, shown).pivot_table(index=["venue", "symbol"], columns="year", values="funding_percent")
    heads = CONTRACT | {f"funding_percent_{year}": str(year) for year in wide.columns}
    wide.columns = [f"funding_percent_{year}" for year in wide.columns]
    note = "Sum of all settlements of the year, % of notional, as a short perp received it. Years in part at both ends."
    return table_card(TableText("Funding by year", heads, note), wide.reset_index())


def _choice(shown: Sequence[FundingHistory]) -> str:
    options = "".join(f"<option>{escape(contract.name)}</option>" for contract in shown)
    return f'<div class="controls"><label>Shown<select id="funding-pair">{options}</select></label></div>'


def _seasons(study: Study, shown: Sequence[FundingHistory]) -> str:
    by_hour = table_card(BY_HOUR, _of(study.tables["by_hour"], shown))
    by_day = table_card(BY_WEEKDAY, _of(study.tables["by_weekday"], shown))
    note = (
        '<p class="note">Of the contracts that lines are drawn of. With this many means, one in twenty lies outside '
        "its interval by chance.</p>"
    )
    return f'<div class="two">{by_hour}{by_day}</div>{note}'


def _flips(frame: pd.DataFrame) -> str:
    words = frame["current_sign"].map({1: "positive", -1: "negative", 0: "zero"})
    return table_card(SIGN_FLIPS, frame.assign(now=words))


def _spreads(frame: pd.DataFrame) -> str:
    if frame.empty:
        return card(SPREADS.title, '<p class="note">No base asset is here on two venues at once.</p>')
    return table_card(SPREADS, frame)


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

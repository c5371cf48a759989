"""The HTML page of a study of auto-deleveraging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crypto.adl import LIGHTS
from crypto.adl_waterfall import MONEY, Fate
from research.laboratory.adl_figures import FATE_NAMES, adl_figures
from research.laboratory.adl_study import AdlStudy
from research.laboratory.page import Section, StudyPage, Tile, charts, render_study, side_by_side
from research.report.markup import row, table
from research.report.page import card
from research.report.words import money, number, share, signed_money


def render_adl(study: AdlStudy, provenance: Mapping[str, Any]) -> str:
    """The page of a study, from its result and where its numbers come from."""
    figures = adl_figures(study)
    venue, _, symbol = study.question.tiers.key.split(":")
    sections = (
        Section(
            "waterfall",
            "Waterfall",
            side_by_side(figures["payers"], figures["move"]) + card("Liquidated", _fates(study)),
        ),
        Section(
            "queue",
            "Queue",
            charts([figures["queue"]])
            + f'<div class="two">{charts([figures["lights"]])}{card("By light", _lights(study))}</div>',
        ),
        Section("own", "Our position", charts([figures["own"]])),
        Section("money", "Money", card("Everybody's money at the new mark", _balance(study), BALANCE_NOTE)),
    )
    return render_study(
        StudyPage(
            study="ADL study",
            title=f"{symbol} moves {study.question.shock:+.0%} at once",
            facts=_facts(study, venue),
            warnings=_warnings(provenance),
            tiles=_tiles(study),
            sections=sections,
            figures=tuple(figures.values()),
            notes=_notes(study),
            provenance=provenance,
        )
    )


BALANCE_NOTE = (
    "Accounts are valued at the new mark before anything is settled, and again afterwards. Buyers of forced orders gain"
    " or lose the way from their fill to the mark. The last line has to be 0 to the last millionth."
)


def _warnings(provenance: Mapping[str, Any]) -> list[str]:
    book = "SYNTHETIC BOOK. The other accounts are drawn from a model; no venue shows them."
    if provenance.get("synthetic"):
        return [f"{book} The prices before the move are generated, too."]
    return [book]


def _facts(study: AdlStudy, venue: str) -> dict[str, str]:
    question, population = study.question, study.population
    return {
        "Venue": venue,
        "Open interest": f"{number(question.open_interest, 0)} in {population.lots.size:,} positions",
        "Mark": f"{population.mark_price:,.6g} to {study.outcome.mark_price:,.6g}",
        "Insurance fund": number(question.fund, 0),
        "Losing side": "longs" if study.outcome.side > 0 else "shorts",
    }


def _tiles(study: AdlStudy) -> list[Tile]:
    outcome, balance = study.outcome, study.outcome.balance
    per_lot = study.population.model.unit * outcome.mark_price
    wanted = outcome.wanted_lots * per_lot
    hit = study.by_light[:, 1].sum()
    accounts = study.by_light[:, 0].sum()
    hole = study.fund_paid + study.given_up - balance.uncovered / MONEY
    difference = "0" if balance.difference == 0 else f"{balance.difference:,}"
    return [
        Tile(
            "Liquidated",
            f"{outcome.rows.size:,}",
            f"positions, {share(outcome.rows.size / study.population.lots.size)} of all",
        ),
        Tile("Lost beyond margins", number(hole, 0), "quote units"),
        Tile("Paid by the fund", number(study.fund_paid, 0), f"leaves {number(balance.fund / MONEY, 0)}"),
        Tile("Closed by ADL", number(wanted, 0), "notional of winners"),
        Tile("Winners hit", share(hit / accounts if accounts else 0.0), f"{int(hit):,} of {int(accounts):,} accounts"),
        Tile("Money made or lost", difference, "millionths, over everybody"),
    ]


def _fates(study: AdlStudy) -> str:
    per_lot = study.population.model.unit * study.outcome.mark_price
    rows = []
    for fate in Fate:
        here = study.outcome.fate == fate
        equity = float(study.outcome.equity[here].sum()) / MONEY
        paid = float(study.outcome.fund_paid[here].sum()) / MONEY
        rows.append(
            row(
                FATE_NAMES[fate],
                [number(here.sum(), 0), money(study.lots_of(fate) * per_lot), signed_money(equity), money(paid)],
            )
        )
    head = ["What became of it", "Positions", "Notional", "Equity at its fill", "Fund paid"]
    return table("Liquidated positions by what became of them", head, rows)


def _lights(study: AdlStudy) -> str:
    rows = [
        row(
            f"light {light}",
            [
                number(study.by_light[light, 0], 0),
                number(study.by_light[light, 1], 0),
                share(study.by_light[light, 1] / study.by_light[light, 0]) if study.by_light[light, 0] else share(None),
                share(study.by_light[light, 2]),
            ],
        )
        for light in reversed(range(LIGHTS))
    ]
    return table("Deleveraged by light", ["Light", "Accounts", "Deleveraged", "Of accounts", "Of lots"], rows)


def _balance(study: AdlStudy) -> str:
    balance = study.outcome.balance
    lines = (
        ("Accounts", balance.accounts_before, balance.accounts),
        ("Insurance fund", balance.fund_before, balance.fund),
        ("Buyers of forced orders", 0, balance.book),
        ("Left with the venue", 0, balance.uncovered),
    )
    rows = [
        row(name, [number(before / MONEY), number(after / MONEY), signed_money((after - before) / MONEY)])
        for name, before, after in lines
    ]
    before, after = sum(line[1] for line in lines), sum(line[2] for line in lines)
    total = row(
        "Everybody", [number(before / MONEY), number(after / MONEY), f"{after - before:,} millionths"], kind="total"
    )
    return table("Money before and after, quote units", ["Held by", "Before", "After", "Change"], rows, foot=[total])


def _notes(study: AdlStudy) -> list[str]:
    question = study.question
    book = (
        f"The book: {question.open_interest:,.0f} of open interest on each side, one isolated position an account,"
        f" drawn with seed {question.seed}; leverage as counted on Hyperliquid at the end of 2025; positions are"
        f" {question.mean_age_hours:g} hours old on average, and have from {question.smallest:,.0f} to"
        f" {question.largest:,.0f} of notional; open interest lies in a tier in proportion to the logarithm of its"
        " width, which is a choice."
    )
    move = (
        "The move happens at once. A position is liquidated when the mark passes its liquidation price; its order fills"
        f" {question.liquidity_gap:.0%} of the way from there to the new mark, which is a choice: try several."
    )
    order = (
        "In the order of the move, margins that are left enter the fund where the venue's fund takes them, and deficits"
        " are paid from it. A position that the fund can't carry in full is closed against the queue."
    )
    price = (
        "Closing price: the bankruptcy price, less what the fund paid; the mark at venues that close there, and then"
        " the deficit stays with the venue."
    )
    own = (
        f"Our position has a notional of {question.own_notional:,.0f} at the new mark and margin of entry value over"
        " leverage; it is not part of the book. Of equals we stand last."
    )
    return [book, move, order, price, own, f"Tiers: {question.tiers.source}."]

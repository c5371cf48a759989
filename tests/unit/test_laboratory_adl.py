"""The study of auto-deleveraging on a drawn book."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crypto.adl import adl_rule
from crypto.adl_population import own_outcome, stress
from crypto.adl_waterfall import MONEY, Fate
from crypto.errors import UsageError
from crypto.insurance import Pool, fund_rule, spendable
from crypto.tiers import TierRow, tier_table
from research.laboratory.adl_page import render_adl
from research.laboratory.adl_study import AdlQuestion, AdlStudy, run_adl, tier_usage

ROWS = (
    TierRow(0.0, 50_000.0, 0.005, 100.0),
    TierRow(50_000.0, 600_000.0, 0.01, 50.0),
    TierRow(600_000.0, 5_000_000.0, 0.05, 10.0),
)
TIERS = tier_table("binance:linear:ABUSDT", "USDT", 0, ROWS, "test")
CLOSES = 100.0 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.005, 300)))
QUESTION = AdlQuestion(TIERS, 0.01, -0.2, 20e6, 20e3, 0.3, 72.0, 1_000.0, 1e6, -1, 50_000.0, 3)


@pytest.fixture(scope="module")
def study() -> AdlStudy:
    return run_adl(QUESTION, CLOSES)


def test_every_unit_of_money_is_somewhere(study: AdlStudy) -> None:
    assert study.outcome.balance.difference == 0
    liquidated = sum(study.lots_of(fate) for fate in Fate)
    assert liquidated == np.abs(study.population.lots[study.outcome.rows]).sum()
    assert study.given_up > 0
    assert study.fund_paid >= 20e3 - 1 / MONEY


def test_lights_count_every_winner_once(study: AdlStudy) -> None:
    survivors = int((study.population.lots < 0).sum())
    assert study.by_light[:, 0].sum() == survivors
    assert study.by_light[:, 1].sum() == (study.outcome.closed_lots > 0).sum()
    # The head of the queue goes first: a lower light is never hit more.
    shares = study.by_light[:, 1] / study.by_light[:, 0]
    assert (np.diff(shares) >= 0).all()
    assert shares[4] > 0 == shares[0]


def test_our_own_fate_is_that_of_the_simulators_formula(study: AdlStudy) -> None:
    rule, mark = fund_rule("binance"), study.outcome.mark_price
    result = stress(study.population, mark, fund_balance=20e3, may_spend=spendable(rule, Pool(20e3, 20e3)))
    for row, column in ((8, 7), (5, 3), (10, 10)):
        gain, leverage = study.own.gains[row], study.own.leverages[column]
        entry, lots = mark / (1 - gain), -round(50_000 / (mark * 0.01))
        size = abs(lots) * 0.01
        one = own_outcome(
            study.population, adl_rule("binance"), result, mark,
            lots=lots, entry_price=entry, wallet=size * entry / leverage, maintenance=size * mark * 0.005,
        )  # fmt: skip
        assert study.own.closed[row, column] == pytest.approx(one.closed_lots / abs(lots))
        assert study.own.light[row, column] == one.place.light(adl_rule("binance").light_by)


def test_a_side_that_loses_is_not_deleveraged() -> None:
    found = run_adl(replace(QUESTION, own_side=1), CLOSES)
    assert np.nansum(found.own.closed) == 0
    assert "is on the losing side" in render_adl(found, {"settings": {}})


def test_tiers_outside_the_positions_are_left_out() -> None:
    usage = tier_usage(TIERS, 60_000.0, 1e6)
    assert usage.floor == (60_000.0, 600_000.0)
    assert usage.cap == (600_000.0, 1e6)
    assert usage.open_interest_share[0] == pytest.approx(np.log(10) / np.log(1e6 / 6e4))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"shock": 0.0}, "--shock = 0.0"), ({"shock": -1.0}, "--shock = -1.0"), ({"shock": float("nan")}, "--shock = nan"),
     ({"smallest": 2e6}, "--smallest"), ({"largest": 1e9}, "--largest")],
)  # fmt: skip
def test_questions_out_of_range_are_refused(changes: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(QUESTION, **changes)


def test_the_page_shows_the_waterfall_and_the_check(study: AdlStudy) -> None:
    page = render_adl(study, {"config_hash": "abc123", "settings": {}})
    body = page[: page.index("<script>")]
    for key in ("payers", "move", "queue", "lights", "own"):
        assert f'id="figure-{key}"' in body
    assert "SYNTHETIC BOOK" in body
    assert "0 millionths" in body
    assert "abc123" in body

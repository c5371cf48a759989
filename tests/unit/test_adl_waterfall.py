"""A jump of the mark, settled to the last millionth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.adl import adl_rule
from crypto.adl_population import Population, PopulationModel, TierUsage, draw_population, stress
from crypto.adl_waterfall import MONEY, Fate, run_waterfall
from crypto.errors import DataError
from crypto.insurance import FUND_RULES, Pool, fund_rule, spendable

TIERS = TierUsage(
    floor=(100.0, 5_000.0),
    cap=(5_000.0, 50_000.0),
    max_leverage=(50.0, 20.0),
    maintenance_rate=(0.01, 0.025),
    deduction=(0.0, 75.0),
    open_interest_share=(0.4, 0.6),
)
CLOSES = 100.0 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 200)))


def book(gap: float, seed: int = 1) -> Population:
    return draw_population(PopulationModel(40_000, 0.1, TIERS, liquidity_gap=gap, seed=seed), CLOSES)


def two_accounts(gap: float) -> Population:
    """Long 1 at 100 with a wallet of 10 and 1 % maintenance; short 1 at 100 with 50."""
    model = PopulationModel(1, 1.0, TIERS, liquidity_gap=gap)
    columns = ([100.0, 100.0], [10.0, 50.0], [0.01, 0.01], [0.0, 0.0])
    entry, wallet, rate, deduction = (np.array(column) for column in columns)
    return Population(model, 100.0, np.arange(2), np.array([1, -1]), entry, wallet, rate, deduction)


def test_margin_that_is_left_enters_the_fund() -> None:
    """Liquidated at 90 / 0.99 with equity 0.909090...; the fund takes it."""
    found = run_waterfall(two_accounts(0.0), adl_rule("binance"), fund_rule("binance"), 80.0, 4.0)
    assert found.fate.tolist() == [Fate.SURPLUS]
    assert found.equity.tolist() == [909_091]
    assert found.balance.fund == 4_909_091
    assert found.wanted_lots == 0


def test_the_fund_pays_what_it_has_and_winners_the_rest() -> None:
    """Filled at the mark: equity -10. The fund pays 4; the short is closed at 86 and gives up 6."""
    found = run_waterfall(two_accounts(1.0), adl_rule("binance"), fund_rule("binance"), 80.0, 4.0)
    assert found.fate.tolist() == [Fate.ADL]
    assert found.fund_paid.tolist() == [4 * MONEY]
    assert found.closed_lots.tolist() == [0, 1]
    assert found.given_up.tolist() == [0, 6 * MONEY]
    balance = found.balance
    assert (balance.fund, balance.book, balance.uncovered) == (0, 0, 0)
    # Before: -10 and 70, fund 4. After: the long is at 0, the short at 64.
    assert (balance.accounts_before, balance.accounts) == (60 * MONEY, 64 * MONEY)


def test_where_adl_closes_at_the_mark_the_deficit_stays_with_the_venue() -> None:
    found = run_waterfall(two_accounts(1.0), adl_rule("hyperliquid"), fund_rule("hyperliquid"), 80.0, 4.0)
    assert found.given_up.tolist() == [0, 0]
    assert found.balance.uncovered == -10 * MONEY
    assert found.balance.fund == 4 * MONEY


def test_a_queue_that_is_too_short_leaves_the_rest_with_the_venue() -> None:
    whole = two_accounts(1.0)
    lonely = Population(
        whole.model, 100.0, whole.account, np.array([3, -1]), whole.entry_price, np.array([30.0, 50.0]),
        whole.maintenance_rate, whole.deduction,
    )  # fmt: skip
    found = run_waterfall(lonely, adl_rule("binance"), fund_rule("binance"), 80.0, 0.0)
    assert found.uncovered_lots == 2
    # Closed at 90: each lot is 10 above the mark.
    assert found.given_up.tolist() == [0, 10 * MONEY]
    assert found.balance.uncovered == -20 * MONEY
    assert found.balance.difference == 0


@settings(max_examples=40)
@given(
    venue=st.sampled_from(sorted(FUND_RULES)),
    shock=st.floats(-0.6, 0.9).filter(lambda x: abs(x) > 1e-3),
    gap=st.floats(0.0, 1.0),
    fund=st.floats(0.0, 20_000.0),
    seed=st.integers(0, 5),
)
def test_money_is_conserved_to_the_last_unit(venue: str, shock: float, gap: float, fund: float, seed: int) -> None:
    population = book(gap, seed)
    mark = population.mark_price * (1 + shock)
    found = run_waterfall(population, adl_rule(venue), fund_rule(venue), mark, fund)
    balance = found.balance
    assert balance.difference == 0
    assert balance.fund >= 0
    assert balance.uncovered <= found.rows.size  # rounding of prices to whole millionths a lot
    assert int(found.closed_lots.sum()) + found.uncovered_lots == found.wanted_lots
    # Only winners of the other side are closed, from the head of the queue.
    closed = found.closed_lots > 0
    assert (population.lots[closed] * found.side < 0).all()
    untouched = (found.light >= 0) & ~closed
    if closed.any() and untouched.any():
        assert found.score[closed].min() >= found.score[untouched].max()


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
@pytest.mark.parametrize("shock", [-0.25, 0.25])
def test_sums_agree_with_the_simulators_stress(venue: str, shock: float) -> None:
    population = book(0.4)
    mark, fund, rule = population.mark_price * (1 + shock), 3_000.0, fund_rule(venue)
    found = run_waterfall(population, adl_rule(venue), rule, mark, fund)
    expected = stress(
        population,
        mark,
        fund_balance=fund,
        may_spend=spendable(rule, Pool(fund, fund)),
        keeps_surplus=rule.keeps_surplus,
    )
    assert found.rows.size == expected.liquidated_accounts
    assert found.wanted_lots == expected.adl_lots
    assert found.fund_paid.sum() / MONEY == pytest.approx(expected.fund_paid, abs=1e-3)
    assert found.balance.fund / MONEY == pytest.approx(expected.fund_balance, abs=1e-3)


@pytest.mark.parametrize(
    ("mark", "fund", "words"),
    [
        (float("nan"), 1.0, "mark price nan"),
        (0.0, 1.0, "mark price 0.0"),
        (90.0, -1.0, "insurance fund -1.0"),
        (90.0, float("nan"), "insurance fund nan"),
        (1e14, 0.0, "too large"),
    ],
)
def test_amounts_out_of_range_are_refused(mark: float, fund: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        run_waterfall(book(0.3), adl_rule("binance"), fund_rule("binance"), mark, fund)

"""ADL and insurance numbers that others published, by their ids in the project's list of oracles.

What of A6, A9 and A11 is not a formula of ours stands in docs/specs/adl.md; A11's total is in tests/real.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from crypto.adl import LightBy, adl_rule, bankruptcy_value, close_price, deficit_price, is_solvent_at
from crypto.adl_allocation import deleverage, settle
from crypto.adl_ranking import binance_score, leveraged_pnl_score, lights, queue_order
from crypto.insurance import Pool, Trigger, excess_loss, fund_rule, pnl_ratio, spendable, split_pool_loss, trigger
from crypto.insurance import waterfall as run_waterfall
from crypto.rounding import round_to_tick


def rows(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


# Binance developer forum 17801, quoting the FAQ's formula.
@pytest.mark.parametrize(
    ("unrealised", "wallet", "margin_ratio", "percent", "expected"),
    [pytest.param("40.2", "4.27", "0.1342", "9.41", "1.26", id="A1")],
)
def test_binance_leverage_pnl(unrealised: str, wallet: str, margin_ratio: str, percent: str, expected: str) -> None:
    profit, balance = Fraction(unrealised), Fraction(wallet)
    maintenance = Fraction(margin_ratio) * (profit + balance)
    score = binance_score(profit, balance, maintenance)
    assert float(score) == pytest.approx(float(expected), abs=0.005)
    assert float(score / Fraction(margin_ratio)) == pytest.approx(float(percent), abs=0.005)


# Bybit, GET /v5/market/adlAlert, examples 1 to 3.
@pytest.mark.parametrize(
    ("pool", "ratio", "why", "excess"),
    [
        pytest.param(Pool(1_000_000, 1_000_000, -350_000, 0), -0.35, Trigger.SYMBOL_DRAWDOWN, 50_000, id="A2"),
        pytest.param(Pool(2_000_000, 2_000_000, 400_000, 1_000_000), -0.3, Trigger.SYMBOL_DRAWDOWN, 0, id="A3"),
    ],
)
def test_bybit_symbol_drawdown(pool: Pool, ratio: float, why: Trigger, excess: int) -> None:
    rule = fund_rule("bybit")
    assert pnl_ratio(pool) == ratio
    assert trigger(rule, pool) is why
    assert excess_loss(rule, pool) == excess
    assert spendable(rule, pool) == 0


@pytest.mark.parametrize(
    ("loss", "goes_on"),
    [pytest.param(250_000, True, id="A2-at-the-stop"), pytest.param(249_999, False, id="A2-above-the-stop")],
)
def test_bybit_stops_above_the_stop_ratio(loss: int, goes_on: bool) -> None:
    pool = Pool(750_000, 1_000_000, -loss, 0, is_deleveraging=True)
    assert (trigger(fund_rule("bybit"), pool) is Trigger.SYMBOL_DRAWDOWN) is goes_on


@pytest.mark.parametrize("peak", [pytest.param(1_000_000, id="A4")])
def test_bybit_empty_pool_splits_the_loss_by_symbol(peak: int) -> None:
    # No symbol reaches -30 % of 1M; the four losses sum to the pool. 100 more are lost.
    losses = [-290_000, -260_000, -250_000, -200_000]
    pool = Pool(0, peak, losses[0], 0)
    assert pnl_ratio(pool) > -0.3
    assert trigger(fund_rule("bybit"), pool) is Trigger.FUND_EMPTY
    assert split_pool_loss(100, losses) == (29, 26, 25, 20)
    assert split_pool_loss(100, [*losses, 500_000])[-1] == 0


# BitMEX support, "What is Auto-Deleveraging": six longs; a short of 20 with bankruptcy price 650 is liquidated.
@pytest.mark.parametrize("price", [pytest.param(650, id="A5")])
def test_bitmex_ranking_of_six_longs(price: int) -> None:
    account, lots = rows(1, 2, 3, 4, 5, 6), rows(10, 10, 20, 30, 20, 10)
    score = np.array([3.0, 6.0, 1.0, 4.0, 5.0, 2.0])
    assert account[queue_order(score, account, lots, 1)].tolist() == [2, 5, 4, 1, 6, 3]
    percentile = {1: 80, 2: 20, 3: 100, 4: 60, 5: 40, 6: 80}
    shown = lights(score, account, lots, 1, LightBy.LOTS)
    assert [20 * (5 - int(light)) for light in shown] == [percentile[int(number)] for number in account]
    outcome = deleverage(score, account, lots, bankrupt_side=-1, wanted_lots=20)
    assert outcome.closed_lots.tolist() == [0, 10, 0, 0, 10, 0]
    assert outcome.uncovered_lots == 0
    # The two sell their longs to the short at 650 each.
    assert settle(outcome, -20 * price).values == (-6500, -6500)


@pytest.mark.parametrize(
    ("mark", "entry", "bankrupt", "expected"),
    [
        # Linear values of 1: long 100 -> 110, bankrupt at 90: 10 % x 110 / 20.
        pytest.param(110, 100, 90, Fraction(10, 100) * Fraction(110, 20), id="A5-long-profit"),
        pytest.param(-90, -100, -110, Fraction(10, 100) * Fraction(90, 20), id="A5-short-profit"),
        pytest.param(95, 100, 90, Fraction(-5, 100) / Fraction(95, 5), id="A5-long-loss"),
    ],
)
def test_bitmex_score(mark: int, entry: int, bankrupt: int, expected: Fraction) -> None:
    assert leveraged_pnl_score(Fraction(mark), Fraction(entry), Fraction(bankrupt)) == expected


# Bybit's former help page: 5,000 BTCUSD long at 7,890.08 with 50x.
@pytest.mark.parametrize(("exact", "ticked"), [pytest.param("7735.372549", "7735.50", id="A6")])
def test_bybit_inverse_bankruptcy_price(exact: str, ticked: str) -> None:
    entry_value = -Fraction(5000) / Fraction("7890.08")
    price = -5000 / bankruptcy_value(entry_value, -entry_value / 50)
    assert float(price) == pytest.approx(float(exact), abs=5e-7)
    assert round_to_tick(Decimal(exact), Decimal("0.5"), -1) == Decimal(ticked)


# Third-party copy of Bybit's page (wuyelx): 100 long at 500, position margin 1,000, wallet 100, mark 400.
@pytest.mark.parametrize("expected", [pytest.param(489, id="A7")])
def test_bybit_bankruptcy_price_far_from_mark(expected: int) -> None:
    price = Fraction(bankruptcy_value(100 * 500, 1000 + 100), 100)
    assert price == expected
    rule = adl_rule("bybit")
    assert close_price(rule, float(price), 400.0) == 400.0
    # Within 5 % it stays: 489 against a mark of 470 is 4.04 % off.
    assert close_price(rule, float(price), 470.0) == 489.0


# Ethereal's documentation: 10 ETH long at 4,000, equity -2,000 at a mark of 3,600.
@pytest.mark.parametrize("transfer", [pytest.param(2000, id="A8")])
def test_ethereal_winner_transfers_the_bad_debt(transfer: int) -> None:
    cover = run_waterfall(-2000, 0, 0, 0)
    assert cover.left == transfer
    price = deficit_price(3600.0, cover.left, 10.0)
    outcome = deleverage(np.array([1.0]), rows(7), rows(-10), bankrupt_side=1, wanted_lots=10)
    paid = settle(outcome, 10 * int(price)).values
    assert paid == (10 * 3600 + transfer,)  # the short buys back for 2,000 more than at the mark
    # The long sells for that: bankruptcy value of 40,000 entry and a wallet of 2,000 that was left to lose 4,000.
    assert bankruptcy_value(40_000, 2000) == paid[0]


# dYdX v4, deleveraging_test.go TestProcessDeleveraging: a short of 1 BTC against a long of 1 BTC, oracle price 50,000.
# Net collateral of the short; cash of the long; cash of the long afterwards, None where dYdX refuses.
DYDX = [
    ("4999", "50000", "104999"),
    ("4999", "-45001", "9998"),
    ("4999", "-50000", "4999"),
    ("4999", "-50001", "4998"),
    ("0", "50000", "100000"),
    ("0", "-45001", "4999"),
    ("0", "-50000", "0"),
    ("0", "-50001", None),
    ("-1", "50000", "99999"),
    ("-1", "-45001", "4998"),
    ("-1", "-50000", None),
    ("-1", "-50001", None),
]


@pytest.mark.parametrize(
    ("net", "cash", "expected"), [pytest.param(*case, id=f"A9-{number}") for number, case in enumerate(DYDX, start=1)]
)
def test_dydx_deleveraging_permutations(net: str, cash: str, expected: str | None) -> None:
    oracle = 50_000
    price = -bankruptcy_value(-oracle, int(net))
    assert price == oracle + int(net)
    # Without an entry price, cash counts as the wallet of a position that was entered for nothing.
    assert is_solvent_at(0, price, int(cash)) is (expected is not None)
    if expected is not None:
        outcome = deleverage(np.array([0.0]), rows(1), rows(10), bankrupt_side=-1, wanted_lots=10)
        (received,) = settle(outcome, -price).values
        assert int(cash) - received == int(expected)


@pytest.mark.parametrize("tenth", [pytest.param("5499.9", id="A9-partial")])
def test_dydx_partial_deleveraging(tenth: str) -> None:
    outcome = deleverage(np.array([0.0]), rows(1), rows(10), bankrupt_side=-1, wanted_lots=1)
    assert outcome.closed_lots.tolist() == [1]
    assert settle(outcome, -54_999_000_000 // 10).values == (-int(Decimal(tenth) * 10**6),)


# FLOX, tests/test_liquidation_engine.cpp: long 10 at 100 with equity 50, mark 40.
DEFICIT = -(50 + 10 * (40 - 100))


@pytest.mark.parametrize(("deficit", "fund_after"), [pytest.param(550, 450, id="A10-fund")])
def test_flox_fund_absorbs(deficit: int, fund_after: int) -> None:
    assert deficit == DEFICIT
    cover = run_waterfall(-deficit, 0, 1000, 1000)
    assert (cover.fund_paid, cover.left, cover.balance) == (deficit, 0, fund_after)


@pytest.mark.parametrize("retained", [pytest.param(50, id="A10-adl")])
def test_flox_winner_keeps_what_the_deficit_does_not_need(retained: int) -> None:
    cover = run_waterfall(-DEFICIT, 0, 0, 0)
    # Shorts of 5 and of 10 at 100, equity 100 each: profit over equity is 3 and 6, so the larger goes first.
    outcome = deleverage(np.array([3.0, 6.0]), rows(2, 3), rows(-5, -10), bankrupt_side=1, wanted_lots=10)
    assert outcome.closed_lots.tolist() == [0, 10]
    price = deficit_price(40.0, cover.left, 10.0)
    (paid,) = settle(outcome, int(10 * price)).values
    assert 10 * 100 - paid == retained


@pytest.mark.parametrize("first", [pytest.param(2, id="A10-ties")])
def test_flox_ties_go_to_the_smaller_account(first: int) -> None:
    account = rows(3, 2)
    outcome = deleverage(np.array([6.0, 6.0]), account, rows(-10, -10), bankrupt_side=1, wanted_lots=10)
    assert account[outcome.closed_lots > 0].tolist() == [first]


# dYdX v4, TestGetLiquidationInsuranceFundDelta: 0.1 BTC sold at 5,610, 10 % above its bankruptcy at 5,100.
@pytest.mark.parametrize(
    ("sold", "bankruptcy", "largest_fee", "expected"), [pytest.param("5610", "5100", "0.005", "28.05", id="L19")]
)
def test_a_liquidation_fee_enters_the_fund(sold: str, bankruptcy: str, largest_fee: str, expected: str) -> None:
    """The fee is the largest that the fill allows, and what is left beyond it belongs to the account."""
    equity = Fraction(sold) - Fraction(bankruptcy)
    found = run_waterfall(equity, Fraction(largest_fee) * Fraction(sold), Fraction(0), Fraction(0), keeps_surplus=False)
    assert found.balance == found.fee_paid == Fraction(expected)
    assert found.returned == equity - Fraction(expected)

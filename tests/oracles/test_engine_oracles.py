"""Published examples through the whole engine; ids as in docs/specs/funding.md and the table of oracles.

Where an example gives only a payment, its size, price and rate are what make that payment.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from crypto.errors import DataError
from crypto.ledger import Component, Flow
from crypto.settings import FirstLeg, GracePolicy
from crypto.units import DAY_MS, HOUR_MS
from tests.markets import (
    BTC,
    BTC_INVERSE,
    ETH,
    INVERSE_WALLETS,
    NO_FEES,
    START,
    enter,
    every,
    leave,
    make_settings,
    one_pair,
    rows,
    run_script,
    settlements,
)

XRP = ("binance:spot:XRPUSDT", "binance:linear:XRPUSDT")
FREE = {"override": {**NO_FEES, XRP[0]: {"maker": 0.0, "taker": 0.0}, XRP[1]: {"maker": 0.0, "taker": 0.0}}}


def funding(pair, lots, price, rates, marks, hours, count=20, plan=None, **tables) -> list[float]:
    settings = make_settings([pair], fees=FREE, **tables)
    history = one_pair(pair, price, count, due=settlements(hours, rates, marks))
    result = run_script(settings, history, plan or {1: enter(0, lots)})
    found = result.ledger
    return found[np.isin(found["flow"], [Flow.FUNDING, Flow.FUNDING_GRACE])]["amount"].tolist()


# F1: short of 10 at mark 2.0 and rate 1e-4; 2e-4; mark 2.5
@pytest.mark.parametrize(("rate", "mark", "paid"), [(1e-4, 2.0, 0.002), (2e-4, 2.0, 0.004), (2e-4, 2.5, 0.005)])
def test_f1_a_short_receives_size_times_mark_times_rate(rate, mark, paid) -> None:
    assert funding(XRP, -100, 2.0, [rate], [mark], [8.0]) == pytest.approx([paid], rel=1e-12)


def test_f1_a_missing_mark_is_an_error_and_never_nothing() -> None:
    with pytest.raises(DataError, match="no mark price"):
        funding(XRP, -100, 2.0, [1e-4], [math.nan], [8.0])


# F2: a long of 30 pays 0.0002493 at the first settlement and 0.00066479999 at the second
F2_RATES = [0.0002493 / 30, 0.00066479999 / 30]


def f2(open_after_ms: int, amount: int = 30, close_plan=None) -> list[float]:
    """Payments of a long that arrives ``open_after_ms`` after the instant of the first of two settlements."""
    return funding(
        XRP, amount * 10, 1.0, F2_RATES, [1.0, 1.0], [8.0, 16.0], plan={8: enter(0, amount * 10), **(close_plan or {})},
        funding={"grace": GracePolicy.END_OF_GRACE}, execution={"latency_ms": open_after_ms},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("after_ms", "paid"),
    [
        (0, -0.00091409999),
        (1_000, -0.00091409999),
        (14_999, -0.00091409999),
        (15_000, -0.00066479999),
        (15_001, -0.00066479999),
    ],
)
def test_f2_a_fill_within_fifteen_seconds_still_pays_the_settlement(after_ms, paid) -> None:
    assert sum(f2(after_ms)) == pytest.approx(paid, rel=1e-9)


def test_f2_a_close_just_before_the_second_settlement_pays_only_the_first() -> None:
    # Decided at 15:00, at the venue at 15:59:59; opened at 7:00 with the same delay, before the first settlement.
    paid = funding(
        XRP, 300, 1.0, F2_RATES, [1.0, 1.0], [8.0, 16.0], plan={7: enter(0, 300), 15: leave(0, -300)},
        execution={"latency_ms": HOUR_MS - 1_000},
    )  # fmt: skip
    assert paid == pytest.approx([-0.0002493], rel=1e-9)


def test_f2_payments_are_in_proportion_to_the_amount() -> None:
    assert sum(f2(0, 50)) == pytest.approx(-0.0015235, rel=1e-7)


# F3: long of 1 at 1,000; the boundary is settled once, with the latest rate of 0.001
def test_f3_a_boundary_is_settled_once() -> None:
    assert funding(ETH, 1_000, 1_000.0, [0.001], [1_000.0], [8.0], count=12) == pytest.approx([-1.0], rel=1e-12)
    assert funding(ETH, -1_000, 1_000.0, [0.001], [1_000.0], [8.0], count=12) == pytest.approx([1.0], rel=1e-12)


# F4
@pytest.mark.parametrize(
    ("pair", "lots", "price", "rate", "paid"),
    [
        (BTC, 10_000, 50_000.0, 1e-4, -5.0),
        (ETH, -2_000, 3_000.0, 2e-4, 1.2),
        (BTC, 10_000, 50_000.0, -1e-4, 5.0),
        (ETH, -2_000, 3_000.0, -2e-4, -1.2),
    ],
)
def test_f4_longs_pay_and_shorts_receive_and_a_negative_rate_turns_it(pair, lots, price, rate, paid) -> None:
    assert funding(pair, lots, price, [rate], [price], [8.0]) == pytest.approx([paid], rel=1e-12)


def test_f4_several_boundaries_within_one_bar() -> None:
    settings = make_settings([BTC], fees=FREE)
    history = one_pair(BTC, 50_000.0, 3, due=settlements(every(8, 72), 1e-4, 50_000.0), bar_ms=DAY_MS)
    result = run_script(settings, history, {24: enter(0, 10_000)})
    paid = rows(result, Flow.FUNDING)
    np.testing.assert_allclose(paid["amount"], [-5.0] * 6, rtol=1e-12)
    assert [(stamp - START) // HOUR_MS for stamp in paid["time_ms"]] == [32, 40, 48, 56, 64, 72]


# F5: BTCUSD (coin-margined) of 2020-12-29 and 30, real rates
def test_f5_real_rates_of_an_inverse_contract_in_coin() -> None:
    rates = [0.00020030, 0.00046053, 0.00010000, 0.00015121]
    settings = make_settings([BTC_INVERSE], INVERSE_WALLETS, fees=FREE)
    due = settlements([8.0, 16.0, 24.0, 32.0], rates, 25_000.0)
    # 100 contracts of 100 USD at a mark of 25,000 are 0.4 BTC
    result = run_script(settings, one_pair(BTC_INVERSE, 25_000.0, 33, due=due), {1: enter(0, -100)})
    paid = rows(result, Flow.FUNDING)
    np.testing.assert_allclose(paid["amount"], [8.012e-05, 1.84212e-04, 4.0e-05, 6.0484e-05], rtol=1e-9)


# F8: 60,000 x 1e-4, three days of daily bars: 3 a day x 6 x 3 = 54
def test_f8_daily_bars_get_every_settlement_of_their_days() -> None:
    settings = make_settings([BTC], fees=FREE)
    history = one_pair(BTC, 60_000.0, 4, due=settlements(every(8, 96), 1e-4, 60_000.0), bar_ms=DAY_MS)
    result = run_script(settings, history, {24: enter(100_000, -10_000)})
    assert rows(result, Flow.FUNDING).size == 9
    assert result.attribution[:, 0, Component.FUNDING].sum() == pytest.approx(54.0, rel=1e-12)
    assert result.equity[-1] - result.equity[0] == pytest.approx(54.0, rel=1e-9)


# F9: what a two-leg engine has to show
def test_f9_funding_is_booked_on_the_perp_leg_only_and_only_while_it_is_held() -> None:
    settings = make_settings([BTC], fees=FREE)
    history = one_pair(BTC, 100.0, 30, due=settlements(every(8, 30), 1e-4, 100.0))
    result = run_script(settings, history, {9: enter(1_000_000, -100_000), 17: leave(-1_000_000, 100_000)})
    paid = rows(result, Flow.FUNDING)
    assert [int(leg) for leg in paid["leg"]] == [1]
    assert [(stamp - START) // HOUR_MS for stamp in paid["time_ms"]] == [16]


def test_f9_price_moves_of_the_two_legs_cancel() -> None:
    settings = make_settings([BTC], fees=FREE)
    path = 100.0 * np.exp(np.sin(np.arange(31)) / 10.0)
    result = run_script(settings, one_pair(BTC, path), {3: enter(1_000_000, -100_000)})
    np.testing.assert_allclose(result.equity, 110_000.0, atol=1e-6)


def loan(pair, lots: int, hourly: float, borrow_at: float, repay_at: float | None, lots_back: int = 0) -> float:
    """Interest in coins on a short sale of spot, on bars of five minutes and with no latency."""
    base = pair[0].split(":")[2].removesuffix("USDT")
    borrow = {"enabled": True, "hourly_rate": {"binance": {base: hourly}}}
    execution = {"first_leg": FirstLeg.SPOT, "latency_ms": 0}
    settings = make_settings([pair], fees=FREE, borrow=borrow, execution=execution)
    plan = {borrow_at: enter(-lots, 0)}
    if repay_at is not None:
        plan[repay_at] = leave(lots_back, 0)
    last = 14.5 if repay_at is None else repay_at + 3.0
    history = one_pair(pair, 2.0, round(last * 12), bar_ms=HOUR_MS // 12)
    return -float(rows(run_script(settings, history, plan), Flow.INTEREST)["amount"].sum())


# B1: 1,000 at 0.02% a day from 13:20 to 14:15 are two hours
def test_b1_two_hours_are_charged_from_twenty_past_to_a_quarter_past() -> None:
    paid = loan(XRP, 10_000, 0.0002 / 24, 13 + 20 / 60, 14.25, 10_001)
    assert paid == pytest.approx(0.01666667, abs=1e-8)


# B2: 1,000 at 0.001% an hour from 13:55, now 14:30
def test_b2_interest_accrues_at_borrow_and_at_each_full_hour() -> None:
    assert loan(XRP, 10_000, 1e-5, 13 + 55 / 60, None) == pytest.approx(0.02, rel=1e-12)


# B3: 10 BTC at 0.001% an hour, 9:20 to 10:15 costs one hour beyond the one that the promotion waived, 9:20 to 9:55 none
def test_b3_hours_beyond_the_first() -> None:
    assert loan(BTC, 1_000_000, 1e-5, 9 + 20 / 60, 10.25, 1_000_020) == pytest.approx(0.0001 + 0.0001, rel=1e-9)
    assert loan(BTC, 1_000_000, 1e-5, 9 + 20 / 60, 9 + 55 / 60, 1_000_010) == pytest.approx(0.0 + 0.0001, rel=1e-9)

"""Funding numbers that others published, by their ids in the project's list of oracles.

F6 (premium averaging), F7 (automated market maker) and F10 (live venues) do not touch these formulas; see
docs/specs/funding.md for that and for the parts of F3, F4, F8 and F9 that only the simulator can show.
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from crypto.errors import DataError
from crypto.funding import (
    GRACE_ADVERSE,
    GRACE_END,
    grace_correction,
    payment,
    settlement_calendar,
    settlement_instants,
)
from crypto.sizing import hedged_lots
from crypto.units import DAY_MS, HOUR_MS, parse_iso


def exactly(text: str) -> float:
    return pytest.approx(float(text), rel=1e-12, abs=1e-15)


# freqtrade, tests/exchange, test_calculate_funding_fees: a short of 10, positive = received.
@pytest.mark.parametrize(
    ("rate", "mark", "expected"),
    [
        pytest.param("0.0001", "2.0", "0.002", id="F1-rate-1bp"),
        pytest.param("0.0002", "2.0", "0.004", id="F1-rate-2bp"),
        pytest.param("0.0002", "2.5", "0.005", id="F1-mark-2.5"),
    ],
)
def test_short_receives_a_positive_rate(rate: str, mark: str, expected: str) -> None:
    assert payment(-10.0, float(mark), float(rate)) == exactly(expected)


# The same table's last row books 0.0 for a NaN mark. We don't: a missing mark stays visible until a policy decides.
@pytest.mark.parametrize("mark", [pytest.param("nan", id="F1-missing-mark")])
def test_missing_mark_is_not_a_payment_of_zero(mark: str) -> None:
    assert math.isnan(payment(-10.0, float(mark), float("0.0002")))


# freqtrade, test__fetch_and_calculate_funding_fees: ADA/USDT:USDT, 2021-09-01, mark = open of the hour, rates of 8h.
F2_SETTLEMENTS = (("2021-09-01T00:00:00Z", "2.77", "-0.000008"), ("2021-09-01T08:00:00Z", "2.77", "-0.000003"))
F2_GRACE_MS = 15_000


def funding_while_held(quantity: str, opened: str, closed: str, policy: int, rows: slice = slice(0, 2)) -> float:
    """Settle on what is held before the instant's own fills, then correct for fills in the grace seconds [0, 15 s)."""
    open_ms, close_ms = parse_iso(opened), parse_iso(closed)
    total = 0.0
    for instant, mark, rate in F2_SETTLEMENTS[rows]:
        at, end = parse_iso(instant), parse_iso(instant) + F2_GRACE_MS
        before = float(quantity) if open_ms < at <= close_ms else 0.0
        after = float(quantity) if open_ms < end <= close_ms else 0.0
        total += payment(before, float(mark), float(rate))
        total += grace_correction(before, after, float(mark), float(rate), policy)
    return total


@pytest.mark.parametrize(
    ("rows", "opened", "closed", "amount", "expected"),
    [
        pytest.param(
            slice(0, 2), "2021-09-01T01:00:00Z", "2021-09-01T04:00:00Z", "30", "0", id="F2-between-settlements"
        ),
        pytest.param(slice(0, 2), "2021-09-01T00:00:00Z", "2021-09-01T08:00:00Z", "30", "-0.00091409999", id="F2-both"),
        pytest.param(slice(0, 2), "2021-09-01T00:00:15Z", "2021-09-01T08:00:00Z", "30", "-0.0002493", id="F2-15s-late"),
        pytest.param(
            slice(1, 2), "2021-09-01T01:00:14Z", "2021-09-01T08:00:00Z", "30", "-0.0002493", id="F2-hour-late"
        ),
        pytest.param(slice(1, 2), "2021-09-01T00:00:16Z", "2021-09-01T08:00:00Z", "30", "-0.0002493", id="F2-16s-late"),
        pytest.param(
            slice(0, 1), "2021-09-01T00:00:00Z", "2021-09-01T07:59:59Z", "30", "-0.00066479999", id="F2-close-1s-early"
        ),
        pytest.param(
            slice(0, 2), "2021-09-01T00:00:00Z", "2021-09-01T12:00:00Z", "30", "-0.00091409999", id="F2-close-later"
        ),
        pytest.param(
            slice(0, 2), "2021-09-01T00:00:01Z", "2021-09-01T08:00:00Z", "30", "-0.00091409999", id="F2-1s-late"
        ),
        pytest.param(
            slice(0, 2), "2021-08-31T23:58:00Z", "2021-09-01T08:00:00Z", "30", "-0.00091409999", id="F2-open-earlier"
        ),
        pytest.param(
            slice(0, 2), "2021-09-01T00:10:01Z", "2021-09-01T08:00:00Z", "30", "-0.0002493", id="F2-10-minutes-late"
        ),
        pytest.param(
            slice(0, 2), "2021-09-01T00:00:00Z", "2021-09-01T08:00:00Z", "50", "-0.0015235", id="F2-amount-50"
        ),
    ],
)
def test_short_pays_what_is_due_at_both_edges(
    rows: slice, opened: str, closed: str, amount: str, expected: str
) -> None:
    """The published table books both edges; for a position that pays, the adverse policy is that rule."""
    received = funding_while_held(f"-{amount}", opened, closed, GRACE_ADVERSE, rows)
    # The table prints 0.00091409999 for 0.0009141, hence its own tolerance of one part in a million.
    assert received == pytest.approx(float(expected), rel=1e-6, abs=1e-15)


@pytest.mark.parametrize("policy", [pytest.param(GRACE_ADVERSE, id="F2-long-adverse")])
def test_long_gets_no_credit_for_fills_in_the_grace_seconds(policy: int) -> None:
    """The published table mirrors the long (+0.00091409999); the adverse policy gives it neither edge."""
    assert funding_while_held("30", "2021-09-01T00:00:00Z", "2021-09-01T08:00:00Z", policy) == 0.0


@pytest.mark.parametrize("policy", [pytest.param(GRACE_END, id="F2-end-of-grace")])
def test_end_of_grace_counts_the_entry_and_not_the_exit(policy: int) -> None:
    received = funding_while_held("30", "2021-09-01T00:00:01Z", "2021-09-01T08:00:00Z", policy)
    assert received == exactly("0.0006648")


# nautilus_trader, crates/backtest/tests/exchange.rs: 1 ETH at 1,000.
@pytest.mark.parametrize(
    ("quantity", "bid", "ask", "rate", "expected"),
    [
        pytest.param("1", "1000", "1000", "0.001", "-1", id="F3-long"),
        pytest.param("-1", "999", "1001", "0.001", "1", id="F3-short-at-mid"),
    ],
)
def test_one_eth_at_one_per_mille(quantity: str, bid: str, ask: str, rate: str, expected: str) -> None:
    mark = (float(bid) + float(ask)) / 2
    assert payment(float(quantity), mark, float(rate)) == exactly(expected)


@pytest.mark.parametrize("second_stamp_ms", [pytest.param(HOUR_MS * 8 + 3, id="F3-two-rates-for-one-boundary")])
def test_two_rates_for_one_boundary_are_refused(second_stamp_ms: int) -> None:
    """Nautilus uses the later rate. History should hold one row per settlement, so we ask instead of choosing."""
    with pytest.raises(DataError, match=r"row 1: .* already settled"):
        settlement_instants(np.array([HOUR_MS * 8, second_stamp_ms]), 60_000)


# FLOX, tests/test_funding_schedule.cpp.
@pytest.mark.parametrize(
    ("quantity", "mark", "rate", "expected"),
    [
        pytest.param("1", "50000", "0.0001", "-5.0", id="F4-long"),
        pytest.param("-2", "3000", "0.0002", "1.2", id="F4-short"),
        pytest.param("1", "50000", "-0.0001", "5.0", id="F4-negative-rate-long"),
        pytest.param("-2", "3000", "-0.0002", "-1.2", id="F4-negative-rate-short"),
    ],
)
def test_sign_follows_side_and_rate(quantity: str, mark: str, rate: str, expected: str) -> None:
    assert payment(float(quantity), float(mark), float(rate)) == exactly(expected)


# QuantConnect Lean, Data/cryptofuture/{binance,bybit}/margin_interest: real rates, 8 hours apart.
@pytest.mark.parametrize(
    ("start", "rates"),
    [
        pytest.param(
            "2020-12-29T00:00:00Z", ("0.00020030", "0.00046053", "0.00010000", "0.00015121"), id="F5-binance-btcusd"
        ),
        pytest.param("2022-12-13T00:00:00Z", ("-0.0002016", "-0.00022398", "-0.00038555"), id="F5-bybit-btcusdt"),
    ],
)
def test_real_rates_add_up_on_a_notional_of_one(start: str, rates: tuple[str, ...]) -> None:
    stamps = parse_iso(start) + 8 * HOUR_MS * np.arange(len(rates))
    calendar = settlement_calendar(settlement_instants(stamps, 0))
    assert calendar.interval_hours.tolist() == [8.0] * len(rates)
    received = sum(payment(-1.0, 1.0, float(rate)) for rate in rates)
    assert received == exactly(str(sum(Decimal(rate) for rate in rates)))


# Vibe-Trading pull request 1307: 1 contract at 60,000, 1e-4 per 8 hours, 3 days: 3 a day x 6 x 3.
@pytest.mark.parametrize(("mark", "rate", "expected"), [pytest.param("60000", "0.0001", "54", id="F8")])
def test_three_settlements_a_day_for_three_days(mark: str, rate: str, expected: str) -> None:
    instants = np.arange(8 * HOUR_MS, 3 * DAY_MS + 1, 8 * HOUR_MS)
    calendar = settlement_calendar(instants)
    assert [(segment.interval_hours, segment.count) for segment in calendar.segments] == [(8.0, 9)]
    assert sum(payment(-1.0, float(mark), float(rate)) for _ in instants) == exactly(expected)


# go-trader, backtest/tests/test_carry_pair.py, the parts of its checklist that are formulas.
@pytest.mark.parametrize("price_after", [pytest.param("41000", id="F9-price-up"), pytest.param("23000", id="F9-down")])
def test_price_move_cancels_between_the_legs(price_after: str) -> None:
    spot_lots, perp_lots = hedged_lots(1.0, 0.001, 1, 0.00001, 0.0)
    spot, perp = Decimal(spot_lots) * Decimal("0.00001"), -Decimal(perp_lots) * Decimal("0.001")
    move = Decimal(price_after) - Decimal(30000)
    assert spot * move + perp * move == 0


@pytest.mark.parametrize("spot_quantity", [pytest.param("0.9", id="F9-spot-below"), pytest.param("1.1", id="F9-above")])
def test_funding_is_booked_on_the_perp_leg_only(spot_quantity: str) -> None:
    """With legs of different size, funding is 1 x 30,000 x 1e-4 whatever the spot holds."""
    assert float(spot_quantity) != 1.0
    assert payment(-1.0, 30000.0, 1e-4) == exactly("3")

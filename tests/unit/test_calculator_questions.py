"""Worked ADL, size, borrow and funding: published numbers by their ids, and hand arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest

from crypto.errors import RefusedError, UsageError
from crypto.instruments import Kind
from crypto.units import parse_iso
from crypto.venues import registry
from crypto.worked.adl import answer_adl
from crypto.worked.adl_queue import AdlQuestion, lot_size, parse_others
from crypto.worked.borrow import BorrowQuestion, answer_borrow
from crypto.worked.contracts import AccountQuestion, TierChoice
from crypto.worked.funding import FundingQuestion, answer_funding
from crypto.worked.inputs import parse_position, parse_tiers
from crypto.worked.size import SizeQuestion, answer_size

# --- ADL ------------------------------------------------------------------------------------------------------------


def adl_question(venue: str, position: str, mark: float, wallet: float, **given: Any) -> AdlQuestion:
    held, kind = parse_position(position), given.pop("kind", Kind.LINEAR)
    lot = lot_size(venue, kind, held.symbol, given.pop("lot", None))
    tier = given.pop("tier", None)
    tiers = None
    if tier is not None:
        tiers = AccountQuestion(venue, kind, (held,), {held.symbol: mark}, {}, TierChoice(parse_tiers([tier])))
    return AdlQuestion(venue, kind, held, mark, wallet, lot, tiers, **given)


def test_a1_binance_score() -> None:
    """Profit 40.2, wallet 4.27, margin ratio 13.42%: the rate is what gives that ratio on a notional of 140.2."""
    rate = 0.1342 * (40.2 + 4.27) / 140.2
    found = answer_adl(adl_question("binance", "ABUSDT:long:1@100", 140.2, 4.27, lot=1, tier=f"ABUSDT={rate!r}")).values
    assert found["score"] == pytest.approx(1.26, abs=0.005)
    assert (found["light"], found["accounts"]) == (0, 1)


def test_a6_bybit_inverse_bankruptcy_price() -> None:
    wallet = 5_000 / 7_890.08 / 50
    question = adl_question("bybit", "BTCUSD:long:5000@7890.08", 7_900, wallet, kind=Kind.INVERSE)
    assert answer_adl(question).values["bankruptcy_price"] == pytest.approx(7_735.372549, abs=5e-7)


@pytest.mark.parametrize(
    ("mark", "closing"), [pytest.param(400, 400, id="A7-far-from-mark"), pytest.param(470, 489, id="A7-near")]
)
def test_a7_bybit_bankruptcy_price(mark: float, closing: float) -> None:
    found = answer_adl(adl_question("bybit", "ABCUSDT:long:100@500", mark, 1_100, lot=1)).values
    assert (found["bankruptcy_price"], found["closing_price_if_bankrupt"]) == (489, closing)


def test_a8_winner_transfers_the_deficit() -> None:
    """10 ETH long at 4,000 with equity -2,000 at 3,600: the short closes at 3,800 and gives up 2,000."""
    question = adl_question(
        "binance",
        "ETHUSDT:short:10@4000",
        3_600,
        4_000,
        tier="ETHUSDT=0.01",
        deficit=2_000,
        bankrupt_quantity=10,
    )
    found = answer_adl(question).values["deficit"]
    assert (found["price"], found["closed_of_ours"], found["given_up_by_us"]) == (3_800, 10, 2_000)
    assert found["uncovered"] == 0


@pytest.mark.parametrize(
    ("ours", "other", "closed", "given_up"),
    [
        pytest.param("10@100", "5@100/100", 10, 550, id="A10-larger-goes-first"),
        pytest.param("5@100", "10@100/100", 0, 0, id="A10-smaller-is-not-touched"),
        pytest.param("10@100", "10@100/100", 0, 0, id="A10-of-equals-we-stand-last"),
    ],
)
def test_a10_deficit_of_550(ours: str, other: str, closed: float, given_up: float) -> None:
    """Long 10 at 100 with a wallet of 50 at a mark of 40; of its 600 the short of 10 keeps 50."""
    question = adl_question(
        "binance",
        f"ABUSDT:short:{ours}",
        40,
        100,
        lot=1,
        tier="ABUSDT=0.01",
        others=parse_others([other]),
        deficit=550,
        bankrupt_quantity=10,
    )
    answer = answer_adl(question)
    found = answer.values["deficit"]
    assert (found["price"], found["closed_of_ours"], found["given_up_by_us"]) == (95, closed, given_up)
    assert sum(found["given_up_by_others"]) + found["given_up_by_us"] == 550
    assert answer.values["light"] == (2 if closed else 0)


def test_a_queue_that_is_too_short_leaves_the_rest() -> None:
    question = adl_question(
        "binance", "ABUSDT:short:4@100", 40, 100, lot=1, tier="ABUSDT=0.01", deficit=550, bankrupt_quantity=10
    )
    found = answer_adl(question).values["deficit"]
    assert (found["closed_of_ours"], found["given_up_by_us"]) == (4, 220)
    assert (found["uncovered"], found["loss_uncovered"]) == (6, 330)


def test_an_inverse_deficit() -> None:
    """1,000 USD bankrupt long at a mark of 100 and 2 coins short: 1 / (1/100 - 2/1,000) = 125."""
    question = adl_question(
        "bybit",
        "XUSD:short:1000@200",
        100,
        10,
        kind=Kind.INVERSE,
        lot=1,
        deficit=2,
        bankrupt_quantity=1_000,
    )
    found = answer_adl(question).values["deficit"]
    assert found["price_that_carries_it"] == pytest.approx(125)
    assert found["price"] == 100  # more than 5% away
    assert found["given_up_by_us"] == 0


def test_hyperliquid_closes_at_the_mark() -> None:
    question = adl_question("hyperliquid", "ABC:short:10@100", 40, 100, lot=1, deficit=550, bankrupt_quantity=10)
    answer = answer_adl(question)
    # 40/100 x 400/700
    assert answer.values["score"] == pytest.approx(0.4 * 400 / 700)
    found = answer.values["deficit"]
    assert (found["price"], found["closed_of_ours"], found["given_up_by_us"]) == (40, 10, 0)


def test_adl_refuses() -> None:
    with pytest.raises(UsageError, match="--bankrupt is missing"):
        adl_question("bybit", "ABC:short:10@100", 40, 100, lot=1, deficit=550)
    with pytest.raises(UsageError, match=r"--position: 10.5 is not a whole number of lots of 1"):
        answer_adl(adl_question("bybit", "ABC:short:10.5@100", 40, 100, lot=1))
    with pytest.raises(UsageError, match="--lot is missing"):
        adl_question("bybit", "ABC:short:10@100", 40, 100)
    with pytest.raises(RefusedError, match="--deficit = 500 is more than a position of --bankrupt = 10"):
        answer_adl(adl_question("bybit", "ABC:long:10@30", 40, 100, lot=1, deficit=500, bankrupt_quantity=10))
    with pytest.raises(UsageError, match="--taker is missing"):
        answer_adl(adl_question("okx", "ABC:long:10@30", 40, 100, lot=1, tier="ABC=0.01"))
    with pytest.raises(UsageError, match="--other '5@100' is not of the form"):
        parse_others(["5@100"])


# --- size -----------------------------------------------------------------------------------------------------------


def size_question(spot: str, perp: str, price: float, **given: Any) -> SizeQuestion:
    pair = registry.pair(f"binance:spot:{spot}", f"binance:{perp}", {})
    return SizeQuestion(pair, price, given.pop("perp_price", price), **given)


def test_b7_capital_that_reaches_the_smallest_order() -> None:
    """The smallest hedge of DOGE at 1 costs 5 + 5 without fees: 10 / (0.3 x 0.015)."""
    question = size_question("DOGEUSDT", "linear:DOGEUSDT", 1.0, target=100, deploy=0.3, weight=0.015)
    found = answer_size(question).values
    assert found["smallest_hedge"]["cost"] == 10
    assert round(found["minimum_capital"], 2) == 2_222.22


def test_lots_of_both_legs() -> None:
    """0.1234 BTC with a fee of 0.1% in base: perp 1,234 lots of 0.0001; 0.1234 / 0.999 is 0.12352352..."""
    question = size_question(
        "BTCUSDT", "linear:BTCUSDT", 60_000, target=0.12345, spot_fee=0.001, fee_in_base=True, leverage=3
    )
    found = answer_size(question).values
    assert (found["perp"]["lots"], found["spot"]["lots"]) == (1_234, 12_353)
    assert found["residual_base"] == pytest.approx(float(Fraction("0.12353") * Fraction("0.999") - Fraction("0.1234")))
    assert found["spot"]["order_quantity"] == "0.12353"


@pytest.mark.parametrize("price", [20_000.0, 60_000.0, 99_999.9])
@pytest.mark.parametrize("perp", ["linear:BTCUSDT", "inverse:BTCUSD"])
def test_the_smallest_hedge_is_the_smallest(perp: str, price: float) -> None:
    """Try perp lots from 1 up by hand until both venues' filters let both legs through."""
    question = size_question("BTCUSDT", perp, price, capital=1e5, spot_fee=0.001, fee_in_base=True)
    lots = 1
    while True:
        base = lots * (Fraction(1, 10_000) if "linear" in perp else 100 / Fraction(repr(price)))
        spot_lots = math.ceil(base / (Fraction(1, 100_000) * Fraction("0.999")))
        spot_value = spot_lots * Fraction(repr(price)) / 100_000
        if spot_value >= 5 and ("inverse" in perp or base * Fraction(repr(price)) >= 100):
            break
        lots += 1
    smallest = answer_size(question).values["smallest_hedge"]
    assert (smallest["perp_lots"], smallest["spot_lots"]) == (lots, spot_lots)


def test_a_capital_is_used_and_not_exceeded() -> None:
    question = size_question("BTCUSDT", "linear:BTCUSDT", 60_000, capital=10_000, leverage=2)
    answer = answer_size(question)
    # One more perp lot and its spot cost 6 + 3.
    assert answer.values["cost"] <= 10_000 < answer.values["cost"] + 9
    exactly = size_question("DOGEUSDT", "linear:DOGEUSDT", 1.0, capital=200)
    assert answer_size(exactly).values["perp"]["lots"] == 100


def test_a_multiplied_perp() -> None:
    question = size_question("PEPEUSDT", "linear:1000PEPEUSDT", 0.00001, perp_price=0.01, target=3_999_999)
    found = answer_size(question).values
    assert (found["perp"]["lots"], found["spot"]["lots"]) == (3_999, 3_999_000)


def test_size_refuses() -> None:
    with pytest.raises(RefusedError, match=r"--target = 0.001 gives 10 perp lots .* smallest notional") as caught:
        answer_size(size_question("BTCUSDT", "linear:BTCUSDT", 60_000, target=0.001))
    assert "0.0017 BTC" in caught.value.remedy
    with pytest.raises(UsageError, match="--target and --capital are both missing"):
        size_question("BTCUSDT", "linear:BTCUSDT", 60_000)
    with pytest.raises(UsageError, match="--target and --capital are both given"):
        size_question("BTCUSDT", "linear:BTCUSDT", 60_000, target=1, capital=1)
    with pytest.raises(UsageError, match="--deploy = 1.5"):
        size_question("BTCUSDT", "linear:BTCUSDT", 60_000, target=1, deploy=1.5)
    with pytest.raises(UsageError, match="--leverage = 0.5 is below 1"):
        size_question("BTCUSDT", "linear:BTCUSDT", 60_000, target=1, leverage=0.5)
    with pytest.raises(UsageError, match="too many lots"):
        answer_size(size_question("BTCUSDT", "linear:BTCUSDT", 1e-15, target=1))


# --- borrow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "rate", "period", "start", "until", "free", "hours", "expected"),
    [
        pytest.param(1_000, 0.0002, 24, "13:20", "14:15", 0, 2, 0.01666667, id="B1"),
        pytest.param(1_000, 0.00001, 1, "13:55", "14:30", 0, 2, 0.02, id="B2"),
        pytest.param(10, 0.00001, 1, "09:20", "10:15", 1, 2, 0.0001, id="B3-user-A"),
        pytest.param(10, 0.00001, 1, "09:20", "09:55", 1, 1, 0.0, id="B3-user-B"),
    ],
)
def test_binance_interest(
    amount: float, rate: float, period: int, start: str, until: str, free: int, hours: int, expected: float
) -> None:
    day = "2023-12-04T"
    question = BorrowQuestion(
        "binance", "USDT", amount, rate, period, parse_iso(day + start), parse_iso(day + until), free
    )
    found = answer_borrow(question).values
    assert found["hours_charged"] == hours
    assert found["interest"] == pytest.approx(expected, abs=5e-9)


@pytest.mark.parametrize(
    ("start", "until", "charges", "owed"),
    [("13:04", "14:30", ["13:05", "14:05"], "1000.0200001"), ("13:06", "14:04", [], "1000")],
)
def test_bybit_charges_at_five_past_and_compounds(start: str, until: str, charges: list[str], owed: str) -> None:
    day = "2024-10-18T"
    question = BorrowQuestion("bybit", "USDT", 1_000, 0.00001, 1, parse_iso(day + start), parse_iso(day + until))
    found = answer_borrow(question).values
    assert found["charged_at"] == [f"{day}{charge}:00Z" for charge in charges]
    assert found["owed"] == pytest.approx(float(owed), rel=1e-15)


def test_borrow_refuses() -> None:
    early, late = parse_iso("2024-01-01"), parse_iso("2024-01-02")
    with pytest.raises(UsageError, match="--until = 2024-01-01T00:00:00Z is before --from"):
        BorrowQuestion("binance", "USDT", 1.0, 0.1, 1, late, early)
    with pytest.raises(UsageError, match="--venue = 'okx' is unknown"):
        BorrowQuestion("okx", "USDT", 1.0, 0.1, 1, early, late)
    with pytest.raises(UsageError, match="--free-hours = -1"):
        BorrowQuestion("binance", "USDT", 1.0, 0.1, 1, early, late, -1)
    with pytest.raises(UsageError, match="more than ten years"):
        BorrowQuestion("binance", "USDT", 1.0, 0.1, 1, early, parse_iso("2044-01-01"))


# --- funding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "mark", "rate", "expected"),
    [
        pytest.param(1, 50_000, 0.0001, -5.0, id="F4-long"),
        pytest.param(-2, 3_000, 0.0002, 1.2, id="F4-short"),
        pytest.param(1, 50_000, -0.0001, 5.0, id="F4-negative-rate"),
    ],
)
def test_funding_payment(quantity: float, mark: float, rate: float, expected: float) -> None:
    answer = answer_funding(FundingQuestion(Kind.LINEAR, quantity, mark, rate, 8))
    assert answer.values["payment"] == pytest.approx(expected)


def test_f8_three_days() -> None:
    found = answer_funding(FundingQuestion(Kind.LINEAR, -1, 60_000, 0.0001, 8, hours=72)).values
    assert (found["settlements"], found["total"]) == (9, pytest.approx(54))
    assert found["annual_rate"] == pytest.approx(0.1095)


def test_funding_in_coin() -> None:
    """10,000 USD long at 50,000: -(0.2) x 0.0001."""
    found = answer_funding(FundingQuestion(Kind.INVERSE, 10_000, 50_000, 0.0001, 8)).values
    assert found["payment"] == pytest.approx(-0.00002)


@pytest.mark.parametrize(
    ("quantity", "rate", "cost", "hours", "settlements"),
    [
        (-1, 0.0001, 0.003, 240, 30),
        (-1, 0.0001, 0.0007, 56, 7),  # 0.0007 / 0.0001 is more than 7 in binary
        (-1, 0.0002, 0.0007, 28, 4),
        (1, 0.0001, 0.003, None, None),
        (1, 0.0, 0.003, None, None),
        (1, 0.0001, 0.0, 0, 0),
    ],
)
def test_break_even(quantity: float, rate: float, cost: float, hours: float | None, settlements: int | None) -> None:
    found = answer_funding(FundingQuestion(Kind.LINEAR, quantity, 100, rate, 8, cost)).values
    assert found["break_even_hours"] == (None if hours is None else pytest.approx(hours))
    assert found["break_even_settlements"] == settlements


def test_a_rate_in_per_cent_is_refused() -> None:
    with pytest.raises(UsageError, match="--rate = 1.0 is not a fraction"):
        FundingQuestion(Kind.LINEAR, 1, 100, 1.0, 8)

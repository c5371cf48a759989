from __future__ import annotations

from decimal import Decimal, Inexact
from fractions import Fraction

import pytest

from crypto.errors import RefusedError
from crypto.instruments import Instrument, Kind
from crypto.rounding import JointStep, floor_lots, joint_step, order_text, round_to_tick


def instrument(kind: Kind, lot: str, multiplier: str = "1") -> Instrument:
    return Instrument(
        venue="binance",
        kind=kind,
        symbol="X",
        base="X",
        quote="USDT",
        tick=Decimal("0.01"),
        lot=Decimal(lot),
        min_quantity=Decimal(lot),
        min_notional=Decimal(5),
        multiplier=Decimal(multiplier),
    )


@pytest.mark.parametrize(
    ("price", "tick", "side", "expected"),
    [
        ("50000.17", "0.1", 1, "50000.1"),
        ("50000.17", "0.1", -1, "50000.2"),
        ("50000.1", "0.1", 1, "50000.1"),
        ("50000.1", "0.1", -1, "50000.1"),
        ("0.00001234", "0.00000005", -1, "0.00001235"),
        ("7", "5", 1, "5"),
    ],
)
def test_a_limit_is_never_worse_than_asked(price: str, tick: str, side: int, expected: str) -> None:
    assert round_to_tick(Decimal(price), Decimal(tick), side) == Decimal(expected)


def test_sides_and_ticks_are_checked() -> None:
    with pytest.raises(ValueError, match="side"):
        round_to_tick(Decimal(1), Decimal(1), 0)
    with pytest.raises(ValueError, match="tick 0 is not positive"):
        round_to_tick(Decimal(1), Decimal(0), 1)


@pytest.mark.parametrize(
    ("quantity", "lot", "lots"), [("0.3", "0.1", 3), ("0.29999999", "0.1", 2), ("0", "0.1", 0), ("1999", "1000", 1)]
)
def test_whole_lots(quantity: str, lot: str, lots: int) -> None:
    assert floor_lots(Decimal(quantity), Decimal(lot)) == lots


def test_lots_of_a_negative_quantity_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        floor_lots(Decimal("-0.3"), Decimal("0.1"))
    with pytest.raises(ValueError, match="lot -1 is not positive"):
        floor_lots(Decimal(1), Decimal(-1))


@pytest.mark.parametrize(
    ("lots", "lot", "text"),
    [
        (1, "0.00000001", "0.00000001"),
        (3, "1E+3", "3000"),
        (1500, "0.001", "1.500"),
        (10**20, "1E-8", "1000000000000.00000000"),
        (0, "0.001", "0.000"),
    ],
)
def test_order_text_is_plain(lots: int, lot: str, text: str) -> None:
    assert order_text(lots, Decimal(lot)) == text


def test_order_text_is_exact_or_an_error() -> None:
    with pytest.raises(Inexact):
        order_text(10**60 + 1, Decimal("1." + "0" * 50 + "1"))


@pytest.mark.parametrize(
    ("spot_lot", "perp_lot", "multiplier", "expected"),
    [
        ("0.00001", "0.001", "1", JointStep(Fraction(1, 1000), 100, 1)),
        ("0.1", "0.1", "1", JointStep(Fraction(1, 10), 1, 1)),
        # 1000PEPE: one contract is 1,000 PEPE; the spot lot is 1 PEPE.
        ("1", "1", "1000", JointStep(Fraction(1000), 1000, 1)),
        ("0.4", "0.6", "1", JointStep(Fraction(6, 5), 3, 2)),
        ("10", "0.001", "1", JointStep(Fraction(10), 1, 10_000)),
    ],
)
def test_joint_step_of_linear_pairs(spot_lot: str, perp_lot: str, multiplier: str, expected: JointStep) -> None:
    assert joint_step(instrument(Kind.SPOT, spot_lot), instrument(Kind.LINEAR, perp_lot, multiplier)) == expected


def test_joint_step_of_an_inverse_perp_moves_with_the_price() -> None:
    assert joint_step(instrument(Kind.SPOT, "0.00001"), instrument(Kind.INVERSE, "1", "100")) == JointStep(
        Fraction(0), 0, 1
    )


@pytest.mark.parametrize(("lot", "multiplier"), [("0", "1"), ("-1", "1"), ("1", "0"), ("-1", "-1"), ("NaN", "1")])
def test_lots_that_are_not_positive_are_refused_by_key(lot: str, multiplier: str) -> None:
    with pytest.raises(RefusedError) as refused:
        joint_step(instrument(Kind.SPOT, "1"), instrument(Kind.LINEAR, lot, multiplier))
    assert refused.value.message.startswith("binance:linear:X: lot")

"""Liquidation prices on generated tiers and positions: put back, stepped up to, mirrored, continuous."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from crypto.liquidation import ALWAYS, inverse_bounds, linear_bounds, price_bounds
from crypto.liquidation_cross import CrossAccount
from crypto.margin import Position, collateral_value, maintenance, position
from crypto.tiers import TierRow, TierTable, deductions, tier_index, tier_table


@st.composite
def ladders(draw: st.DrawFn) -> tuple[list[Fraction], list[Fraction], list[Fraction]]:
    """Floors, rates and deductions of 1 to 8 tiers, exact."""
    count = draw(st.integers(1, 8))
    steps = draw(st.lists(st.integers(1, 10**6), min_size=count - 1, max_size=count - 1))
    rates = draw(st.lists(st.integers(1, 60), min_size=count, max_size=count, unique=True))
    floors = [Fraction(0)]
    for step in steps:
        floors.append(floors[-1] + step)
    exact = [Fraction(rate, 100) for rate in sorted(rates)]
    return floors, exact, deductions(floors, exact)


amounts = st.fractions(Fraction(-(10**6)), Fraction(10**6), max_denominator=1000)
positive = st.fractions(Fraction(1, 1000), Fraction(10**6), max_denominator=1000)
sides = st.sampled_from([1, -1])
fees = st.sampled_from([Fraction(0), Fraction(6, 10_000)])


def slice_by_slice(notional: Fraction, ladder: tuple) -> Fraction:
    """Maintenance margin by the plain definition: each slice of notional at its own rate."""
    floors, rates, _ = ladder
    needed = Fraction(0)
    for index, rate in enumerate(rates):
        upper = floors[index + 1] if index + 1 < len(floors) else notional
        needed += max(Fraction(0), min(notional, upper) - floors[index]) * rate
    return needed


def surplus(cash: Fraction, slope: Fraction, size: Fraction, fee: Fraction, price: Fraction, ladder: tuple) -> Fraction:
    """Equity less maintenance and the fee of closing."""
    return cash + slope * price - slice_by_slice(size * price, ladder) - fee * size * price


@given(ladders())
def test_margin_is_continuous_and_rising_at_every_border(ladder: tuple) -> None:
    floors, rates, built = ladder
    for index, floor in enumerate(floors[1:], start=1):
        assert floor * rates[index] - built[index] == floor * rates[index - 1] - built[index - 1]
        assert tier_index(floor, floors) == index - 1
        assert tier_index(floor + Fraction(1, 10**9), floors) == index
    margins = [maintenance(Fraction(notional), *ladder) for notional in range(0, 10**6, 50_000)]
    assert all(before < after for before, after in pairwise(margins))


@given(ladders(), amounts, amounts, positive, fees)
def test_put_back_the_surplus_is_exactly_zero(
    ladder: tuple, cash: Fraction, slope: Fraction, size: Fraction, fee: Fraction
) -> None:
    """Exact arithmetic: equity equals the maintenance margin that is valid at the price, and changes sign there."""
    found = price_bounds(cash, slope, size, fee, *ladder)
    ends = [end for end in found[:2] if isinstance(end, Fraction)]
    for end in ends:
        assert end > 0
        assert surplus(cash, slope, size, fee, end, ladder) == 0
    probes = [Fraction(1, 10**9), *[floor / size for floor in ladder[0][1:]], Fraction(10**15)]
    probes += [end * factor for end in ends for factor in (Fraction(999, 1000), Fraction(1001, 1000))]
    for price in probes:
        is_safe = surplus(cash, slope, size, fee, price, ladder) > 0
        inside = found.status != ALWAYS
        inside = inside and (not isinstance(found.lower, Fraction) or price > found.lower)
        inside = inside and (not isinstance(found.upper, Fraction) or price < found.upper)
        assert is_safe == inside


@given(ladders(), sides, positive, positive, st.integers(1, 100), fees)
def test_linear_position_put_back(
    ladder: tuple, side: int, size: Fraction, entry: Fraction, leverage: int, fee: Fraction
) -> None:
    quantity = side * size
    margin = size * entry / leverage
    found = linear_bounds(margin - quantity * entry, quantity, fee, *ladder)
    end = found.lower if side > 0 else found.upper
    assert math.isnan(found.upper if side > 0 else found.lower)
    if isinstance(end, Fraction):
        equity = margin + quantity * (end - entry)
        assert equity == slice_by_slice(size * end, ladder) + fee * size * end
    else:
        assert side > 0
        assert leverage == 1


@given(ladders(), sides, positive, positive, st.integers(1, 100))
def test_inverse_position_put_back(ladder: tuple, side: int, size: Fraction, entry: Fraction, leverage: int) -> None:
    value = side * size
    margin = size / entry / leverage
    found = inverse_bounds(margin + value / entry, value, Fraction(0), *ladder)
    end = found.lower if side > 0 else found.upper
    if isinstance(end, Fraction):
        assert margin + value / entry - value / end == slice_by_slice(size / end, ladder)
    else:
        assert side < 0
        assert leverage == 1


@given(ladders(), sides, positive, positive, st.integers(2, 100))
def test_inverse_is_the_mirror_of_linear(
    ladder: tuple, side: int, size: Fraction, entry: Fraction, leverage: int
) -> None:
    """A long of value V at e is a short of V at 1/e when 1/price is the price."""
    margin = size * entry / leverage
    linear = linear_bounds(margin - side * size * entry, side * size, Fraction(0), *ladder)
    inverse = inverse_bounds(margin - side * size * entry, -side * size, Fraction(0), *ladder)
    assert (inverse.upper if side > 0 else inverse.lower) == 1 / (linear.lower if side > 0 else linear.upper)


@given(ladders(), positive, positive, st.integers(2, 100))
def test_long_and_short_mirror_around_entry_in_equity(
    ladder: tuple, size: Fraction, entry: Fraction, leverage: int
) -> None:
    """What each may lose is its margin less the maintenance at its own price."""
    margin = size * entry / leverage
    long = linear_bounds(margin - size * entry, size, Fraction(0), *ladder).lower
    short = linear_bounds(margin + size * entry, -size, Fraction(0), *ladder).upper
    assert size * (entry - long) == margin - slice_by_slice(size * long, ladder)
    assert size * (short - entry) == margin - slice_by_slice(size * short, ladder)


@given(ladders(), sides, st.integers(2, 50), st.integers(1, 2_000))
def test_stepping_the_price_finds_it(ladder: tuple, side: int, leverage: int, size: int) -> None:
    """Brute force: walk from entry against the position in steps of 0.1% until equity is not above maintenance."""
    entry = Fraction(100)
    quantity, step = Fraction(side * size), Fraction(1, 10)
    margin = abs(quantity) * entry / leverage
    cash = margin - quantity * entry
    assume(surplus(cash, quantity, abs(quantity), Fraction(0), entry, ladder) > 0)
    price = entry
    while surplus(cash, quantity, abs(quantity), Fraction(0), price, ladder) > 0:
        price -= side * step
    found = linear_bounds(cash, quantity, Fraction(0), *ladder)
    end = found.lower if side > 0 else found.upper
    assert min(price, price + side * step) <= end <= max(price, price + side * step)


def table_of(ladder: tuple, name: str) -> TierTable:
    floors, rates, _ = ladder
    caps = [*floors[1:], math.inf]
    rows = [TierRow(float(f), float(c), float(r), 1.0) for f, c, r in zip(floors, caps, rates, strict=True)]
    return tier_table(f"x:linear:{name}", "B", 0, rows, "generated")


@given(ladders(), st.data())
def test_cross_and_hedge_put_back(ladder: tuple, data: st.DataObject) -> None:
    """Whole accounts in floats: move one contract's mark to its end, value the account anew, compare."""
    sizes = st.floats(0.5, 1e4)
    prices = st.floats(10, 1000)
    table, other = table_of(ladder, "AB"), table_of(ladder, "CB")
    mark = data.draw(prices)
    held = [
        position(table, data.draw(sizes), data.draw(prices), mark),
        position(table, -data.draw(sizes), data.draw(prices), mark),
        position(other, data.draw(sides) * data.draw(sizes), data.draw(prices), data.draw(prices)),
    ]
    moving = {"x:linear:AB": data.draw(st.floats(0, 1e4))}
    account = CrossAccount(data.draw(st.floats(1, 1e7)), tuple(held), data.draw(st.sampled_from([0.0, 6e-4])), moving)
    found = account.bounds("x:linear:AB")
    for end in (found.lower, found.upper):
        if math.isnan(end) or not 1e-3 < end < 1e9:
            continue
        there = tuple(
            Position(item.tiers, item.kind, item.quantity, item.entry_price, end, 1.0) if item.tiers is table else item
            for item in held
        )
        equity = account.wallet + moving["x:linear:AB"] * end
        equity += sum(item.quantity * (item.mark_price - item.entry_price) for item in there)
        notionals = [abs(item.quantity) * item.mark_price for item in there]
        needed = sum(float(slice_by_slice(Fraction(notional), ladder)) for notional in notionals)
        needed += account.closing_fee * sum(notionals)
        scale = account.wallet + sum(abs(item.quantity) * max(item.entry_price, item.mark_price) for item in there)
        scale += moving["x:linear:AB"] * end
        assert abs(equity - needed) <= 1e-9 * scale


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_collateral_is_never_worth_less(ratios: list[float], less: float, more: float) -> None:
    floors = np.arange(len(ratios)) * 1e5
    low, high = sorted((less, more))
    falling = np.sort(ratios)[::-1]
    assert collateral_value(low, 2.0, floors, falling) <= collateral_value(high, 2.0, floors, falling) * (1 + 1e-12)
    assert collateral_value(high, 2.0, floors, falling) <= high * 2.0 * (1 + 1e-12)

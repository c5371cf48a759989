"""Liquidation and bankruptcy prices of one contract, by the tier valid there. Spec: docs/specs/liquidation.md.

All formulas are for linear contracts. An inverse contract of quote value V entered at e is a linear one of quantity -V
entered at 1/e when 1/price is read as the price; functions with ``inverse`` in their name do so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crypto.compiled import jit, kernel
from crypto.errors import InsolventError, UsageError
from crypto.instruments import Kind
from crypto.margin import Position, require_positive
from crypto.market import Floats, Integers
from crypto.tiers import TierTable

FOUND = 0
NEVER = 1
ALWAYS = 2


class Bounds(NamedTuple):
    """Range of prices in which the account keeps its maintenance margin: it is liquidated at and outside both ends.

    NaN: there is no such end. ``status``: ``FOUND`` (at least one end), ``NEVER`` (no price liquidates), ``ALWAYS``
    (every price does; both ends are NaN).
    """

    lower: float
    upper: float
    status: int


@kernel
def price_bounds(
    cash: float, slope: float, size: float, closing_fee: float, floor: Floats, rate: Floats, deduction: Floats
) -> Bounds:
    """Solve cash + slope x P = maintenance(size x P) + closing_fee x size x P for P > 0, each tier on its own ground.

    ``cash``: equity at a price of 0 less the maintenance margin of other positions. ``slope``: change of equity per
    unit of price (signed quantity, plus collateral after haircut that moves with the price). ``size`` (> 0): base
    units that the tier is chosen by. The surplus is concave in P, so there are at most two solutions.
    """
    lower = math.nan
    upper = math.nan
    surplus = cash + deduction[0]
    best = surplus
    last = len(floor) - 1
    for index in range(last + 1):
        incline = slope - size * (rate[index] + closing_fee)
        level = cash + deduction[index]
        if index < last:
            following = level + incline * (floor[index + 1] / size)
            rises_through = surplus < 0 and following >= 0
            falls_through = surplus >= 0 and following < 0
        else:
            following = surplus
            rises_through = surplus < 0 and incline > 0
            falls_through = surplus >= 0 and incline < 0
            if incline > 0:
                best = max(best, 1)
        if rises_through:
            lower = -level / incline
        if falls_through:
            upper = -level / incline
        best = max(best, following)
        surplus = following
    if not best > 0:
        return Bounds(math.nan, math.nan, ALWAYS)
    if lower == lower or upper == upper:
        return Bounds(lower, upper, FOUND)
    return Bounds(lower, upper, NEVER)


@kernel
def cash_linear(
    wallet: float, other_unrealised: float, other_maintenance: float, quantity: float, entry_price: float
) -> float:
    """Equity at a price of 0 less maintenance of other positions; isolated margin: its wallet, and 0 for the others."""
    return wallet + other_unrealised - other_maintenance - quantity * entry_price


@kernel
def cash_inverse(
    wallet: float, other_unrealised: float, other_maintenance: float, value_quote: float, entry_price: float
) -> float:
    """The same in coin for an inverse contract, at an infinite price; ``value_quote`` is signed."""
    return wallet + other_unrealised - other_maintenance + value_quote / entry_price


@kernel
def linear_bounds(
    cash: float, quantity: float, closing_fee: float, floor: Floats, rate: Floats, deduction: Floats
) -> Bounds:
    """Bounds of a linear position (signed ``quantity``, not 0): a long has a lower end only, a short an upper one."""
    return price_bounds(cash, quantity, abs(quantity), closing_fee, floor, rate, deduction)


@kernel
def inverse_bounds(
    cash: float, value_quote: float, closing_fee: float, floor: Floats, rate: Floats, deduction: Floats
) -> Bounds:
    """Bounds of an inverse position (signed ``value_quote``, not 0), ``cash`` from ``cash_inverse``."""
    found = price_bounds(cash, -value_quote, abs(value_quote), closing_fee, floor, rate, deduction)
    return reciprocal(found)


@kernel
def reciprocal(found: Bounds) -> Bounds:
    """Bounds of 1/price turned into bounds of the price."""
    lower = 1 / found.upper if found.upper == found.upper else math.nan
    upper = 1 / found.lower if found.lower == found.lower else math.nan
    return Bounds(lower, upper, found.status)


@kernel
def bankruptcy_linear(cash: float, quantity: float, closing_fee: float) -> float:
    """Price at which equity after the closing fee is 0; not positive means that no fall bankrupts.

    ``cash`` as from ``cash_linear`` without maintenance of others, ``quantity`` signed.
    """
    return -cash / (quantity - closing_fee * abs(quantity))


@kernel
def bankruptcy_inverse(cash: float, value_quote: float, closing_fee: float) -> float:
    """The same for an inverse position, ``cash`` from ``cash_inverse``; NaN when no rise bankrupts a short."""
    remaining = cash / (value_quote + closing_fee * abs(value_quote))
    return 1 / remaining if remaining > 0 else math.nan


@kernel
def price_with_fixed_maintenance_linear(quantity: float, entry_price: float, margin: float, needed: float) -> float:
    """Price at which ``margin`` plus unrealised profit equals ``needed``, a maintenance margin fixed in advance.

    This is the venues' older rule (maintenance of the entry value, at any price). ``quantity`` is signed.
    """
    return entry_price - (margin - needed) / quantity


@kernel
def price_with_fixed_maintenance_inverse(value_quote: float, entry_price: float, margin: float, needed: float) -> float:
    """The same for an inverse position; margins in coin. NaN when no rise of the price liquidates a short."""
    at_price = value_quote / entry_price + margin - needed
    price = value_quote / at_price if at_price != 0 else math.nan
    return price if price > 0 else math.nan


@kernel
def margin_without_closing_fee(initial: float, extra: float, taker: float, side: int) -> float:
    """What of ``initial`` (fee to close excluded) and ``extra`` margin is left when the fee to close is held back.

    Bybit: the fee is that of closing at the bankruptcy price, which extra margin moves. ``side``: +1 long, -1 short
    for linear contracts; for inverse ones the opposite sign.
    """
    return initial + extra / (1 - side * taker)


@kernel
def bankruptcy_value_of_part(
    change_of_notional: float, equity: float, maintenance_of_part: float, maintenance_total: float
) -> float:
    """Quote amount at which a part of a cross account's positions is closed when the account shares its equity by risk.

    dYdX: -change - equity x part's maintenance / total. ``change_of_notional`` is signed (closing a long is negative);
    the result is what the closing receives, negative when it pays.
    """
    return -change_of_notional - equity * maintenance_of_part / maintenance_total


@kernel
def hyperliquid_price(price: float, side: int, margin_available: float, size: float, rate: float) -> float:
    """Hyperliquid's form: price - side x available / size / (1 - rate x side).

    ``margin_available`` = account value less maintenance margin at ``price``, ``rate`` the tier's maintenance rate.
    Equal to ``linear_bounds`` as long as the tier is the same at ``price`` and at the result.
    """
    return price - side * margin_available / size / (1 - rate * side)


class TierColumns(NamedTuple):
    """Columns of many tier tables one after the other: table t owns rows ``start[t]`` to ``start[t + 1]``."""

    start: Integers
    floor: Floats
    rate: Floats
    deduction: Floats


class BoundsColumns(NamedTuple):
    """``Bounds`` of many positions, each column of shape (n,)."""

    lower: Floats
    upper: Floats
    status: Integers


def tier_columns(tables: Sequence[TierTable]) -> TierColumns:
    """The tables' columns joined, for compiled code."""
    lengths = [len(table.floor) for table in tables]
    return TierColumns(
        np.cumsum([0, *lengths]).astype(np.int64),
        np.concatenate([table.floor for table in tables]),
        np.concatenate([table.rate for table in tables]),
        np.concatenate([table.deduction for table in tables]),
    )


@jit
def bounds_loop(
    cash: Floats,
    quantity: Floats,
    is_inverse: NDArray[np.bool_],
    closing_fee: Floats,
    table: Integers,
    tiers: TierColumns,
    out: BoundsColumns,
) -> None:
    """``linear_bounds`` or ``inverse_bounds`` of n positions into ``out``. Input, all of shape (n,), is not checked.

    ``table[i]`` is the index of position i's tier table in ``tiers``.
    """
    for i in range(len(cash)):
        begin, end = tiers.start[table[i]], tiers.start[table[i] + 1]
        solve = price_bounds(
            cash[i],
            -quantity[i] if is_inverse[i] else quantity[i],
            abs(quantity[i]),
            closing_fee[i],
            tiers.floor[begin:end],
            tiers.rate[begin:end],
            tiers.deduction[begin:end],
        )
        found = reciprocal(solve) if is_inverse[i] else solve
        out.lower[i], out.upper[i], out.status[i] = found.lower, found.upper, found.status


def bounds_of_many(
    cash: Floats,
    quantity: Floats,
    is_inverse: NDArray[np.bool_],
    closing_fee: Floats,
    table: Integers,
    tiers: TierColumns,
) -> BoundsColumns:
    """``bounds_loop`` with its input checked and its output made: bounds of n positions.

    ``UsageError`` names the first position whose cash, quantity or fee is not a number, whose quantity is 0, whose fee
    is negative or too large, or whose table does not exist.
    """
    count = len(tiers.start) - 1
    columns = (cash, quantity, is_inverse, closing_fee, table)
    if any(column.shape != cash.shape or column.ndim != 1 for column in columns):
        raise UsageError("columns of positions differ in length", remedy="give one value per position in each")
    _refuse(~np.isfinite(cash), "cash", cash)
    _refuse(~np.isfinite(quantity) | (quantity == 0), "quantity", quantity)
    _refuse((table < 0) | (table >= count), "table", table)
    highest = tiers.rate[tiers.start[1:] - 1][table]
    _refuse(~((closing_fee >= 0) & (closing_fee + highest < 1)), "closing fee", closing_fee)
    found = BoundsColumns(np.empty(cash.size), np.empty(cash.size), np.empty(cash.size, np.int64))
    bounds_loop(cash, quantity, is_inverse, closing_fee, table, tiers, found)
    return found


def _refuse(wrong: NDArray[np.bool_], name: str, values: NDArray[np.generic]) -> None:
    if wrong.any():
        at = int(np.argmax(wrong))
        raise UsageError(f"position {at}: {name} = {values[at]} is out of range", remedy="correct or leave it out")


class LiquidationRange(NamedTuple):
    """Prices at and beyond which an account is liquidated by one contract; None where no such price exists."""

    lower: float | None
    upper: float | None

    def nearest(self, mark_price: float) -> float | None:
        """The end that is nearer to ``mark_price`` by ratio, None when nothing liquidates."""
        ends = [end for end in (self.lower, self.upper) if end is not None]
        return min(ends, key=lambda end: abs(math.log(end / mark_price)), default=None)


def as_range(found: Bounds, name: str) -> LiquidationRange:
    """Ends as plain prices. ``InsolventError`` naming ``name`` when every price liquidates."""
    if found.status == ALWAYS:
        raise InsolventError(
            f"{name}: margin is below maintenance at every price", remedy="add margin, or reduce the position"
        )
    return LiquidationRange(
        None if math.isnan(found.lower) else found.lower, None if math.isnan(found.upper) else found.upper
    )


def isolated_range(position: Position, margin: float, closing_fee: float = 0.0) -> LiquidationRange:
    """Liquidation price of an isolated position with ``margin`` (> 0, in its margin asset) on it.

    ``closing_fee``: fee rate that the venue adds to the maintenance rate. ``UsageError`` for a margin that is not
    positive or a fee out of range; ``InsolventError`` when the margin is too small at every price.
    """
    require_positive(f"{position.tiers.key}: margin", margin)
    check_fee(position.tiers, closing_fee)
    tiers = position.tiers
    build, solve = (cash_linear, linear_bounds) if position.kind is Kind.LINEAR else (cash_inverse, inverse_bounds)
    cash = build(margin, 0.0, 0.0, position.quantity, position.entry_price)
    found = solve(cash, position.quantity, closing_fee, tiers.floor, tiers.rate, tiers.deduction)
    return as_range(found, f"{tiers.key} isolated with {margin:,.12g} {tiers.currency}")


def isolated_bankruptcy(position: Position, margin: float, closing_fee: float = 0.0) -> float | None:
    """Price at which an isolated position has used its whole ``margin`` (> 0); None when no price does."""
    require_positive(f"{position.tiers.key}: margin", margin)
    check_fee(position.tiers, closing_fee)
    if position.kind is Kind.LINEAR:
        cash = cash_linear(margin, 0.0, 0.0, position.quantity, position.entry_price)
        price = bankruptcy_linear(cash, position.quantity, closing_fee)
    else:
        cash = cash_inverse(margin, 0.0, 0.0, position.quantity, position.entry_price)
        price = bankruptcy_inverse(cash, position.quantity, closing_fee)
    return price if price > 0 else None


def check_fee(tiers: TierTable, closing_fee: float) -> None:
    """``UsageError`` when the fee rate is negative, not a number, or 1 and more with the highest maintenance rate."""
    if not (closing_fee >= 0 and closing_fee + tiers.rate[-1] < 1):
        raise UsageError(
            f"{tiers.key}: closing fee = {closing_fee} is out of range", remedy="give a fraction such as 0.0005"
        )

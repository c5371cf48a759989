"""Initial and maintenance margin, collateral after haircuts, risk of an account. Spec: docs/specs/margin.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from crypto.compiled import kernel
from crypto.errors import UsageError
from crypto.instruments import Kind
from crypto.market import Floats
from crypto.tiers import TierTable, check_leverage, tier_index, tier_of


@kernel
def notional_linear(quantity: float, price: float) -> float:
    """Notional (>= 0) in quote units of ``quantity`` base units (signed)."""
    return abs(quantity) * price


@kernel
def notional_inverse(value_quote: float, price: float) -> float:
    """Notional (>= 0) in coin of ``value_quote`` = contracts x contract value (signed); ``price`` > 0."""
    return abs(value_quote) / price


@kernel
def unrealised_linear(quantity: float, entry_price: float, mark_price: float) -> float:
    """Unrealised profit in quote units of ``quantity`` base units (long positive)."""
    return quantity * (mark_price - entry_price)


@kernel
def unrealised_inverse(value_quote: float, entry_price: float, mark_price: float) -> float:
    """Unrealised profit in coin of ``value_quote`` (long positive); both prices > 0."""
    return value_quote / entry_price - value_quote / mark_price


@kernel
def initial_margin(notional: float, leverage: float) -> float:
    """Initial margin of a notional (>= 0) at ``leverage`` (>= 1), in the unit of the notional."""
    return notional / leverage


@kernel
def maintenance(notional: float, floor: Floats, rate: Floats, deduction: Floats) -> float:
    """Maintenance margin of a notional (>= 0): notional x rate - deduction of its tier; the last tier has no end."""
    index = tier_index(notional, floor)
    margin: float = notional * rate[index] - deduction[index]
    return margin


@kernel
def is_liquidatable(equity: float, maintenance_margin: float, at_equality: bool) -> bool:
    """Whether equity no longer carries the maintenance margin. ``at_equality``: whether equal already counts.

    Without maintenance margin there is no position to liquidate, whatever the equity.
    """
    if not maintenance_margin > 0:
        return False
    return equity < maintenance_margin or (at_equality and equity == maintenance_margin)


@kernel
def worst_notional(position: float, buy_orders: float, sell_orders: float) -> float:
    """Largest notional the position can reach when all orders of one side fill.

    ``position`` is signed notional at mark, ``buy_orders`` and ``sell_orders`` the notionals (>= 0) of open orders.
    """
    return max(abs(position + buy_orders), abs(position - sell_orders))


@kernel
def open_loss(side: int, quantity: float, order_price: float, mark_price: float) -> float:
    """Loss (>= 0) of an order of ``side`` (+1 buy, -1 sell) for ``quantity`` (> 0) at mark, were it filled."""
    return max(0.0, side * quantity * (order_price - mark_price))


@kernel
def order_reserve(position: float, buy_orders: float, sell_orders: float, leverage: float) -> float:
    """Initial margin (>= 0) that open orders reserve beyond what the position has; notionals as in ``worst_notional``.

    Orders that only reduce the position reserve nothing.
    """
    beyond = worst_notional(position, buy_orders, sell_orders) - abs(position)
    return initial_margin(max(0.0, beyond), leverage)


@kernel
def collateral_value(quantity: float, price: float, floor: Floats, ratio: Floats) -> float:
    """Value of a collateral asset after its haircut, in the unit of ``price``.

    ``ratio[i]`` counts for the part of ``quantity`` between ``floor[i]`` and the next floor (asset units, first 0), so
    a larger holding never has a smaller value. A debt (negative quantity) counts in full.
    """
    if quantity <= 0:
        return quantity * price
    counted = 0 * quantity
    for index in range(len(floor)):
        upper = quantity if index == len(floor) - 1 else min(quantity, floor[index + 1])
        if upper > floor[index]:
            counted = counted + (upper - floor[index]) * ratio[index]
    return counted * price


def joint_cut(alone: Iterable[float]) -> float:
    """Fraction by which several positions shrink together to free what each alone would free by its own fraction.

    Position i of margin m frees s by the fraction f = s / m (0 < f <= 1); together they need s / sum(m), 1 / sum(1/f).
    """
    return 1.0 / math.fsum(1.0 / fraction for fraction in alone)


@dataclass(frozen=True, slots=True)
class Position:
    """One open contract of an account.

    ``quantity``: signed base units (linear) or signed quote value = contracts x contract value (inverse). ``leverage``
    is what the user chose, for the initial margin. Prices are of one base unit. ``position`` builds it with checks.
    """

    tiers: TierTable
    kind: Kind
    quantity: float
    entry_price: float
    mark_price: float
    leverage: float

    @property
    def notional(self) -> float:
        """Notional at mark (>= 0): quote units for a linear contract, coin for an inverse one."""
        measure = notional_inverse if self.kind is Kind.INVERSE else notional_linear
        return measure(self.quantity, self.mark_price)

    @property
    def unrealised(self) -> float:
        """Unrealised profit at mark: quote units for a linear contract, coin for an inverse one."""
        measure = unrealised_inverse if self.kind is Kind.INVERSE else unrealised_linear
        return measure(self.quantity, self.entry_price, self.mark_price)

    @property
    def maintenance(self) -> float:
        """Maintenance margin at mark, in the unit of the notional, without closing fee."""
        return maintenance(self.notional, self.tiers.floor, self.tiers.rate, self.tiers.deduction)

    @property
    def initial(self) -> float:
        """Initial margin at mark, in the unit of the notional."""
        return initial_margin(self.notional, self.leverage)


def position(
    tiers: TierTable, quantity: float, entry_price: float, mark_price: float, leverage: float | None = None
) -> Position:
    """A checked position; without ``leverage`` it gets the largest of its tier.

    ``UsageError`` names a quantity of zero, and prices or quantities that are not numbers or not positive;
    ``RefusedError`` a notional beyond the last tier or a leverage above the tier's.
    """
    kind = Kind(tiers.key.split(":")[1])
    if not (math.isfinite(quantity) and quantity != 0):
        raise UsageError(f"{tiers.key}: quantity = {quantity} is not a position", remedy="give a signed, non-zero size")
    require_positive(f"{tiers.key}: entry price", entry_price)
    require_positive(f"{tiers.key}: mark price", mark_price)
    found = Position(tiers, kind, quantity, entry_price, mark_price, 1.0 if leverage is None else leverage)
    if leverage is None:
        largest = float(tiers.max_leverage[tier_of(tiers, found.notional)])
        return Position(tiers, kind, quantity, entry_price, mark_price, largest)
    check_leverage(tiers, found.notional, leverage)
    return found


@dataclass(frozen=True, slots=True)
class AccountRisk:
    """Risk of one margin account, in its margin asset.

    ``equity``: wallet plus unrealised profit. ``reserved``: what open orders hold back. ``available``: equity that is
    free for new positions, never below 0. ``liquidatable``: at or below maintenance, under the venue's rule.
    """

    equity: float
    initial: float
    maintenance: float
    reserved: float
    liquidatable: bool

    @property
    def available(self) -> float:
        """Equity free for new positions and orders (>= 0)."""
        return max(0.0, self.equity - self.initial - self.reserved)

    @property
    def ratio(self) -> float | None:
        """Maintenance margin / equity (1 = liquidation); None when equity is gone, which ``liquidatable`` tells."""
        return self.maintenance / self.equity if self.equity > 0 else None


def account_risk(
    wallet: float,
    positions: Iterable[Position],
    *,
    reserved: float = 0.0,
    closing_fee: float = 0.0,
    at_equality: bool = True,
) -> AccountRisk:
    """Risk of an account whose positions share one margin asset.

    ``wallet``: balance (> 0) without unrealised profit, other collateral included after haircut. ``reserved``: initial
    margin held by open orders. ``closing_fee``: fee rate that the venue adds to the maintenance rate (0: none).
    ``UsageError`` names a wallet that is not positive.
    """
    require_positive("wallet", wallet)
    held = list(positions)
    require_one_asset(held)
    equity = wallet + math.fsum(item.unrealised for item in held)
    needed = math.fsum(item.maintenance + closing_fee * item.notional for item in held)
    initial = math.fsum(item.initial for item in held)
    return AccountRisk(equity, initial, needed, reserved, is_liquidatable(equity, needed, at_equality))


def collateral_total(
    holdings: Mapping[str, float], prices: Mapping[str, float], haircuts: Mapping[str, tuple[Floats, Floats]]
) -> float:
    """Value of all collateral after haircuts: asset -> quantity (negative is debt), price, (floors, ratios).

    ``UsageError`` names an asset without price or haircut, and a price that is not a positive number.
    """
    values = []
    for asset, quantity in holdings.items():
        if not math.isfinite(quantity):
            raise UsageError(f"collateral {asset} = {quantity} is not a number", remedy="give the quantity held")
        if asset not in prices or asset not in haircuts:
            missing = "price" if asset not in prices else "collateral ratio"
            raise UsageError(f"collateral {asset} has no {missing}", remedy=f"give the {missing} of {asset}")
        require_positive(f"price of {asset}", prices[asset])
        values.append(collateral_value(quantity, prices[asset], *haircuts[asset]))
    return math.fsum(values)


def require_positive(name: str, value: float) -> None:
    """``UsageError`` naming ``value`` when it is NaN, infinite, zero or negative."""
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} = {value} is not a positive number", remedy="give a value above 0")


def require_one_asset(positions: Iterable[Position]) -> None:
    """``UsageError`` when positions are margined in different assets, so that their margins may not be added."""
    assets = sorted({item.tiers.currency for item in positions})
    if len(assets) > 1:
        raise UsageError(
            f"one account cannot add margins in {' and '.join(assets)}", remedy="give positions of one margin asset"
        )

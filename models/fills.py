"""Fills and slippage: Lean's own fill at the last price; forced fills carry price and fee in their tag.

A market order never asks for more than the share of the volume that may fill, so Lean fills it whole. A resting order
fills bar by bar, as far as that share goes; each part has its own fee, because Lean asks no fee model for parts, and
about the whole order for the last one (lean-measured.md D.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from AlgorithmImports import (
    CashAmount,
    ImmediateFillModel,
    LimitOrder,
    MarketOrder,
    Order,
    OrderEvent,
    OrderFee,
    OrderStatus,
    Security,
)

from crypto import fees, margin
from crypto.errors import RefusedError
from crypto.instruments import Instrument, Kind
from crypto.simulator.hosted import HostedExchange
from models.legs import Leg

FORCED = "forced"
_SMALLEST_FEE = 1e-8  # a fee of zero would make Lean charge its own (lean-measured.md D.3)
_PLACES = 12  # decimals of what goes back to Lean, so that no binary noise does (D.3)


class Forced(NamedTuple):
    """What a venue-made fill says: price as quoted, fee in its settlement asset."""

    price: float
    fee: float
    asset: str

    @property
    def tag(self) -> str:
        """Text that carries it on an order."""
        return f"{FORCED}:{self.price!r}:{self.fee!r}:{self.asset}"


def forced(tag: str | None) -> Forced | None:
    """The instruction in an order's tag; None for every other tag, ``RefusedError`` for a broken one."""
    parts = (tag or "").split(":")
    if parts[0] != FORCED:
        return None
    try:
        price, fee, asset = parts[1:]
        return Forced(float(price), float(fee), asset)
    except ValueError:
        raise RefusedError(f"order tag {tag!r} is not a forced fill", remedy=f"{FORCED}:price:fee:asset") from None


class CarryFills(ImmediateFillModel):
    """Lean's immediate fill, with the fee of a market order on its fill price, and forced fills at their own price.

    A fee that the venue's own coin covers is an amount of that coin.
    ``resting`` says, of a resting order's tag and a price, what of it fills there in the present bar, and whether that
    is the last of it; None for an order that is not of the book.
    """

    def __init__(
        self, exchange: HostedExchange, leg: Leg, resting: Callable[[str, float], tuple[float, bool] | None]
    ) -> None:
        super().__init__()
        self._exchange, self._leg, self._resting = exchange, leg, resting

    def limit_fill(self, asset: Security, order: LimitOrder) -> OrderEvent:
        """The fill of a resting order at the maker's fee; nothing where a liquidation of the same bar has cancelled it.

        Lean offers the whole order, in every scan of a bar that traded through it; it takes an order at the last price
        for marketable and would charge the taker's fee. A perp's fee is on its price.
        """
        event = super().limit_fill(asset, order)
        if event.fill_quantity == 0:
            return event
        found = self._resting(order.tag, event.fill_price)
        if found is not None:
            quantity, is_last = found
            if quantity == 0.0:
                event.status, event.fill_quantity, event.fill_price = order.status, 0, 0
                return event
            event.fill_quantity = quantity
            event.status = OrderStatus.FILLED if is_last else OrderStatus.PARTIALLY_FILLED
        return self._with_maker_fee(event, asset.price)

    def market_fill(self, asset: Security, order: MarketOrder) -> OrderEvent:
        """The fill of a market order. Where the fee is taken out of the bought coin, Lean's fee model does it."""
        event = super().market_fill(asset, order)
        instruction = forced(order.tag)
        if instruction is not None:
            event.fill_price = round(instruction.price, _PLACES)
            event.message = FORCED
            return _with_fee(event, max(instruction.fee, _SMALLEST_FEE), instruction.asset)
        return self._charged(event, event.fill_price, self._leg.row.taker)[0]

    def _with_maker_fee(self, event: OrderEvent, perp_price: float) -> OrderEvent:
        price = event.fill_price if self._leg.instrument.kind is Kind.SPOT else perp_price
        event, is_left = self._charged(event, price, self._leg.row.maker)
        if is_left:  # Lean's model would charge the taker's, and knows no parts
            bought = event.fill_quantity
            amount = bought - fees.base_after_fee(bought, self._leg.row.maker)
            return _with_fee(event, amount, self._leg.instrument.base)
        return event

    def _charged(self, event: OrderEvent, price: float, rate: float) -> tuple[OrderEvent, bool]:
        """The event with its fee in the venue's coin or the settlement asset, and whether it is left to the base."""
        fee = fees.fee(traded_value(self._leg.instrument, event.fill_quantity, price), rate)
        coins = self._exchange.fee_in_coins(self._leg.index, fee)
        if coins > 0.0:
            return _with_fee(event, coins, self._exchange.fee_coin(self._leg.index)), False
        if self._leg.row.fee_in_base == 1 and event.fill_quantity > 0:
            return event, True
        return _with_fee(event, fee, self._leg.instrument.settle), False


def traded_value(instrument: Instrument, contracts: float, price: float) -> float:
    """Value of a fill (>= 0) in the asset that the instrument settles in."""
    if instrument.kind is Kind.INVERSE:
        return margin.notional_inverse(contracts * float(instrument.multiplier), price)
    return margin.notional_linear(contracts, price)


def _with_fee(event: OrderEvent, amount: float, asset: str) -> OrderEvent:
    """The event with its own fee, which Lean takes instead of asking the fee model unless it is zero (D.2)."""
    if amount != 0.0:
        event.order_fee = OrderFee(CashAmount(round(amount, _PLACES), asset))
    return event


class CarrySlippage:
    """Half the spread and impact in proportion to the share of the last bar's volume."""

    def __init__(self, exchange: HostedExchange, leg: Leg) -> None:
        self._exchange, self._leg = exchange, leg.index

    def get_slippage_approximation(self, asset: Security, order: Order) -> float:
        """Slippage of a market order as an amount of price."""
        return asset.price * self._exchange.slippage(self._leg, order.absolute_quantity)

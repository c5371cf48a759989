"""Fills and slippage: Lean's own fill at the last price; forced fills carry price and fee in their tag.

An order never asks for more than the share of the volume that may fill, so Lean fills every order whole: a part filled
later would pay no fee, or twice (lean-measured.md D.2).
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

    A fee that the venue's own coin covers is an amount of that coin. ``is_open`` says of an order's tag whether the
    book still has it.
    """

    def __init__(self, exchange: HostedExchange, leg: Leg, is_open: Callable[[str], bool]) -> None:
        super().__init__()
        self._exchange, self._leg, self._is_open = exchange, leg, is_open

    def limit_fill(self, asset: Security, order: LimitOrder) -> OrderEvent:
        """The fill of a resting order at the maker's fee, unless a liquidation of the same bar has cancelled it.

        Lean takes an order at the last price for marketable and would charge the taker's. A perp's fee is on its price.
        """
        event = super().limit_fill(asset, order)
        if event.fill_quantity == 0:
            return event
        if not self._is_open(order.tag):
            event.status, event.fill_quantity, event.fill_price = OrderStatus.SUBMITTED, 0, 0
            return event
        found = self._leg.instrument
        return self._charged(event, event.fill_price if found.kind is Kind.SPOT else asset.price, self._leg.row.maker)

    def market_fill(self, asset: Security, order: MarketOrder) -> OrderEvent:
        """The fill of a market order. Where the fee is taken out of the bought coin, Lean's fee model does it."""
        event = super().market_fill(asset, order)
        instruction = forced(order.tag)
        if instruction is not None:
            event.fill_price = round(instruction.price, _PLACES)
            event.message = FORCED
            return _with_fee(event, max(instruction.fee, _SMALLEST_FEE), instruction.asset)
        return self._charged(event, event.fill_price, self._leg.row.taker)

    def _charged(self, event: OrderEvent, price: float, rate: float) -> OrderEvent:
        fee = fees.fee(traded_value(self._leg.instrument, event.fill_quantity, price), rate)
        coins = self._exchange.fee_in_coins(self._leg.index, fee)
        if coins > 0.0:
            return _with_fee(event, coins, self._exchange.fee_coin(self._leg.index))
        if self._leg.row.fee_in_base == 1 and event.fill_quantity > 0:
            return event
        return _with_fee(event, fee, self._leg.instrument.settle)


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

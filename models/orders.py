"""Orders of the book to Lean and Lean's events back. The one place that sends, and that reads fills and fees."""

from __future__ import annotations

import math
from typing import Any

from AlgorithmImports import OrderEvent, OrderTicket, QCAlgorithm

from crypto.errors import RefusedError
from crypto.instruments import Instrument, Kind
from crypto.pipeline.orders import OrderReason, OrderStatus
from crypto.simulator.hosted import HostedExchange
from crypto.simulator.hosted_risk import ForcedFill
from models.convert import status
from models.feed import BarFeed
from models.fills import Forced, forced, traded_value
from models.legs import LegBook

_TAG = "carry"
_LOT_TOLERANCE = 1e-6  # of a lot, between Lean's decimals and ours
_CASH_TOLERANCE = 1e-9  # of the amount: Lean counts in decimals, the ledger in binary
_DUST = 1e-4  # of a lot, or of a unit of account currency: what many fills may leave of that difference
_COIN_UNIT = 1e-3  # of a coin that pays fees: a fee is a small part of one
_REFUSALS = (
    ("MinNotional", OrderReason.BELOW_MIN_NOTIONAL),
    ("MinQuantity", OrderReason.BELOW_MIN_QUANTITY),
    ("LotSize", OrderReason.BELOW_MIN_QUANTITY),
)


class OrderDesk:
    """Sends what the exchange's book asks for and reports what Lean made of it."""

    def __init__(self, algorithm: QCAlgorithm) -> None:
        self._algorithm = algorithm
        self._tickets: dict[int, OrderTicket] = {}
        self._resting: set[int] = set()
        self._sending, self._answered, self._is_following = -1, False, False

    def connect(self, exchange: HostedExchange, book: LegBook, feed: BarFeed) -> None:
        """Take the exchange, which is built with this desk's methods, and the bars that it sees."""
        self._exchange, self._book, self._feed = exchange, book, feed
        self._units = {leg.instrument.base: float(leg.row.base_per_lot) for leg in book.legs[::2]}
        self._units |= {exchange.names.assets[coin.asset]: _COIN_UNIT for coin in exchange.world.coins}

    def is_sending(self) -> bool:
        """Whether the order that Lean asks about is one of the book, checked and reserved already, or the venue's."""
        return self._sending >= 0 or self._is_following

    def is_ours(self, tag: str) -> bool:
        """Whether an order is one of the book, or the venue's: nothing is left to check."""
        return self.is_sending() or _number(tag) >= 0

    def resting_fill(self, tag: str, price: float) -> tuple[float, bool] | None:
        """Quantity (signed) of a resting order that fills at ``price`` in the present slice, once the venue has acted.

        And whether it completes the order; None for an order that is not of the book.
        """
        self._feed.close_now()
        order = _number(tag)
        if order < 0:
            return None
        row, lots = self._exchange.world.orders[order], self._exchange.resting_lots(order, price)
        return self._book.legs[row.leg].quantity(lots), bool(row.filled_lots + lots == row.lots)

    def send(self, order: int, leg_row: int, lots: int, limit_price: float) -> None:
        """One order to Lean: at market, filled within this call in a backtest, or resting at ``limit_price``."""
        leg, tag = self._book.legs[leg_row], f"{_TAG}:{order}"
        self._sending, self._answered = order, False
        try:
            if math.isnan(limit_price):
                ticket = self._algorithm.market_order(leg.symbol, leg.quantity(lots), tag=tag)
            else:
                self._resting.add(order)
                ticket = self._algorithm.limit_order(leg.symbol, leg.quantity(lots), limit_price, tag=tag)
        finally:
            self._sending = -1
        self._tickets[order] = ticket
        if self._answered or not math.isnan(limit_price):
            return
        if status(ticket.status) is OrderStatus.REJECTED:  # below a lot: Lean sends no event
            self._exchange.refused(order, OrderReason.BELOW_MIN_QUANTITY)
        elif not self._algorithm.live_mode:
            raise RefusedError(
                f"Lean left market order {tag} of {leg.instrument.key} in state {ticket.status}",
                remedy="a model raised an exception: Lean's log names it",
            )

    def follow(self) -> None:
        """Bring Lean to the ledger: cancel what the book has ended, fill and pay what the venue did to us."""
        if self._resting:
            for order in [order for order in self._resting if not self._exchange.is_working(order)]:
                self._resting.discard(order)
                self._tickets[order].cancel()  # without a tag: Lean would put it in place of ours
        risk = self._exchange.risk
        if not risk.forced and not risk.beside:
            return
        for fill in risk.forced:
            self._force(fill)
        for asset, amount in risk.beside:
            self._algorithm.portfolio.cash_book[self._exchange.names.assets[asset]].add_amount(amount)
        risk.forced.clear()
        risk.beside.clear()
        self.reconcile()

    def _force(self, fill: ForcedFill) -> None:
        """A fill that the ledger has already, at the venue's price and fee."""
        leg = self._book.legs[fill.leg]
        tag = Forced(fill.price, fill.fee, self._exchange.names.assets[leg.row.settle_asset]).tag
        self._is_following = True
        try:
            ticket = self._algorithm.market_order(leg.symbol, leg.quantity(fill.lots), tag=tag)
        finally:
            self._is_following = False
        if status(ticket.status) is not OrderStatus.FILLED:
            raise RefusedError(
                f"Lean left the venue's fill {tag} of {leg.instrument.key} in state {ticket.status}",
                remedy="a model raised an exception, or the security has no price yet: Lean's log names it",
            )

    def on_event(self, event: OrderEvent) -> None:
        """Take Lean's event into the ledger, after the bar that it belongs to."""
        self._feed.close_now()
        if self._is_following and forced(event.ticket.tag) is not None:
            return  # the ledger had it first
        order, found = _number(event.ticket.tag), status(event.status)
        if found is not OrderStatus.PLACED:
            self._resting.discard(order)
        if event.fill_quantity != 0:
            self._fill(order, event)
        elif found is OrderStatus.REJECTED and order >= 0:
            self._exchange.refused(order, self._refusal(order, event.message))
        elif found is OrderStatus.CANCELLED and order >= 0 and self._exchange.is_working(order):
            self._exchange.cancelled(order, OrderReason.TIMEOUT)
        self._answered |= found is not OrderStatus.PLACED and order == self._sending
        self.reconcile()

    def _leg_of(self, order: int) -> int:
        return int(self._exchange.world.orders[order].leg)

    def _fill(self, order: int, event: OrderEvent) -> None:
        leg = self._book.legs[self._leg_of(order)] if order >= 0 else next(iter(self._book.at(event.symbol)), None)
        if leg is None:
            return  # a security that is no leg of ours
        fee, currency = event.order_fee.value.amount, event.order_fee.value.currency
        if currency == self._exchange.fee_coin(leg.index) and fee != 0:
            fee, currency = self._exchange.fee_of_coins(leg.index, float(fee)), leg.instrument.settle
        contracts, rate = gross_fill(leg.instrument, event.fill_quantity, event.fill_price, fee, currency)
        lots = round(contracts / leg.lot)
        if abs(contracts / leg.lot - lots) > _LOT_TOLERANCE:
            raise RefusedError(
                f"Lean filled {contracts!r} of {leg.instrument.key}, which is no whole number of lots of {leg.lot!r}",
                remedy="the symbol properties of the data folder differ from ours: carry lean export writes them",
            )
        spot: Any = self._book.legs[leg.index - leg.index % 2].security
        extra = self._exchange.filled(order, leg.index, lots, event.fill_price, rate, spot.open)
        for asset, amount in extra:
            self._algorithm.portfolio.cash_book[asset].add_amount(amount)

    def _refusal(self, order: int, message: str) -> OrderReason:
        for word, reason in _REFUSALS:
            if word in message:
                return reason
        return OrderReason.NO_MARGIN if self._leg_of(order) % 2 else OrderReason.NO_FUNDS

    def reconcile(self) -> None:
        """``RefusedError`` when Lean's cash book or positions are not what the ledger says.

        While Lean has yet to follow what the venue did, they can't be.
        """
        if self._exchange.risk.forced or self._exchange.risk.beside:
            return
        cash = self._algorithm.portfolio.cash_book
        for asset, ours in self._exchange.balances().items():
            theirs = cash[asset].amount if cash.contains_key(asset) else 0.0
            _compare(f"{asset} in the cash book", theirs, ours, self._units.get(asset, 1.0))
        for leg in self._book.legs[1::2]:
            if leg.security is not None:
                ours = sum(self._exchange.position(other.index) for other in self._book.at(leg.symbol))
                _compare(leg.instrument.key, leg.security.holdings.quantity, ours, leg.lot)


def _number(tag: str | None) -> int:
    """Number of the book's order in a tag; -1 in any other."""
    parts = str(tag).split(":")
    return int(parts[1]) if parts[0] == _TAG and len(parts) == 2 else -1


def gross_fill(instrument: Instrument, quantity: float, price: float, fee: float, currency: str) -> tuple[float, float]:
    """Contracts of a fill before a fee in the base asset, and the fee as a fraction of the fill's value.

    Lean takes a spot buy's fee out of the filled quantity. ``RefusedError`` for a fee in another asset.
    """
    if fee == 0:
        return quantity, 0.0
    if currency == instrument.base and instrument.kind is Kind.SPOT:
        gross = quantity + fee if quantity > 0 else quantity
        return gross, fee / abs(gross)
    if currency != instrument.settle:
        raise RefusedError(
            f"{instrument.key}: Lean charged a fee in {currency}", remedy=f"fees here are paid in {instrument.settle}"
        )
    return quantity, fee / traded_value(instrument, quantity, price)


def _compare(what: str, theirs: Any, ours: float, unit: float) -> None:
    if abs(theirs - ours) > _CASH_TOLERANCE * abs(ours) + _DUST * unit:
        raise RefusedError(
            f"{what}: Lean's account holds {theirs!r}, the ledger {ours!r}",
            remedy="something else moved Lean's account; docs/specs/lean.md lists what Lean does by itself",
        )

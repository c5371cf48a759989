"""One brokerage model for spot and perpetuals on several venues: each security gets the models of its own leg.

Lean's models for Binance know either spot or perps: the spot one pays no funding, the futures one charges futures fees
on spot (lean.md 2.3, lean-measured.md E).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from AlgorithmImports import (
    BrokerageMessageEvent,
    BrokerageMessageType,
    DefaultBrokerageModel,
    ImmediateFillModel,
    MarginInterestRateModel,
    NullSlippageModel,
    Order,
    Security,
    SecurityType,
)

from crypto.errors import RefusedError
from crypto.settings import PriceSource, Settings
from crypto.simulator.hosted import HostedExchange
from models.borrow import BorrowModel
from models.convert import order_kind
from models.feed import BarFeed
from models.fees import fee_model
from models.fills import CarryFills, CarrySlippage
from models.funding import FundingModel
from models.legs import Leg, LegBook
from models.margin import PerpMargin, SpotMargin, WalletCheck
from models.orders import OrderDesk


class CarryBrokerage(DefaultBrokerageModel):
    """Models by leg. Securities that are no leg, such as hidden conversion feeds, keep Lean's defaults."""

    def __init__(
        self,
        settings: Settings,
        exchange: HostedExchange,
        book: LegBook,
        desk: OrderDesk,
        feed: BarFeed,
    ) -> None:
        super().__init__()  # a margin account; a Python subclass can't pass arguments on to a C# constructor
        self._settings, self._exchange, self._book = settings, exchange, book
        self._desk, self._feed = desk, feed

    @property
    def default_markets(self) -> dict[SecurityType, str]:
        """Where Lean looks for conversion feeds: the first pair's venues, and not Coinbase."""
        spot, perp = self._book.legs[0].instrument, self._book.legs[1].instrument
        return {SecurityType.CRYPTO: spot.venue, SecurityType.CRYPTO_FUTURE: perp.venue}

    def get_leverage(self, security: Security) -> float:
        """Leverage of perps; 1 for everything else."""
        return float(self._exchange.world.rules[0].leverage) if self._perp(security) else 1.0

    def get_fee_model(self, security: Security) -> Any:
        """Lean's class of the venue with our rates."""
        return self._of(security, fee_model, super().get_fee_model)

    def get_fill_model(self, security: Security) -> Any:
        """Immediate fills and forced ones."""
        return self._of(
            security,
            lambda leg: CarryFills(self._exchange, leg, self._desk.resting_fill),
            lambda _: ImmediateFillModel(),
        )

    def get_slippage_model(self, security: Security) -> Any:
        """None where spread and impact are zero, so that no call enters Python."""
        return self._of(security, self._slippage, lambda _: NullSlippageModel.INSTANCE)

    def get_margin_interest_rate_model(self, security: Security) -> Any:
        """Funding of perps; borrow interest of spot where borrowing is on."""
        legs = self._book.of(security)
        if self._perp(security):
            on_last = self._settings.funding.price is PriceSource.LAST
            feed = self._feed
            return FundingModel(feed.algorithm, self._exchange, legs, feed.close_gaps, on_last_price=on_last)
        return (
            BorrowModel(self._exchange, legs, self._feed.close_gaps)
            if legs and self._settings.borrow.enabled
            else MarginInterestRateModel.NULL
        )

    def get_buying_power_model(self, security: Security) -> Any:
        """What the leg's wallet carries."""
        return self._of(security, self._margin, super().get_buying_power_model)

    def can_submit_order(  # type: ignore[override]  # a null message is what Lean itself returns (measured, F)
        self, security: Security, order: Order, message: BrokerageMessageEvent | None
    ) -> tuple[bool, BrokerageMessageEvent | None]:
        """Order types, smallest quantity and smallest notional. Always a tuple: Lean stops on anything else."""
        legs = self._book.of(security)
        try:
            order_kind(order.type)
        except RefusedError as error:
            return False, _warning("OrderType", f"{error.message}; {error.remedy}")
        if not legs:
            return True, None
        found = legs[0].instrument
        if order.absolute_quantity < float(found.min_quantity) * (1.0 - 1e-9):
            return False, _warning("MinQuantity", f"{found.key}: {order.absolute_quantity:g} < {found.min_quantity}")
        closes = sum(leg.row.lots for leg in legs) * order.quantity < 0
        if self._desk.is_sending() or (closes and found.closing_may_be_below_min_notional):
            return True, None  # what the book sends is checked already
        value = order.absolute_quantity * security.price
        if value < float(found.min_notional):
            return False, _warning("MinNotional", f"{found.key}: {value:g} < {found.min_notional} {found.quote}")
        return True, None

    def can_update_order(  # type: ignore[override]  # as above
        self, security: Security, order: Order, request: Any, message: BrokerageMessageEvent | None
    ) -> tuple[bool, BrokerageMessageEvent | None]:
        """Orders are never changed, only cancelled and sent again."""
        return False, _warning("Update", "orders are cancelled and sent again, not changed")

    def _perp(self, security: Security) -> bool:
        return bool(self._book.of(security)) and security.type == SecurityType.CRYPTO_FUTURE

    def _of(self, security: Security, ours: Callable[[Leg], Any], default: Callable[[Security], Any]) -> Any:
        legs = self._book.of(security)
        return ours(legs[0]) if legs else default(security)

    def _slippage(self, leg: Leg) -> Any:
        if leg.row.half_spread == 0.0 and leg.row.impact == 0.0:
            return NullSlippageModel.INSTANCE
        return CarrySlippage(self._exchange, leg)

    def _margin(self, leg: Leg) -> Any:
        check = WalletCheck(self._exchange, leg, self._desk.is_ours)
        if leg.index % 2 == 0:
            return SpotMargin(check)
        return PerpMargin(check, lambda contracts: self._exchange.maintenance(leg.index, contracts))


def _warning(code: str, text: str) -> BrokerageMessageEvent:
    return BrokerageMessageEvent(BrokerageMessageType.WARNING, code, text)

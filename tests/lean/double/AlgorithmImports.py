"""A small in-memory double of the Lean objects that main.py and models/ touch.

It behaves as recorded from a real engine (tests/lean/test_double.py holds it against the recordings), and its names and
signatures are held against quantconnect-stubs (tests/lean/test_double_signatures.py). It is no engine: one
resolution, market and limit orders, one time zone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import lean_securities
from lean_enums import (  # noqa: F401 - some are only passed on
    AccountType,
    BrokerageMessageType,
    FileFormat,
    OrderDirection,
    OrderStatus,
    OrderType,
    Resolution,
    SecurityType,
    SubscriptionTransportMedium,
)
from lean_fees import (  # noqa: F401 - some are only passed on
    BinanceCoinFuturesFeeModel,
    BinanceFeeModel,
    BinanceFuturesFeeModel,
    BybitFeeModel,
    BybitFuturesFeeModel,
    CashAmount,
    FeeModel,
    OrderFee,
    OrderFeeParameters,
)
from lean_securities import (  # noqa: F401 - some are only passed on
    NOW,
    Cash,
    CashBook,
    Crypto,
    CryptoFuture,
    PythonData,
    Security,
    SecurityHolding,
    Slice,
    SubscriptionDataConfig,
    SubscriptionDataSource,
    Symbol,
    SymbolProperties,
    SymbolPropertiesDatabase,
    TradeBar,
    TradeBars,
    decimal,
    double_set_time,
)


class Globals:
    data_folder = ""


class TimeZones:
    UTC = "UTC"


class BrokerageMessageEvent:
    def __init__(self, type: BrokerageMessageType, code: str, message: str) -> None:
        self.type, self.code, self.message = type, code, message


class Order:
    def __init__(
        self, number: int, kind: OrderType, security: Security, quantity: float, limit: float, tag: str
    ) -> None:
        self.id, self.type, self.symbol, self.quantity, self.limit_price = (
            number,
            kind,
            security.symbol,
            quantity,
            limit,
        )
        self.tag, self.status, self.is_marketable = tag, OrderStatus.NEW, kind == OrderType.MARKET
        self.security, self.placed = security, NOW[0]

    @property
    def absolute_quantity(self) -> float:
        return abs(self.quantity)

    @property
    def direction(self) -> OrderDirection:
        return OrderDirection.BUY if self.quantity > 0 else OrderDirection.SELL


class MarketOrder(Order):
    pass


class LimitOrder(Order):
    pass


OPEN_STATES = (OrderStatus.SUBMITTED, OrderStatus.PARTIALLY_FILLED)


class OrderTicket:
    def __init__(self, algorithm: QCAlgorithm, order: Order) -> None:
        self._algorithm, self._order = algorithm, order
        self.order_id = order.id

    @property
    def tag(self) -> str:
        return self._order.tag

    @property
    def status(self) -> OrderStatus:
        return self._order.status

    def cancel(self, tag: str | None = None) -> None:
        if tag is not None:
            self._order.tag = tag
        self._algorithm.double_cancel(self._order)


class OrderEvent:
    def __init__(self, order: Order, time: datetime, status: OrderStatus, message: str = "") -> None:
        self.order_id, self.symbol, self.utc_time, self.status, self.message = (
            order.id, order.symbol, time, status, message,
        )  # fmt: skip
        self.fill_price, self.fill_quantity = 0.0, 0.0
        self.order_fee = OrderFee(CashAmount(0.0, "QCC"))
        self.ticket: Any = None
        self.quantity = order.quantity


class SubmitOrderRequest:
    def __init__(
        self,
        order_type: OrderType,
        security_type: SecurityType,
        symbol: Symbol,
        quantity: float,
        stop_price: float,
        limit_price: float,
        time: datetime,
        tag: str,
    ) -> None:
        self.order_type, self.security_type, self.symbol, self.quantity = order_type, security_type, symbol, quantity
        self.time, self.tag = time, tag


class NullSlippageModel:
    INSTANCE: NullSlippageModel

    def get_slippage_approximation(self, asset: Security, order: Order) -> float:
        return 0.0


NullSlippageModel.INSTANCE = NullSlippageModel()


class ImmediateFillModel(metaclass=lean_securities.FromLean):
    """Fills at the last price with slippage; a limit when a later bar trades through it."""

    def market_fill(self, asset: Security, order: Order) -> OrderEvent:
        event = OrderEvent(order, NOW[0], OrderStatus.FILLED)
        side = 1.0 if order.quantity > 0 else -1.0
        event.fill_price = asset.price + side * decimal(asset.slippage_model.get_slippage_approximation(asset, order))
        event.fill_quantity = order.quantity
        return event

    def limit_fill(self, asset: Security, order: Order) -> OrderEvent:
        event = OrderEvent(order, NOW[0], order.status)
        bar, limit = asset.bar, order.limit_price
        if asset.bar_end <= order.placed:  # the last bar is older than the order, which is all that Lean asks
            return event
        if order.quantity > 0 and bar.low < limit:
            event.status, event.fill_price = OrderStatus.FILLED, min(bar.high, limit)
        elif order.quantity < 0 and bar.high > limit:
            event.status, event.fill_price = OrderStatus.FILLED, max(bar.low, limit)
        if event.status == OrderStatus.FILLED:
            event.fill_quantity = order.quantity
        return event


class MarginInterestRateParameters:
    def __init__(self, security: Security, time: datetime) -> None:
        self.security, self.time = security, time


class _NullInterest:
    def apply_margin_interest_rate(self, parameters: MarginInterestRateParameters) -> None:
        pass


class MarginInterestRateModel:
    NULL = _NullInterest()


class MarginCallModel:
    NULL = SimpleNamespace(name="null")


class HasSufficientBuyingPowerForOrderResult:
    def __init__(self, is_sufficient: bool, reason: str | None = None) -> None:
        self.is_sufficient, self.reason = is_sufficient, reason


class HasSufficientBuyingPowerForOrderParameters:
    def __init__(self, portfolio: Any, security: Security, order: Order) -> None:
        self.portfolio, self.security, self.order = portfolio, security, order


class MaintenanceMargin:
    def __init__(self, value: float) -> None:
        self.value = value


class MaintenanceMarginParameters:
    def __init__(self, security: Security, quantity: float) -> None:
        self.security, self.quantity = security, quantity


class _PassingMargin(metaclass=lean_securities.FromLean):
    def has_sufficient_buying_power_for_order(
        self, parameters: HasSufficientBuyingPowerForOrderParameters
    ) -> HasSufficientBuyingPowerForOrderResult:
        return HasSufficientBuyingPowerForOrderResult(True)

    def get_maintenance_margin(self, parameters: MaintenanceMarginParameters) -> MaintenanceMargin:
        return MaintenanceMargin(0.0)


class SecurityMarginModel(_PassingMargin):
    def __init__(self, leverage: float = 1, required_free_buying_power_percent: float = 0) -> None:
        self.leverage = leverage


class CryptoFutureMarginModel(_PassingMargin):
    def __init__(self, leverage: float = 25) -> None:
        self.leverage = leverage


class DefaultBrokerageModel(metaclass=lean_securities.FromLean):
    def __init__(self, account_type: AccountType = AccountType.MARGIN) -> None:
        self.account_type = account_type

    def get_fee_model(self, security: Security) -> Any:
        return BinanceFeeModel(0.0, 0.0)

    def get_buying_power_model(self, security: Security) -> Any:
        return SecurityMarginModel()


class _Portfolio:
    def __init__(self) -> None:
        self.cash_book = CashBook()
        self.margin_call_model: Any = None

    def set_margin_call_model(self, margin_call_model: Any) -> None:
        self.margin_call_model = margin_call_model


class _ObjectStore:
    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.double_limit = 1 << 30

    def save(self, path: str, text: str) -> bool:
        if not re.fullmatch(r"\.?[a-zA-Z0-9\\/_#\-$= ]+\.?[a-zA-Z0-9]*", path):  # LocalObjectStore's own pattern
            raise ValueError(f"LocalObjectStore: path is not supported: '{path}'")
        if len(text) > self.double_limit:
            return False
        self.files[path] = text
        return True


# What Lean's wrapper of each model calls, or wants to be there before.
MODELS = {
    "fill": ("market_fill", "limit_fill"),
    "fee": ("get_order_fee",),
    "slippage": ("get_slippage_approximation",),
    "buying_power": ("has_sufficient_buying_power_for_order", "get_maintenance_margin"),
    "margin_interest_rate": ("apply_margin_interest_rate",),
}


class QCAlgorithm:
    """The algorithm's own calls, and ``double_*`` for the engine's side (tests/lean/engine.py)."""

    def __init__(self) -> None:
        self.portfolio = _Portfolio()
        self.settings = SimpleNamespace(trading_days_per_year=None, minimum_order_margin_portfolio_percentage=0.001)
        self.object_store = _ObjectStore()
        self.live_mode = False
        self.current_slice = Slice(TradeBars())
        self.double_parameters: dict[str, str] = {}
        self.double_securities: list[Security] = []
        self.double_orders: list[Order] = []
        self.double_events: list[tuple[OrderEvent, Order]] = []
        self.double_charts: list[tuple[str, str, float]] = []
        self.double_runtime: dict[str, Any] = {}
        self.double_summary: dict[str, Any] = {}
        self.double_log: list[str] = []
        self.double_errors: list[str] = []
        self.double_cash: dict[str, tuple[float, float]] = {}
        self.double_start = self.double_end = datetime(1970, 1, 1)
        self.double_warm_up = timedelta(0)
        self._brokerage: Any = DefaultBrokerageModel()

    @property
    def utc_time(self) -> datetime:
        return NOW[0].replace(tzinfo=UTC)

    @property
    def time(self) -> datetime:
        return NOW[0]

    @property
    def is_warming_up(self) -> bool:
        return NOW[0] < self.double_start

    def get_parameters(self) -> dict[str, str]:
        return self.double_parameters

    def set_time_zone(self, time_zone: str) -> None:
        assert time_zone == TimeZones.UTC

    def set_start_date(self, start: datetime) -> None:
        self.double_start = datetime(start.year, start.month, start.day)

    def set_end_date(self, end: datetime) -> None:
        self.double_end = datetime(end.year, end.month, end.day) + timedelta(days=1)

    def set_warm_up(self, time_span: timedelta) -> None:
        self.double_warm_up = time_span

    def set_account_currency(self, account_currency: str, starting_cash: float | None = None) -> None:
        self.portfolio.cash_book[account_currency] = Cash(account_currency, starting_cash or 0.0, 1.0)

    def set_cash(self, symbol: str, starting_cash: float, conversion_rate: float = 0) -> None:
        self.portfolio.cash_book[symbol] = Cash(symbol, starting_cash, conversion_rate)
        self.double_cash[symbol] = starting_cash, conversion_rate

    def set_brokerage_model(self, model: Any) -> None:
        self._brokerage = model

    def set_benchmark(self, benchmark: Callable[[datetime], float]) -> None:
        assert benchmark(NOW[0]) == 0

    def add_crypto(
        self,
        ticker: str,
        resolution: Resolution | None = None,
        market: str = "",
        fill_forward: bool = True,
        leverage: float = 0,
    ) -> Crypto:
        return self._add(Crypto, SecurityType.CRYPTO, ticker, market)

    def add_crypto_future(
        self,
        ticker: str,
        resolution: Resolution | None = None,
        market: str = "",
        fill_forward: bool = True,
        leverage: float = 0,
    ) -> CryptoFuture:
        return self._add(CryptoFuture, SecurityType.CRYPTO_FUTURE, ticker, market)

    def _add(self, cls: type, kind: SecurityType, ticker: str, market: str) -> Any:
        for known in self.double_securities:
            if (known.symbol.value, known.type, known.symbol.id.market) == (ticker, kind, market):
                return known
        properties = SymbolPropertiesDatabase.entries[market, ticker, kind]
        quote = properties.quote_currency
        book = self.portfolio.cash_book
        base = book.setdefault(ticker.removesuffix(quote), Cash(ticker.removesuffix(quote), 0.0, 0.0))
        security = cls(Symbol(ticker, kind, market), properties, book.setdefault(quote, Cash(quote, 0.0, 1.0)), base)
        self.double_securities.append(security)
        model = self._brokerage
        for name, members in MODELS.items():
            found = getattr(model, f"get_{name}_model")(security)
            missing = [member for member in members if not hasattr(found, member)]
            if missing:
                # The exception of Lean's own wrapper, which it raises when a model is set that lacks a method.
                raise NotImplementedError(f"{type(found).__name__} lacks {', '.join(missing)}")
            setattr(security, f"{name}_model", found)
        security.leverage = decimal(model.get_leverage(security))
        return security

    def log(self, message: str) -> None:
        self.double_log.append(message)

    def error(self, message: str) -> None:
        self.double_errors.append(message)

    def plot(self, chart: str, series: str, value: float) -> None:
        self.double_charts.append((chart, series, decimal(value)))

    def set_runtime_statistic(self, name: str, value: Any) -> None:
        self.double_runtime[name] = value

    def set_summary_statistic(self, name: str, value: Any) -> None:
        self.double_summary[name] = value

    def market_order(
        self, symbol: Symbol, quantity: float, asynchronous: bool = False, tag: str = "", order_properties: Any = None
    ) -> OrderTicket:
        return self._submit(MarketOrder, OrderType.MARKET, symbol, quantity, 0.0, tag)

    def limit_order(
        self,
        symbol: Symbol,
        quantity: float,
        limit_price: float,
        asynchronous: bool = False,
        tag: str = "",
        order_properties: Any = None,
    ) -> OrderTicket:
        return self._submit(LimitOrder, OrderType.LIMIT, symbol, quantity, limit_price, tag)

    def _submit(
        self, cls: type, kind: OrderType, symbol: Symbol, quantity: float, limit: float, tag: str
    ) -> OrderTicket:
        security = next(item for item in self.double_securities if item.symbol is symbol)
        lot = security.symbol_properties.lot_size
        quantity, limit = decimal(quantity), decimal(limit)
        quantity = math.trunc(quantity / lot + math.copysign(1e-6, quantity)) * lot
        order: Order = cls(len(self.double_orders) + 1, kind, security, round(quantity, 12), limit, tag)
        if quantity == 0 or self.is_warming_up:
            order.status = OrderStatus.INVALID  # below a lot, or during warm-up: no event, no order
            return OrderTicket(self, order)
        side_is_marketable = limit >= security.price if quantity > 0 else limit <= security.price
        order.is_marketable = kind == OrderType.MARKET or side_is_marketable
        self.double_orders.append(order)
        answer = self._brokerage.can_submit_order(security, order, None)
        if not isinstance(answer, tuple):
            raise TypeError("can_submit_order must return a tuple")  # a runtime error in Lean
        accepted, message = answer
        if not accepted:
            text = f"[{int(message.type)}] Warning - Code: {message.code} - {message.message}"
            self._end(order, OrderStatus.INVALID, f"BrokerageModel declared unable to submit order: {text}")
        elif self._affordable(order):
            order.status = OrderStatus.SUBMITTED
            self._emit(OrderEvent(order, NOW[0], OrderStatus.SUBMITTED), order)
            if kind == OrderType.MARKET:
                self.double_scan()  # of all pending orders, not only of this one
        return OrderTicket(self, order)

    def double_scan(self) -> None:
        """Pending orders by number: buying power again, then the fill model, as BacktestingBrokerage.Scan does."""
        for order in self.double_pending():
            is_market = order.type == OrderType.MARKET
            if not is_market and order.placed == NOW[0]:
                continue
            if order.status not in OPEN_STATES or not self._affordable(order):
                continue
            model = order.security.fill_model
            fill = (model.market_fill if is_market else model.limit_fill)(order.security, order)
            if not isinstance(fill, OrderEvent):
                raise TypeError(f"{type(model).__name__} returned {fill!r}, which is no OrderEvent")
            if fill.status != order.status or fill.fill_quantity != 0:
                self.double_fill(order, fill)

    def _affordable(self, order: Order) -> bool:
        parameters = HasSufficientBuyingPowerForOrderParameters(self.portfolio, order.security, order)
        result = order.security.buying_power_model.has_sufficient_buying_power_for_order(parameters)
        if not isinstance(result, HasSufficientBuyingPowerForOrderResult):
            raise TypeError(f"{result!r} is no HasSufficientBuyingPowerForOrderResult")
        if not result.is_sufficient:
            self._end(
                order, OrderStatus.INVALID, f"Insufficient buying power to complete orders, Reason: {result.reason}"
            )
        return result.is_sufficient

    def _end(self, order: Order, status: OrderStatus, message: str = "") -> None:
        order.status = status
        self._emit(OrderEvent(order, NOW[0], status, message), order)

    def _emit(self, event: OrderEvent, order: Order) -> None:
        event.ticket = OrderTicket(self, order)
        self.double_events.append((event, order))
        self.on_order_event(event)

    def double_cancel(self, order: Order) -> None:
        self._end(order, OrderStatus.CANCEL_PENDING)
        self._end(order, OrderStatus.CANCELED)

    def double_fill(self, order: Order, event: OrderEvent) -> None:
        """Fee, portfolio and event of a fill, as recorded: a base fee comes out of the filled quantity."""
        security, status = order.security, event.status
        if event.fill_quantity == 0:
            self._end(order, status)
            return
        if status == OrderStatus.FILLED and event.order_fee.value.amount == 0:
            event.order_fee = security.fee_model.get_order_fee(OrderFeeParameters(security, order))
            if not isinstance(event.order_fee, OrderFee):
                raise TypeError(f"{event.order_fee!r} is no OrderFee")
        fee = event.order_fee.value
        is_buy = event.fill_quantity > 0
        in_base = security.type == SecurityType.CRYPTO and is_buy and fee.currency == security.base_currency.symbol
        gross, price = event.fill_quantity, event.fill_price
        if security.type == SecurityType.CRYPTO:
            security.quote_currency.add_amount(-gross * price)
            if in_base:
                event.fill_quantity = gross - fee.amount
            security.base_currency.add_amount(event.fill_quantity)
        else:
            _realise(security, gross, price)
        if not in_base and fee.amount != 0:
            self.portfolio.cash_book[fee.currency].add_amount(-fee.amount)
        if security.type == SecurityType.CRYPTO:
            security.holdings.quantity = round(security.holdings.quantity + event.fill_quantity, 12)
        order.status = status
        self._emit(event, order)

    def double_pending(self) -> Iterator[Order]:
        return iter([order for order in self.double_orders if order.status in OPEN_STATES])


def _realise(security: Any, quantity: float, price: float) -> None:
    """Position and realised profit of a perp fill, average entry (harmonic for inverse contracts)."""
    held, holdings = security.holdings.quantity, security.holdings
    inverse = security.is_crypto_coin_future()
    closing = min(abs(held), abs(quantity)) if held * quantity < 0 else 0.0
    if closing:
        side = 1.0 if held > 0 else -1.0
        if inverse:
            value = closing * security.symbol_properties.contract_multiplier
            security.base_currency.add_amount(side * value * (1 / holdings.average_price - 1 / price))
        else:
            security.quote_currency.add_amount(side * closing * (price - holdings.average_price))
    opened = abs(quantity) - closing
    total = round(held + quantity, 12)
    if opened:
        old = abs(held) if not closing else 0.0
        before = holdings.average_price
        if inverse:
            holdings.average_price = (old + opened) / ((old / before if old else 0.0) + opened / price)
        else:
            holdings.average_price = (old * before + opened * price) / (old + opened)
    if total == 0:
        holdings.average_price = 0.0
    holdings.quantity = total

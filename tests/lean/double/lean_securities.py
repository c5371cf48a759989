"""Clock, symbols, cash, securities and data of the double; what orders do with them stands in AlgorithmImports.py."""

from __future__ import annotations

import math
from datetime import datetime
from types import SimpleNamespace
from typing import Any, ClassVar

from lean_enums import FileFormat, SecurityType, SubscriptionTransportMedium

NOW = [datetime(1970, 1, 1)]


def double_set_time(now: datetime) -> None:
    """Set the engine's clock, naive UTC."""
    NOW[0] = now


class FromLean(type):
    """What pythonnet does to classes of ours that derive from Lean's.

    Arguments that fit no constructor of Lean's are ours, but keywords always go to it: ours must not be called by name.
    """

    def __call__(cls, *given: Any, **named: Any) -> Any:
        if named and cls.__module__ not in ("AlgorithmImports", "lean_fees", "lean_securities"):
            raise TypeError(
                f"no constructor of Lean's takes {', '.join(named)}, which {cls.__name__} was given by name"
            )
        return super().__call__(*given, **named)


class Symbol:
    def __init__(self, ticker: str, security_type: SecurityType, market: str) -> None:
        self.value = ticker
        self.id = SimpleNamespace(market=market)
        self.security_type = security_type


class SymbolProperties:
    def __init__(
        self,
        description: str,
        quote_currency: str,
        contract_multiplier: float,
        minimum_price_variation: float,
        lot_size: float,
        market_ticker: str,
        minimum_order_size: float | None = None,
        price_magnifier: float = 1,
        strike_multiplier: float = 1,
    ) -> None:
        self.quote_currency, self.contract_multiplier = quote_currency, contract_multiplier
        self.minimum_price_variation, self.lot_size = minimum_price_variation, lot_size
        self.minimum_order_size = minimum_order_size


class SymbolPropertiesDatabase:
    entries: ClassVar[dict[tuple[str, str, SecurityType], SymbolProperties]] = {}

    @staticmethod
    def from_data_folder() -> SymbolPropertiesDatabase:
        return SymbolPropertiesDatabase()

    def set_entry(self, market: str, symbol: str, security_type: SecurityType, properties: SymbolProperties) -> bool:
        self.entries[market, symbol, security_type] = properties
        return True


def decimal(value: float) -> float:
    """What becomes of a number on its way into C#: ``OverflowException`` there for what no decimal holds."""
    if not math.isfinite(value):
        raise OverflowError(f"{value!r} is no decimal")
    return value


class Cash:
    def __init__(self, symbol: str, amount: float, conversion_rate: float) -> None:
        self.symbol, self.amount, self.conversion_rate = symbol, decimal(amount), decimal(conversion_rate)

    def add_amount(self, amount: float) -> float:
        self.amount += decimal(amount)
        return self.amount


class CashBook(dict[str, Cash]):
    def contains_key(self, symbol: str) -> bool:
        return symbol in self


class SecurityHolding:
    def __init__(self) -> None:
        self.quantity, self.average_price = 0.0, 0.0


class Security:
    def __init__(self, symbol: Symbol, properties: SymbolProperties, quote: Cash, base: Cash) -> None:
        self.symbol, self.type, self.symbol_properties = symbol, symbol.security_type, properties
        self.quote_currency, self.base_currency = quote, base
        self.price, self.open, self.volume = 0.0, 0.0, 0.0
        self.holdings = SecurityHolding()
        self.fee_model: Any = None
        self.fill_model: Any = None
        self.slippage_model: Any = None
        self.buying_power_model: Any = None
        self.margin_interest_rate_model: Any = None
        self.leverage = 1.0
        self.bar: Any = None  # the last one, however old
        self.bar_end = datetime(1970, 1, 1)

    def double_take(self, bar: Any) -> None:
        """A bar that ends now; a volume of zero leaves the one before, as in SecurityCache."""
        self.bar, self.bar_end = bar, NOW[0]
        self.price, self.open, self.volume = bar.close, bar.open, bar.volume or self.volume


class Crypto(Security):
    pass


class CryptoFuture(Security):
    def is_crypto_coin_future(self) -> bool:
        return self.symbol_properties.quote_currency not in ("USDT", "BUSD", "USDC")


class TradeBar(SimpleNamespace):
    pass


class TradeBars(dict[Symbol, TradeBar]):
    @property
    def count(self) -> int:
        return len(self)

    def contains_key(self, key: Symbol) -> bool:
        return key in self


class Slice:
    def __init__(self, bars: TradeBars) -> None:
        self.bars = bars


class SubscriptionDataSource:
    def __init__(
        self,
        source: str,
        transport_medium: SubscriptionTransportMedium,
        format: FileFormat,
    ) -> None:
        self.source, self.transport_medium, self.format = source, transport_medium, format


class PythonData(metaclass=FromLean):
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.value = 0.0

    def __setitem__(self, index: str, value: Any) -> None:
        self.values[index] = value

    def __getitem__(self, index: str) -> Any:
        return self.values[index]


class SubscriptionDataConfig:
    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol

"""Lean's fee models as recorded: rates on the security's price, a spot buy's fee in the coin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from lean_enums import OrderType, SecurityType


class CashAmount:
    def __init__(self, amount: float, currency: str) -> None:
        self.amount, self.currency = amount, currency


class OrderFee:
    def __init__(self, order_fee: CashAmount) -> None:
        self.value = order_fee


class OrderFeeParameters:
    def __init__(self, security: Any, order: Any) -> None:
        self.security, self.order = security, order


class FeeModel(ABC):
    @abstractmethod
    def get_order_fee(self, parameters: OrderFeeParameters) -> OrderFee: ...


class _RateFees(FeeModel):
    def __init__(self, maker: float, taker: float) -> None:
        self.rates = (maker, taker)

    def get_order_fee(self, parameters: OrderFeeParameters) -> OrderFee:
        security, order = parameters.security, parameters.order
        rate = self.rates[0] if order.type == OrderType.LIMIT and not order.is_marketable else self.rates[1]
        quantity = order.absolute_quantity
        if security.type == SecurityType.CRYPTO and order.quantity > 0:
            return OrderFee(CashAmount(quantity * rate, security.base_currency.symbol))
        if security.type == SecurityType.CRYPTO_FUTURE and security.is_crypto_coin_future():
            value = quantity * security.symbol_properties.contract_multiplier / security.price
            return OrderFee(CashAmount(value * rate, security.base_currency.symbol))
        price = order.limit_price if security.type == SecurityType.CRYPTO and order.limit_price else security.price
        return OrderFee(CashAmount(quantity * price * rate, security.quote_currency.symbol))


class BinanceFeeModel(_RateFees):
    def __init__(self, m_fee: float = 0.001, t_fee: float = 0.001) -> None:
        super().__init__(m_fee, t_fee)


class BinanceCoinFuturesFeeModel(_RateFees):
    def __init__(self, m_fee: float = 0.0001, t_fee: float = 0.0005) -> None:
        super().__init__(m_fee, t_fee)


class BinanceFuturesFeeModel(_RateFees):
    def __init__(
        self,
        m_usdt_fee: float = 0.0002,
        t_usdt_fee: float = 0.0004,
        m_busd_fee: float = 0.00012,
        t_busd_fee: float = 0.00036,
    ) -> None:
        super().__init__(m_usdt_fee, t_usdt_fee)


class BybitFeeModel(_RateFees):
    def __init__(self, m_fee: float = 0.001, t_fee: float = 0.001) -> None:
        super().__init__(m_fee, t_fee)


class BybitFuturesFeeModel(_RateFees):
    def __init__(self, maker_fee: float = 0.0002, taker_fee: float = 0.00055) -> None:
        super().__init__(maker_fee, taker_fee)

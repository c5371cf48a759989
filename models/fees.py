"""Fee models of a leg: Lean's C# classes with our rates where they can carry them, so that no call enters Python.

Lean asks a fee model three times a bar, order or not (lean-measured.md A.3), and one exception in a Python model turns
every later fee into US dollars (E). The Python model below is used only where no C# class fits. These are a leg's usual
fees: what the venue's own coin pays, the fill model puts on the fill (``models.fills``), and Lean asks no fee model.
"""

from __future__ import annotations

from AlgorithmImports import (
    BinanceCoinFuturesFeeModel,
    BinanceFeeModel,
    BinanceFuturesFeeModel,
    BybitFeeModel,
    BybitFuturesFeeModel,
    CashAmount,
    FeeModel,
    OrderFee,
    OrderFeeParameters,
    OrderType,
)

from crypto import fees
from crypto.instruments import Kind
from models.legs import Leg


class QuoteFees(FeeModel):
    """Fees of spot in the quote asset, buys included.

    It never raises: what Lean can't tell counts as a taker's order.
    """

    def __init__(self, leg: Leg) -> None:
        super().__init__()
        self._maker, self._taker, self._quote = leg.row.maker, leg.row.taker, leg.instrument.quote

    def get_order_fee(self, parameters: OrderFeeParameters) -> OrderFee:
        """Fee on the order's value at the security's price."""
        value, rate = 0.0, self._taker
        try:
            order = parameters.order
            value = order.absolute_quantity * parameters.security.price
            if order.type == OrderType.LIMIT and not order.is_marketable:
                rate = self._maker
        except Exception:  # noqa: BLE001, S110 - an exception here would switch Lean's wrapper for good
            pass
        return OrderFee(CashAmount(fees.fee(value, rate), self._quote))


def fee_model(leg: Leg) -> FeeModel:
    """The fee model of a leg by venue and kind."""
    maker, taker, kind = leg.row.maker, leg.row.taker, leg.instrument.kind
    if kind is Kind.SPOT and leg.row.fee_in_base == 0:
        return QuoteFees(leg)
    if leg.instrument.venue == "bybit":
        return BybitFeeModel(maker, taker) if kind is Kind.SPOT else BybitFuturesFeeModel(maker, taker)
    if kind is Kind.SPOT:
        return BinanceFeeModel(maker, taker)
    if kind is Kind.INVERSE:
        return BinanceCoinFuturesFeeModel(maker, taker)
    return BinanceFuturesFeeModel(maker, taker, maker, taker)

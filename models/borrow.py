"""Interest on borrowed coins, by the venue's hours, taken from the coin's cash. Amounts are the ledger's."""

from __future__ import annotations

from AlgorithmImports import MarginInterestRateParameters

from crypto.simulator.hosted import HostedExchange
from models.convert import milliseconds
from models.legs import Leg


class BorrowModel:
    """Margin interest model of a spot market whose coin may be borrowed."""

    def __init__(self, exchange: HostedExchange, legs: tuple[Leg, ...]) -> None:
        self._exchange, self._legs = exchange, legs

    def apply_margin_interest_rate(self, parameters: MarginInterestRateParameters) -> None:
        """Charge the hours that are due; Lean calls this once an hour."""
        if all(leg.row.debt == 0.0 for leg in self._legs):
            return
        now = milliseconds(parameters.time)
        for leg in self._legs:
            for amount in self._exchange.charge_borrow(leg.index, now):
                parameters.security.base_currency.add_amount(amount)

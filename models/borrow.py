"""Interest on borrowed coins, by the venue's hours, taken from the coin's cash. Amounts are the ledger's."""

from __future__ import annotations

from collections.abc import Callable

from AlgorithmImports import MarginInterestRateParameters, Security

from crypto.simulator.hosted import HostedExchange
from models.convert import milliseconds
from models.legs import Leg


class BorrowModel:
    """Margin interest model of a spot market whose coin may be borrowed. ``catch_up``: as of ``FundingModel``."""

    def __init__(self, exchange: HostedExchange, legs: tuple[Leg, ...], catch_up: Callable[[int], None]) -> None:
        self._exchange, self._legs, self._catch_up = exchange, legs, catch_up

    def apply_margin_interest_rate(self, parameters: MarginInterestRateParameters) -> None:
        """Charge the hours that are due; Lean calls this once an hour."""
        if all(leg.row.debt == 0.0 for leg in self._legs):
            return
        now_ms = milliseconds(parameters.time)
        self._catch_up(now_ms)
        for leg in self._legs:
            pay_interest(self._exchange, leg, parameters.security, now_ms)


def pay_interest(exchange: HostedExchange, leg: Leg, security: Security, now_ms: int) -> None:
    """Take the interest of a leg's hours up to ``now_ms`` out of Lean's cash."""
    for amount in exchange.charge_borrow(leg.index, now_ms):
        security.base_currency.add_amount(amount)

"""Funding: each contract's own settlements, booked in Lean's hourly look, before any order of the instant.

The amount comes from the exchange's ledger (``crypto.funding``): mark price, position of that moment, no stale rate.
"""

from __future__ import annotations

from AlgorithmImports import MarginInterestRateParameters

from crypto.instruments import Kind
from crypto.simulator.hosted import HostedExchange
from models.convert import moment
from models.legs import Leg

_LATEST_MS = 4_102_444_800_000  # 2100-01-01


class FundingModel:
    """Margin interest model of a perpetual."""

    def __init__(self, exchange: HostedExchange, legs: tuple[Leg, ...], *, on_last_price: bool) -> None:
        self._exchange, self._legs, self._on_last_price = exchange, legs, on_last_price
        self._is_inverse = legs[0].instrument.kind is Kind.INVERSE
        self._due = moment(0)

    def apply_margin_interest_rate(self, parameters: MarginInterestRateParameters) -> None:
        """Pay what has settled; Lean calls this once an hour for every security, held or not."""
        now = parameters.time.replace(tzinfo=None)
        if now < self._due:
            return
        security = parameters.security
        cash = security.base_currency if self._is_inverse else security.quote_currency
        price = security.price if self._on_last_price else float("nan")
        for leg in self._legs:
            for amount in self._exchange.settle(leg.index, int((now - moment(0)).total_seconds() * 1000), price):
                cash.add_amount(amount)
        following = min(self._exchange.settles_ms(leg.index) for leg in self._legs)
        self._due = moment(min(following, _LATEST_MS))

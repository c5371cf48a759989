"""Funding: each contract's own settlements, booked in Lean's hourly look, before any order of the instant.

The amount comes from the exchange's ledger (``crypto.funding``): mark price, position of that moment, no stale rate.
"""

from __future__ import annotations

from collections.abc import Callable

from AlgorithmImports import MarginInterestRateParameters, QCAlgorithm, Security

from crypto.instruments import Kind
from crypto.simulator.hosted import HostedExchange
from models.convert import milliseconds, moment
from models.legs import Leg

_LATEST_MS = 4_102_444_800_000  # 2100-01-01


class FundingModel:
    """Margin interest model of a perpetual. ``catch_up`` closes the bars that Lean skipped, up to a time in ms.

    The time is the algorithm's, which Lean has set before and which costs half of the parameters' (J.3); it is UTC.
    """

    def __init__(
        self,
        algorithm: QCAlgorithm,
        exchange: HostedExchange,
        legs: tuple[Leg, ...],
        catch_up: Callable[[int], None],
        *,
        on_last_price: bool,
    ) -> None:
        self._algorithm, self._exchange, self._legs = algorithm, exchange, legs
        self._catch_up, self._on_last_price = catch_up, on_last_price
        self._due = moment(0)

    def apply_margin_interest_rate(self, parameters: MarginInterestRateParameters) -> None:
        """Pay what has settled; Lean calls this once an hour for every security, held or not."""
        now = self._algorithm.time
        if now < self._due:
            return
        now_ms = milliseconds(now)
        self._catch_up(now_ms)
        for leg in self._legs:
            pay_settlements(self._exchange, leg, parameters.security, now_ms, on_last_price=self._on_last_price)
        following = min(self._exchange.settles_ms(leg.index) for leg in self._legs)
        self._due = moment(min(following, _LATEST_MS))


def pay_settlements(
    exchange: HostedExchange, leg: Leg, security: Security, now_ms: int, *, on_last_price: bool
) -> None:
    """Pay a leg's settlements up to ``now_ms`` into Lean's cash."""
    price = security.price if on_last_price else float("nan")
    cash = security.base_currency if leg.instrument.kind is Kind.INVERSE else security.quote_currency
    for amount in exchange.settle(leg.index, now_ms, price):
        cash.add_amount(amount)

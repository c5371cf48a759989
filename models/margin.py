"""Buying power by wallet: what the venue's own wallet of a leg carries, open orders and other pairs included.

Lean counts one cash book for all venues, leaves out the own position and open orders, and lets a perp stack up to a
multiple of its leverage (lean-measured.md C). The answers here are the exchange's (``crypto.simulator.valuation``).
"""

from __future__ import annotations

from collections.abc import Callable

from AlgorithmImports import (
    CryptoFutureMarginModel,
    HasSufficientBuyingPowerForOrderParameters,
    HasSufficientBuyingPowerForOrderResult,
    MaintenanceMargin,
    MaintenanceMarginParameters,
    SecurityMarginModel,
)

from crypto.errors import RefusedError
from crypto.simulator.hosted import HostedExchange
from models.fills import forced
from models.legs import Leg


class WalletCheck:
    """Whether the wallet of a leg carries an order. Orders from the book were checked and reserved when they left.

    ``is_ours`` says so of an order's tag. Lean asks again before every fill of a resting order, and ends one that does
    not pass.
    """

    def __init__(self, exchange: HostedExchange, leg: Leg, is_ours: Callable[[str], bool]) -> None:
        self._exchange, self._leg, self._is_ours = exchange, leg, is_ours

    def result(self, parameters: HasSufficientBuyingPowerForOrderParameters) -> HasSufficientBuyingPowerForOrderResult:
        """Lean's answer object. Forced fills always pass."""
        order = parameters.order
        try:
            if self._is_ours(order.tag) or forced(order.tag) is not None:
                return HasSufficientBuyingPowerForOrderResult(True)
        except RefusedError as error:
            return HasSufficientBuyingPowerForOrderResult(False, str(error))
        if self._exchange.affords(self._leg.index, order.quantity):
            return HasSufficientBuyingPowerForOrderResult(True)
        wallet = self._exchange.names.wallets[self._leg.row.wallet]
        return HasSufficientBuyingPowerForOrderResult(False, f"wallet {wallet} does not carry {order.quantity:g}")


class PerpMargin(CryptoFutureMarginModel):
    """Margin of a perpetual: initial margin from its wallet, maintenance margin from the venue's tiers."""

    def __init__(self, check: WalletCheck, maintenance: Callable[[float], float]) -> None:
        super().__init__()
        self._check, self._maintenance = check, maintenance

    def has_sufficient_buying_power_for_order(
        self, parameters: HasSufficientBuyingPowerForOrderParameters
    ) -> HasSufficientBuyingPowerForOrderResult:
        """Asked twice per order."""
        return self._check.result(parameters)

    def get_maintenance_margin(self, parameters: MaintenanceMarginParameters) -> MaintenanceMargin:
        """Asked by Lean's margin call model only, which is switched off (models/margin_calls.py)."""
        return MaintenanceMargin(self._maintenance(parameters.quantity))


class SpotMargin(SecurityMarginModel):
    """Spot: bought from the wallet's free cash, sold from what it holds or may borrow."""

    def __init__(self, check: WalletCheck) -> None:
        super().__init__()
        self._check = check

    def has_sufficient_buying_power_for_order(
        self, parameters: HasSufficientBuyingPowerForOrderParameters
    ) -> HasSufficientBuyingPowerForOrderResult:
        """Asked twice per order."""
        return self._check.result(parameters)

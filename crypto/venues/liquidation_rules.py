"""What differs between venues in deciding that an account is liquidated. Spec: docs/specs/liquidation.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from crypto.errors import UsageError


class ClosingFee(StrEnum):
    """How the fee of closing enters the requirement.

    ``NONE``: it does not. ``WITH_MAINTENANCE``: rate x notional is added to the maintenance margin.
    ``HELD_BACK``: the fee at the bankruptcy price is held back from the margin and asked for again, so it cancels.
    """

    NONE = "none"
    WITH_MAINTENANCE = "with_maintenance"
    HELD_BACK = "held_back"


@dataclass(frozen=True, slots=True)
class LiquidationRule:
    """One venue's rule. ``at_equality``: equity equal to maintenance already liquidates. ``orders_raise_maintenance``:
    open orders count as positions. ``price``: what positions are valued on. ``source``: where it was taken from.
    """

    venue: str
    at_equality: bool
    isolated_fee: ClosingFee
    cross_fee: ClosingFee
    orders_raise_maintenance: bool
    price: str
    source: str


RULES: Mapping[str, LiquidationRule] = {
    rule.venue: rule
    for rule in (
        LiquidationRule(
            "binance",
            at_equality=True,
            isolated_fee=ClosingFee.NONE,
            cross_fee=ClosingFee.NONE,
            orders_raise_maintenance=False,
            price="mark",
            source="Binance FAQ b3c689c1f50a44cabb3a84e663b81d93 (USD-M), ceccfcfb (COIN-M): margin ratio reaches 100%",
        ),
        LiquidationRule(
            "bybit",
            at_equality=True,
            isolated_fee=ClosingFee.HELD_BACK,
            cross_fee=ClosingFee.WITH_MAINTENANCE,
            orders_raise_maintenance=False,
            price="mark",
            source="Bybit help, isolated liquidation price in the unified account (2026-05-27), inverse part; the "
            "linear form follows by the same balance. Cross: account maintenance margin rate reaches 100%; the price "
            "shown is the venue's own estimate, whose formula is NOT KNOWN",
        ),
        LiquidationRule(
            "okx",
            at_equality=True,
            isolated_fee=ClosingFee.WITH_MAINTENANCE,
            cross_fee=ClosingFee.WITH_MAINTENANCE,
            orders_raise_maintenance=True,
            price="mark",
            source="OKX help: (margin + profit) / (notional x (maintenance rate + fee)) reaches 100%",
        ),
        LiquidationRule(
            "hyperliquid",
            at_equality=False,
            isolated_fee=ClosingFee.NONE,
            cross_fee=ClosingFee.NONE,
            orders_raise_maintenance=False,
            price="mark",
            source="Hyperliquid docs, 'Liquidations': account value below maintenance margin; equality NOT stated",
        ),
        LiquidationRule(
            "dydx",
            at_equality=False,
            isolated_fee=ClosingFee.NONE,
            cross_fee=ClosingFee.NONE,
            orders_raise_maintenance=False,
            price="oracle",
            source="dYdX v4 protocol, x/clob liquidation tests: at maintenance is not liquidatable",
        ),
    )
}


def liquidation_rule(venue: str) -> LiquidationRule:
    """The rule of ``venue``; ``UsageError`` when it is unknown."""
    if venue in RULES:
        return RULES[venue]
    close = get_close_matches(venue, list(RULES), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise UsageError(f"no liquidation rule for venue {venue!r}{hint}", remedy=f"known: {', '.join(sorted(RULES))}")


# Fraction of what is liquidated. Binance: ``liquidationFee`` of its exchangeInfo, 2026-03-31; most symbols have 1.5 %.
BINANCE_LIQUIDATION_FEE = 0.015
LIQUIDATION_FEES: Mapping[str, float] = {"binance:linear:BTCUSDT": 0.02, "binance:linear:ETHUSDT": 0.02}

# Share of a coin's value that backs perps. Bybit: ``collateralRatio`` in its documentation of VIP margin data; large
# holdings count less since 2025-02-19.
COLLATERAL_RATIOS: Mapping[tuple[str, str], float] = {("bybit", "BTC"): 0.95}


def liquidation_fee(key: str, taker: float) -> float:
    """Fee rate of a liquidation of the instrument ``key``; the ``taker`` rate where the venue has none of its own."""
    if key in LIQUIDATION_FEES:
        return LIQUIDATION_FEES[key]
    return BINANCE_LIQUIDATION_FEE if key.startswith("binance:") else taker


def collateral_ratio(venue: str, asset: str) -> float | None:
    """Share of the asset's value that backs perps in a unified wallet of ``venue``; None where it is not known here."""
    return COLLATERAL_RATIOS.get((venue, asset))

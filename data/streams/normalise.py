"""Signs and sides: how each venue writes them, what they mean here, and back. The one place that knows the difference.

Sources: the venues' WebSocket pages; docs/specs/streams.md names each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from crypto.errors import DataError
from data.streams.events import Aggressor, Liquidated

RawSide = bool | str
Ours = TypeVar("Ours")

# The raw value names: Binance whether the buyer was the maker; all others the taker's side.
_AGGRESSOR: Final[Mapping[str, Mapping[RawSide, Aggressor]]] = {
    "binance": {True: Aggressor.SELLER, False: Aggressor.BUYER},
    "bybit": {"Buy": Aggressor.BUYER, "Sell": Aggressor.SELLER},
    "okx": {"buy": Aggressor.BUYER, "sell": Aggressor.SELLER},
    "hyperliquid": {"B": Aggressor.BUYER, "A": Aggressor.SELLER},
    "dydx": {"BUY": Aggressor.BUYER, "SELL": Aggressor.SELLER},
}

# The raw value names: Binance the side of the liquidation ORDER; Bybit the side of the liquidated POSITION.
_LIQUIDATED: Final[Mapping[str, Mapping[RawSide, Liquidated]]] = {
    "binance": {"SELL": Liquidated.LONG, "BUY": Liquidated.SHORT},
    "bybit": {"Buy": Liquidated.LONG, "Sell": Liquidated.SHORT},
}

# Sign of an own funding payment as the source writes it, when money was RECEIVED.
_FUNDING_RECEIVED: Final[Mapping[tuple[str, str], int]] = {
    ("binance", "income"): 1,
    ("bybit", "execution-fee"): -1,
    ("bybit", "transaction-log"): 1,
}


def aggressor(venue: str, raw: RawSide) -> Aggressor:
    """Side that took liquidity; ``DataError`` for a venue or a value that is not in the table."""
    return _of(_AGGRESSOR, "trade side", venue)[_known(_AGGRESSOR, "trade side", venue, raw)]


def raw_aggressor(venue: str, side: Aggressor) -> RawSide:
    """What the venue writes for ``side``."""
    return next(raw for raw, ours in _of(_AGGRESSOR, "trade side", venue).items() if ours is side)


def liquidated(venue: str, raw: str) -> Liquidated:
    """Position that was closed; ``DataError`` for a venue or a value that is not in the table."""
    return _of(_LIQUIDATED, "liquidation side", venue)[_known(_LIQUIDATED, "liquidation side", venue, raw)]


def raw_liquidated(venue: str, position: Liquidated) -> RawSide:
    """What the venue writes when ``position`` was closed."""
    return next(raw for raw, ours in _of(_LIQUIDATED, "liquidation side", venue).items() if ours is position)


def funding_received(venue: str, source: str, amount: float) -> float:
    """Own funding payment, positive when received, from the ``amount`` that ``source`` of the venue writes."""
    return _sign(venue, source) * amount


def raw_funding(venue: str, source: str, received: float) -> float:
    """What ``source`` of the venue writes for a payment of ``received`` (positive: received)."""
    return _sign(venue, source) * received


def _of(table: Mapping[str, Mapping[RawSide, Ours]], what: str, venue: str) -> Mapping[RawSide, Ours]:
    if venue not in table:
        raise DataError(f"no {what} is known for venue {venue!r}", remedy=f"known venues: {', '.join(table)}")
    return table[venue]


def _known(table: Mapping[str, Mapping[RawSide, Ours]], what: str, venue: str, raw: RawSide) -> RawSide:
    sides = _of(table, what, venue)
    if raw not in sides:
        raise DataError(f"{venue} writes no {what} like that", remedy=f"known: {', '.join(map(str, sides))}")
    return raw


def _sign(venue: str, source: str) -> int:
    if (venue, source) not in _FUNDING_RECEIVED:
        known = ", ".join(" ".join(key) for key in _FUNDING_RECEIVED)
        raise DataError(f"the sign of {source!r} at {venue!r} is not known", remedy=f"known: {known}")
    return _FUNDING_RECEIVED[venue, source]

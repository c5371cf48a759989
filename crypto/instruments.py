"""What is traded: instruments with their venue filters, and the spot/perp pairs made of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from crypto.errors import SettingsError


class Kind(StrEnum):
    """Contract kind. ``LINEAR`` perps settle in the quote asset, ``INVERSE`` perps in the base asset."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable instrument and the filters that its venue applies to orders.

    Quantities of orders are counted in contracts and are multiples of ``lot``; positions are whole numbers of lots.
    ``multiplier``: base units per contract for spot and linear perps (1000 for 1000PEPEUSDT), quote value per contract
    for inverse perps (100 for Binance BTCUSD). Prices are as the venue quotes them, so a 1000PEPE price is for 1000
    PEPE.
    ``min_quantity`` is in contracts, ``min_notional`` in quote units (0: the venue has no such filter).
    """

    venue: str
    kind: Kind
    symbol: str
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    multiplier: Decimal = Decimal(1)
    closing_may_be_below_min_notional: bool = False
    settlement_interval_hours: int = 8

    @property
    def key(self) -> str:
        """Name used in settings, files and messages: ``venue:kind:symbol``."""
        return f"{self.venue}:{self.kind.value}:{self.symbol}"

    @property
    def settle(self) -> str:
        """Asset in which profit, fees and funding are paid."""
        return self.base if self.kind is Kind.INVERSE else self.quote

    @property
    def value_per_lot(self) -> Decimal:
        """Base units per lot (spot, linear) or quote value per lot (inverse)."""
        return self.lot * self.multiplier


@dataclass(frozen=True, slots=True)
class Pair:
    """A spot leg and a perpetual leg on the same base asset, possibly on two venues."""

    spot: Instrument
    perp: Instrument

    def __post_init__(self) -> None:
        if self.spot.kind is not Kind.SPOT:
            raise SettingsError(
                f"pair leg spot = {self.spot.key!r} is not a spot instrument", remedy="name a venue:spot:SYMBOL"
            )
        if self.perp.kind is Kind.SPOT:
            raise SettingsError(
                f"pair leg perp = {self.perp.key!r} is not a perpetual",
                remedy="name a venue:linear:SYMBOL or venue:inverse:SYMBOL",
            )
        if self.spot.base != self.perp.base:
            raise SettingsError(
                f"pair {self.spot.key} / {self.perp.key} mixes base assets {self.spot.base} and {self.perp.base}",
                remedy="both legs of a pair need the same base asset",
            )

    @property
    def name(self) -> str:
        """Short name: base asset and venue, or both venues where they differ; ``(inverse)`` when coin-margined."""
        venue = self.perp.venue if self.perp.venue == self.spot.venue else f"{self.spot.venue}/{self.perp.venue}"
        suffix = " inverse" if self.perp.kind is Kind.INVERSE else ""
        return f"{self.spot.base} {venue}{suffix}"


def parse_key(key: str) -> tuple[str, Kind, str]:
    """Split ``venue:kind:symbol``; raises ``SettingsError`` naming the key when it is malformed."""
    parts = key.split(":")
    kinds = {kind.value for kind in Kind}
    if len(parts) != 3 or not all(parts) or parts[1] not in kinds:
        raise SettingsError(
            f"instrument {key!r} is not of the form venue:kind:SYMBOL",
            remedy=f"kind is one of {', '.join(sorted(kinds))}, for example binance:linear:BTCUSDT",
        )
    return parts[0], Kind(parts[1]), parts[2]

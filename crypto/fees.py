"""Trading fees by venue, kind and tier, and the cost of a round trip. Spec: docs/specs/fees.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crypto.compiled import kernel
from crypto.errors import SettingsError
from crypto.instruments import Kind


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Fee rates as fractions of notional; a negative rate is a rebate."""

    maker: float
    taker: float


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """Fee tiers of one venue and kind. ``source`` names the venue's page and its date.

    ``spot_buy_fee_in_base``: a spot buy pays its fee by receiving less of the base asset.
    """

    venue: str
    kind: Kind
    tiers: Mapping[str, FeeTier]
    spot_buy_fee_in_base: bool
    source: str

    def rates(self, tier: str) -> FeeTier:
        """Rates of ``tier``; ``SettingsError`` with the tiers that exist when it is unknown."""
        if tier not in self.tiers:
            raise SettingsError(
                f"fees.tier.{self.venue} = {tier!r} is not a {self.kind} fee tier of {self.venue}",
                remedy=f"use one of {', '.join(self.tiers)}",
            )
        return self.tiers[tier]


@dataclass(frozen=True, slots=True)
class FeeDiscount:
    """A venue's own coin in which an account may pay its fees.

    ``shares``: part of the fee that is let off by kind; kinds that are not in it pay as usual. ``source``: where from.
    """

    asset: str
    shares: Mapping[Kind, float]
    source: str


@kernel
def fee(notional: float, rate: float) -> float:
    """Fee on ``notional`` (>= 0) in the unit of the notional; positive is what we pay, negative a rebate."""
    return notional * rate


@kernel
def base_after_fee(quantity_base: float, rate: float) -> float:
    """Base units that a spot buy of ``quantity_base`` leaves when its fee is taken in base."""
    return quantity_base * (1 - rate)


@kernel
def fee_in_coins(usual_fee: float, discount: float, coin_price: float) -> float:
    """Coins that pay ``usual_fee`` (> 0) less the fraction ``discount``; ``coin_price`` in the unit of the fee."""
    return usual_fee * (1 - discount) / coin_price


@kernel
def fee_of_coins(coins: float, discount: float, coin_price: float) -> float:
    """The usual fee that ``coins`` pay: the inverse of ``fee_in_coins``."""
    return coins * coin_price / (1 - discount)


@kernel
def round_trip_cost(spot_fee: float, perp_fee: float, spot_slippage: float, perp_slippage: float) -> float:
    """Cost of entering and leaving both legs, as a fraction of one leg's notional; inputs are fractions per fill."""
    return 2 * (spot_fee + perp_fee + spot_slippage + perp_slippage)

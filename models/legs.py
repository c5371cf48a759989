"""Which legs of the pairs each Lean security is, and the security of each leg."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from AlgorithmImports import Security, SecurityType

from crypto.instruments import Instrument, Kind
from crypto.simulator.hosted import HostedExchange
from models.convert import kind


@dataclass(slots=True)
class Leg:
    """One leg: its row in the exchange, its instrument and, once added, Lean's security with what is read every bar.

    ``volume``: of the last bar, as Lean's security showed it.
    """

    index: int
    instrument: Instrument
    row: Any
    security: Security | None = None
    symbol: Any = None
    volume: float = math.nan

    @property
    def lot(self) -> float:
        """Contracts per lot."""
        return float(self.row.units_per_lot)

    def quantity(self, lots: int) -> float:
        """Lots as a quantity on the venue's grid, without binary noise."""
        return float(lots * self.instrument.lot)


class LegBook:
    """All legs, by row and by Lean's security."""

    def __init__(self, exchange: HostedExchange, instruments: tuple[Instrument, ...]) -> None:
        rows = zip(instruments, exchange.world.legs, strict=True)
        self.legs = tuple(Leg(index, instrument, row) for index, (instrument, row) in enumerate(rows))
        self._by_name: dict[tuple[str, str, Kind], list[Leg]] = {}
        for leg in self.legs:
            self._by_name.setdefault(
                (leg.instrument.venue, self.ticker(leg.instrument), leg.instrument.kind), []
            ).append(leg)

    @staticmethod
    def ticker(instrument: Instrument) -> str:
        """Lean's ticker of an instrument: the venue's symbol without its suffix for perpetuals."""
        return instrument.symbol.removesuffix("_PERP")

    def of(self, security: Security) -> tuple[Leg, ...]:
        """The legs that trade a security; none for a hidden conversion feed or custom data."""
        if security.type not in (SecurityType.CRYPTO, SecurityType.CRYPTO_FUTURE):
            return ()
        found = kind(security.type, is_coin_future=getattr(security, "is_crypto_coin_future", bool)())
        return tuple(self._by_name.get((str(security.symbol.id.market), str(security.symbol.value), found), ()))

    def at(self, symbol: Any) -> tuple[Leg, ...]:
        """The legs with that symbol."""
        return tuple(leg for leg in self.legs if leg.symbol == symbol)

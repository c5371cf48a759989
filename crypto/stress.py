"""What a stress scenario is made of. ``data.stress`` reads it from TOML; ``config/stress.toml`` explains every key.

Times of shocks are hours after the book was opened. Moves are fractions: 0.25 is a rise by a quarter.
Spec: docs/specs/stress.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from crypto.settings import (
    AdlSettings,
    ExecutionSettings,
    MarginSettings,
    NakedPolicy,
    PairSettings,
    RiskSettings,
    SignalSettings,
    SlippageSettings,
    TransferSettings,
)


class Direction(StrEnum):
    """``CARRY``: long spot and short perp. ``REVERSE``: short spot and long perp. ``BOTH``: one book of each."""

    CARRY = "carry"
    REVERSE = "reverse"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class MarketPart:
    """The stretch of a lake that the shocks are laid on. Empty ``lake``: the bundled sample, which is synthetic."""

    lake: str = ""
    start: str = ""
    end: str = ""
    timeframe: str = "1h"


@dataclass(frozen=True, slots=True)
class BookPart:
    """The books. ``wallet_split`` 0: as much in the perp wallet as leaves a tenth of the capital free."""

    leverages: tuple[float, ...] = (3.0, 5.0, 10.0)
    direction: Direction = Direction.CARRY
    wallet_split: float = 0.0
    capital: float = 100_000.0
    open_after_hours: float = 72.0
    naked_policy: NakedPolicy = NakedPolicy.FLATTEN
    borrow_annual: float = 0.05


@dataclass(frozen=True, slots=True)
class PriceGap:
    """Prices jump by ``spot`` and ``perp`` (mark as well), within ``over_hours``, and return in ``return_hours``.

    ``over_hours`` 0: at once. ``return_hours`` 0: they stay. ``assets``: base assets; empty: all.
    """

    at_hours: float = 0.0
    spot: float = 0.0
    perp: float = 0.0
    over_hours: float = 0.0
    return_hours: float = 0.0
    assets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FundingFlip:
    """The next ``settlements`` funding rates are ``rate`` (fraction per interval; longs pay when positive)."""

    at_hours: float = 0.0
    rate: float = 0.0
    settlements: int = 1
    assets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BorrowRecall:
    """Borrowed coins become dear (``hourly_rate``, fraction) or, with ``buy_back``, have to be given back at once."""

    at_hours: float = 0.0
    hourly_rate: float = 0.0
    buy_back: bool = False
    assets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outage:
    """For ``hours`` nothing trades and nothing can be sent: orders, transfers. The mark goes on, or not."""

    at_hours: float = 0.0
    hours: float = 1.0
    spot: bool = True
    perp: bool = True
    mark_goes_on: bool = True


@dataclass(frozen=True, slots=True)
class MarkSpike:
    """In one bar the mark reaches ``move`` away from its open; trades do not follow."""

    at_hours: float = 0.0
    move: float = 0.0
    assets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StressScenario:
    """Market, books, shocks, and the settings that a scenario may change."""

    name: str = "stress"
    seed: int = 1
    market: MarketPart = field(default_factory=MarketPart)
    book: BookPart = field(default_factory=BookPart)
    pairs: tuple[PairSettings, ...] = ()
    price_gap: tuple[PriceGap, ...] = ()
    funding_flip: tuple[FundingFlip, ...] = ()
    borrow_recall: tuple[BorrowRecall, ...] = ()
    outage: tuple[Outage, ...] = ()
    mark_spike: tuple[MarkSpike, ...] = ()
    signal: SignalSettings = field(default_factory=SignalSettings)
    risk: RiskSettings = field(default_factory=RiskSettings)
    margin: MarginSettings = field(default_factory=MarginSettings)
    adl: AdlSettings = field(default_factory=AdlSettings)
    slippage: SlippageSettings = field(default_factory=SlippageSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    transfers: TransferSettings = field(default_factory=TransferSettings)

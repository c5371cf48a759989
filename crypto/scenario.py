"""What a synthetic market is made of: assets, contracts, length and seed. The model is in docs/specs/sample.md."""

from __future__ import annotations

from dataclasses import dataclass

from crypto.errors import UsageError
from crypto.units import DAY_MS

TIMEFRAME_MINUTES = {"5m": 5, "15m": 15, "30m": 30, "1h": 60}
MAX_DAYS = 1830
DAY_MINUTES = 1440
BURN_IN_MINUTES = DAY_MINUTES  # gives the first settlement a whole interval of premium, and the mark its average


@dataclass(frozen=True, slots=True)
class ContractParameters:
    """Constants of one instrument. ``decimals``: digits after the point of a price; a tick is 10 to the minus that.

    ``hourly_volume`` is a typical hour in the instrument's own unit: base units on spot, contracts on the perp.
    ``multiplier``: base units that a quoted price is for.
    """

    symbol: str
    decimals: int
    hourly_volume: float
    volume_decimals: int
    multiplier: float = 1.0


@dataclass(frozen=True, slots=True)
class AssetParameters:
    """Constants of one base asset, its spot instrument and its perpetual.

    ``start_price`` in quote per base unit; ``volatility`` annual; ``correlation`` of returns with the market factor;
    ``crash`` and ``premium`` scale the common crash and the moves of the common premium.
    ``funding_cap``: largest rate of one settlement, as a fraction.
    """

    base: str
    start_price: float
    volatility: float
    correlation: float
    crash: float
    premium: float
    spot: ContractParameters
    perp: ContractParameters
    settlement_hours: int
    funding_cap: float


ASSETS = (
    AssetParameters(
        base="BTC",
        start_price=42_300.0,
        volatility=0.48,
        correlation=0.92,
        crash=1.0,
        premium=1.0,
        spot=ContractParameters("BTCUSDT", decimals=2, hourly_volume=1_100.0, volume_decimals=2),
        perp=ContractParameters("BTCUSDT", decimals=1, hourly_volume=7_500.0, volume_decimals=1),
        settlement_hours=8,
        funding_cap=0.003,
    ),
    AssetParameters(
        base="ETH",
        start_price=2_290.0,
        volatility=0.58,
        correlation=0.88,
        crash=1.1,
        premium=1.1,
        spot=ContractParameters("ETHUSDT", decimals=2, hourly_volume=12_000.0, volume_decimals=1),
        perp=ContractParameters("ETHUSDT", decimals=2, hourly_volume=75_000.0, volume_decimals=0),
        settlement_hours=8,
        funding_cap=0.003,
    ),
    AssetParameters(
        base="PEPE",
        start_price=0.000_012_0,
        volatility=1.10,
        correlation=0.65,
        crash=1.35,
        premium=1.5,
        spot=ContractParameters("PEPEUSDT", decimals=8, hourly_volume=4.0e11, volume_decimals=0),
        perp=ContractParameters("1000PEPEUSDT", decimals=7, hourly_volume=2.0e9, volume_decimals=0, multiplier=1000.0),
        settlement_hours=4,
        funding_cap=0.02,
    ),
)
DAILY_BORROW_RATE = {"BTC": 4.4e-5, "ETH": 6.3e-5, "PEPE": 1.05e-4, "USDT": 1.15e-4}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to generate. ``start_ms``: UTC midnight of the first day. Raises ``UsageError`` naming the wrong value."""

    seed: int = 1
    days: int = 180
    timeframe: str = "1h"
    start_ms: int = 1_704_067_200_000
    assets: tuple[AssetParameters, ...] = ASSETS

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"seed = {self.seed} is negative", remedy="give a whole number from 0")
        if not 1 <= self.days <= MAX_DAYS:
            raise UsageError(f"days = {self.days} is out of range", remedy=f"give a whole number from 1 to {MAX_DAYS}")
        if self.timeframe not in TIMEFRAME_MINUTES:
            raise UsageError(
                f"timeframe = {self.timeframe!r} is not known", remedy=f"give one of {', '.join(TIMEFRAME_MINUTES)}"
            )
        if self.start_ms % DAY_MS:
            raise UsageError(
                f"start = {self.start_ms} ms is not a UTC midnight", remedy="give the first instant of a day"
            )

    @property
    def minutes(self) -> int:
        """Length of the market in minutes, without the burn-in."""
        return self.days * DAY_MINUTES

    @property
    def bar_minutes(self) -> int:
        """Length of one bar in minutes."""
        return TIMEFRAME_MINUTES[self.timeframe]

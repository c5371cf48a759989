"""Settings of a run, as frozen values.

``data.settings`` reads them from TOML; ``config/carry.toml`` documents every key.

Field names are the TOML keys, nested dataclasses are TOML tables. Fractions are plain (0.01 is one per cent) unless the
name ends in ``_bps`` (one ten-thousandth). Times are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum


class MissingPolicy(StrEnum):
    """What to do where a settlement has no rate or no mark price, or an hour no borrow rate."""

    FAIL = "fail"
    SKIP = "skip"
    LAST_KNOWN = "last_known"


class GracePolicy(StrEnum):
    """Which position a settlement sees when fills fall into the venue's grace seconds after the instant.

    ``INSTANT``: the position at the instant. ``END_OF_GRACE``: the position when the grace seconds are over.
    ``ADVERSE``: fills inside the grace count only where they make the payment worse for us (the default).
    """

    INSTANT = "instant"
    END_OF_GRACE = "end_of_grace"
    ADVERSE = "adverse"


class PriceSource(StrEnum):
    """Price on which funding is paid and perps are valued: the venue's mark, or the last trade (Lean's convention)."""

    MARK = "mark"
    LAST = "last"


class FundingClock(StrEnum):
    """When funding is settled: at each contract's own rows, or by the clock of Lean's stock model (lean_stock.md).

    ``LEAN``: at 00, 08 and 16 UTC with the last rate delivered, not for a position opened within the hour before.
    """

    CONTRACT = "contract"
    LEAN = "lean"


class AccountModel(StrEnum):
    """Wallets and buying power: the venue's wallets, or Lean's one cash book with its stock margin models."""

    VENUE = "venue"
    LEAN = "lean"


class Style(StrEnum):
    """How the first leg is sent: at market, or as post-only limit at the last close until the leg timeout."""

    TAKER = "taker"
    MAKER_FIRST = "maker_first"


class FillPrice(StrEnum):
    """Price of a market order: the open of the bar in which it arrives, or the last close (Lean's convention)."""

    NEXT_OPEN = "next_open"
    LAST_CLOSE = "last_close"


class FirstLeg(StrEnum):
    """Which leg is sent first; the other is sent for what has filled. ``THIN``: the leg with the lower traded value."""

    SPOT = "spot"
    PERP = "perp"
    THIN = "thin"


class MarginEngine(StrEnum):
    """``VENUE``: the venue checks margin, liquidates and deleverages. ``OFF``: a run ends when a wallet is used up."""

    VENUE = "venue"
    OFF = "off"


class EarlyTiers(StrEnum):
    """What holds before the first known tier table of a contract: nothing (``FAIL``) or that first table."""

    FAIL = "fail"
    EARLIEST = "earliest"


class OracleKind(StrEnum):
    """What the composite price is made of: spot closes, marks, or last trades of perps where no mark is held."""

    INDEX = "index"
    MARK = "mark"
    LAST = "last"


class NakedPolicy(StrEnum):
    """What a pair does when the venue has closed its perp leg.

    ``REHEDGE``: open the perp again where the margin allows it, else flatten. ``FLATTEN``: sell what is not hedged.
    ``WAIT``: hold it for ``naked_wait_hours``, then flatten.
    """

    REHEDGE = "rehedge"
    FLATTEN = "flatten"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Period, grid and seed.

    ``start``/``end``: ISO date or date-time, UTC, end exclusive; empty = what the data hold.
    """

    name: str = "carry"
    start: str = ""
    end: str = ""
    timeframe: str = "1h"
    seed: int = 1
    account_currency: str = "USDT"
    account: AccountModel = AccountModel.VENUE


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Where the lake is, how far a settlement stamp may be off its instant, and what perps are valued on."""

    lake: str = ""
    settlement_tolerance_ms: int = 60_000
    valuation_price: PriceSource = PriceSource.MARK
    stale_after_bars: int = 1


@dataclass(frozen=True, slots=True)
class PairSettings:
    """One pair by instrument keys (``venue:kind:SYMBOL``); ``weight`` is its share of the deployed capital."""

    spot: str = ""
    perp: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class DiscountSettings:
    """Fees paid in the venue's own coin, as long as the wallet that trades holds enough of it (docs/specs/fees.md).

    ``spot``, ``linear``: part of the fee that is let off, instead of the venue's.
    """

    enabled: bool = False
    spot: float | None = None
    linear: float | None = None


@dataclass(frozen=True, slots=True)
class FeeSettings:
    """``tier``: fee tier by venue.

    ``override``: instrument key -> {maker, taker} fractions. Spot buy fee in base by venue rule. ``discount`` by venue.
    """

    tier: Mapping[str, str] = field(default_factory=dict)
    override: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    spot_buy_fee_in_base: bool = True
    discount: Mapping[str, DiscountSettings] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SlippageSettings:
    """Price paid beyond the bar's open: half the spread, plus impact in proportion to the share of volume taken."""

    spot_half_spread_bps: float = 0.5
    perp_half_spread_bps: float = 0.5
    impact_bps: float = 10.0
    max_participation: float = 0.05


@dataclass(frozen=True, slots=True)
class FundingSettings:
    """Funding rules of the run. ``max_age_hours`` limits ``last_known``."""

    price: PriceSource = PriceSource.MARK
    clock: FundingClock = FundingClock.CONTRACT
    missing_rate: MissingPolicy = MissingPolicy.FAIL
    missing_mark: MissingPolicy = MissingPolicy.FAIL
    max_age_hours: float = 8.0
    grace: GracePolicy = GracePolicy.ADVERSE


@dataclass(frozen=True, slots=True)
class BorrowSettings:
    """Spot borrowing for reverse carry.

    ``hourly_rate``: venue -> {asset: fraction per hour}, used where the lake has no series.
    """

    enabled: bool = False
    hourly_rate: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    missing_rate: MissingPolicy = MissingPolicy.FAIL
    max_age_hours: float = 24.0


@dataclass(frozen=True, slots=True)
class SignalSettings:
    """Entry and exit rules of the default strategy; see docs/specs/signal.md."""

    holding_hours: float = 720.0
    entry_edge_bps: float = 10.0
    forecast_half_life_hours: float = 72.0
    basis_half_life_hours: float = 72.0
    basis_reversion: float = 0.5
    warmup_hours: float = 72.0
    min_holding_hours: float = 24.0
    cooldown_hours: float = 24.0
    flip_annual: float = -0.02
    basis_blowout_bps: float = 150.0
    pair_drawdown: float = 0.03


@dataclass(frozen=True, slots=True)
class PortfolioSettings:
    """Sizing. A pair of notional N takes N in the spot wallet and ``collateral_ratio`` x N in the perp wallet."""

    deploy: float = 0.9
    collateral_ratio: float = 0.5
    min_collateral_ratio: float = 0.25
    max_collateral_ratio: float = 1.0
    perp_leverage: float = 5.0
    min_pair_notional: float = 100.0
    resize_band: float = 0.25


@dataclass(frozen=True, slots=True)
class TierFile:
    """Leverage tiers of the user's own: a file in ccxt's form, its ``venue``, and the date from which it holds."""

    venue: str = ""
    path: str = ""
    effective: str = ""


@dataclass(frozen=True, slots=True)
class MarginSettings:
    """The venue's risk engine.

    ``liquidation_fee``: instrument key -> fraction of what is liquidated, instead of the shipped one.
    ``liquidity_gap``: how far between the mark that triggers (0) and the bar's extreme (1) a forced order fills.
    ``collateral_ratio``: venue -> {asset: share of its value that backs perps}, for unified wallets.
    """

    engine: MarginEngine = MarginEngine.VENUE
    tiers_before_first: EarlyTiers = EarlyTiers.EARLIEST
    tier_files: tuple[TierFile, ...] = ()
    liquidation_fee: Mapping[str, float] = field(default_factory=dict)
    liquidity_gap: float = 0.3
    collateral_ratio: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AdlSettings:
    """Auto-deleveraging of our winning leg by a model of the other accounts, off unless ``enabled``.

    ``open_interest`` and ``insurance_fund``: instrument key -> quote units. ``min_move``: smallest move of the mark in
    a bar that is examined. ``smallest_position``: quote notional of the smallest account that is modelled.
    """

    enabled: bool = False
    open_interest: Mapping[str, float] = field(default_factory=dict)
    insurance_fund: Mapping[str, float] = field(default_factory=dict)
    min_move: float = 0.05
    smallest_position: float = 10_000.0
    mean_age_hours: float = 72.0


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """Limits checked before any order, and guards on what is open (docs/specs/guards.md).

    Shares are of equity, distances fractions of the mark. ``_sigmas``: the same in daily volatilities. ``rearm``: ISO
    instants, UTC, at which a person switches trading on again where the kill switch was pulled before.
    """

    min_distance: float = 0.08
    restore_distance: float = 0.2
    min_sigmas: float = 2.0
    restore_sigmas: float = 3.0
    max_unhedged_hours: float = 6.0
    max_adl_light: int = 4
    adl_keep: float = 0.5
    max_asset_fraction: float = 1.0
    concentration_band: float = 0.25
    oracle_recovery_bars: int = 3
    naked_policy: NakedPolicy = NakedPolicy.FLATTEN
    naked_wait_hours: float = 24.0
    max_pair_fraction: float = 0.8
    max_venue_fraction: float = 1.0
    max_gross_leverage: float = 1.0
    max_drawdown: float = 0.2
    rearm: tuple[str, ...] = ()
    max_delta_fraction: float = 0.02


@dataclass(frozen=True, slots=True)
class OracleSettings:
    """The composite price that the oracle guard watches, rebuilt from the lake (docs/specs/oracle.md).

    ``sources``: asset -> instrument keys, one per venue; an asset without an entry takes every venue of the lake.
    ``weights`` by venue and ``quote_rates`` (units of ``unit`` per unit of a quote) add to what is built in.
    Limits are fractions as in ``crypto.oracle.Rules``; ``_majors`` hold for BTC and ETH, ``_others`` for the rest.
    ``max_mark_deviation``: of a perp's own price from the composite; 0: not compared.
    """

    enabled: bool = False
    kind: OracleKind = OracleKind.INDEX
    unit: str = "USDT"
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    quote_rates: Mapping[str, float] = field(default_factory=dict)
    max_age_ms: int = 0
    quorum: int = 3
    degraded_quorum: int = 2
    mad_factor: float = 5.0
    deviation_floor_majors: float = 0.003
    deviation_floor_others: float = 0.015
    deviation_cap: float = 0.03
    max_dispersion_majors: float = 0.01
    max_dispersion_others: float = 0.03
    max_mark_deviation: float = 0.03


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """Order handling.

    ``latency_ms``: from decision to arrival at the venue. ``leg_timeout_bars``: bars to wait for a leg.
    """

    latency_ms: int = 250
    fill_price: FillPrice = FillPrice.NEXT_OPEN
    style: Style = Style.TAKER
    first_leg: FirstLeg = FirstLeg.THIN
    leg_timeout_bars: int = 3
    max_orders_per_hour: int = 120


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """Transfers between our wallets.

    Delays and fees by whether both wallets are on one venue; fee in account currency.
    """

    delay_ms: int = 1_000
    cross_venue: bool = False
    cross_venue_delay_ms: int = 1_800_000
    cross_venue_fee: float = 1.0


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """Where results go, and whether the HTML report is written."""

    directory: str = "results"
    report: bool = True


@dataclass(frozen=True, slots=True)
class InstrumentSettings:
    """Filters of one instrument, replacing or adding to the shipped table. Empty strings keep the shipped value."""

    base: str = ""
    quote: str = ""
    tick: Decimal | None = None
    lot: Decimal | None = None
    min_quantity: Decimal | None = None
    min_notional: Decimal | None = None
    multiplier: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides a run besides the data. ``wallets``: ``venue:name`` -> {asset: amount at start}."""

    run: RunSettings = field(default_factory=RunSettings)
    data: DataSettings = field(default_factory=DataSettings)
    wallets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pairs: tuple[PairSettings, ...] = ()
    fees: FeeSettings = field(default_factory=FeeSettings)
    slippage: SlippageSettings = field(default_factory=SlippageSettings)
    funding: FundingSettings = field(default_factory=FundingSettings)
    borrow: BorrowSettings = field(default_factory=BorrowSettings)
    signal: SignalSettings = field(default_factory=SignalSettings)
    portfolio: PortfolioSettings = field(default_factory=PortfolioSettings)
    risk: RiskSettings = field(default_factory=RiskSettings)
    oracle: OracleSettings = field(default_factory=OracleSettings)
    margin: MarginSettings = field(default_factory=MarginSettings)
    adl: AdlSettings = field(default_factory=AdlSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    transfers: TransferSettings = field(default_factory=TransferSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    instruments: Mapping[str, InstrumentSettings] = field(default_factory=dict)

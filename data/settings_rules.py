"""What values the settings may have: a table of ranges by key, and the rules that tie several keys together."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from crypto.errors import SettingsError, UsageError
from crypto.instruments import Kind, parse_key
from crypto.settings import PairSettings, Settings
from crypto.units import DAY_MS, parse_iso
from data.settings_oracle import check_oracle

TIMEFRAMES = ("1m", "5m", "15m", "1h", "4h")


@dataclass(frozen=True, slots=True)
class Rule:
    """A range: ``words`` complete the sentence "key = value must be ...", ``holds`` decides."""

    words: str
    holds: Callable[[Any], bool]


def between(low: float, high: float) -> Rule:
    """Both ends allowed."""
    return Rule(f"from {_shown(low)} to {_shown(high)}", lambda value: low <= value <= high)


def _shown(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def above(low: float, high: float) -> Rule:
    """Greater than ``low``, at most ``high``."""
    return Rule(f"above {low:g} and at most {high:g}", lambda value: low < value <= high)


def matching(pattern: str, words: str) -> Rule:
    """Text that the regular expression matches from end to end."""
    return Rule(words, lambda value: re.fullmatch(pattern, value) is not None)


def _is_time(text: str) -> bool:
    if not text:
        return True
    try:
        parse_iso(text)
    except UsageError:
        return False
    return True


YEAR_HOURS = 366 * 24
DECADE_HOURS = 10 * YEAR_HOURS

NOT_NEGATIVE = Rule("zero or more", lambda value: value >= 0)
POSITIVE = Rule("more than zero", lambda value: value > 0)
SHARE = above(0, 1)
DISCOUNT = Rule("zero or more and below 1", lambda value: 0 <= value < 1)
TIME = Rule("an ISO date or date-time such as 2024-11-01 or 2024-11-01T08:00Z, or empty", _is_time)
INSTANT = Rule(
    "an ISO date or date-time such as 2024-11-01 or 2024-11-01T08:00Z", lambda value: bool(value) and _is_time(value)
)
ASSET = matching(r"[A-Z0-9]{1,20}", "an asset in capitals such as USDT")
DECIMAL_POSITIVE = Rule("more than zero", lambda value: value > Decimal(0))
DECIMAL_NOT_NEGATIVE = Rule("zero or more", lambda value: value >= Decimal(0))

# By dotted key; "*" stands for a free part, such as the place of a pair or the name of a wallet.
RANGES: Mapping[str, Rule] = {
    "run.name": matching(r"[A-Za-z0-9][A-Za-z0-9 _+.-]{0,99}", "a plain file name: letters, digits, blanks and _+.-"),
    "run.start": TIME,
    "run.end": TIME,
    "run.timeframe": Rule(f"one of {', '.join(TIMEFRAMES)}", lambda value: value in TIMEFRAMES),
    "run.seed": between(0, 2**32 - 1),
    "run.account_currency": ASSET,
    "data.settlement_tolerance_ms": between(0, 1_800_000),
    "data.stale_after_bars": between(1, 1_000_000),
    "wallets.*.*": NOT_NEGATIVE,
    "pairs.*.weight": NOT_NEGATIVE,
    "fees.tier.*": Rule("the name of a fee tier", bool),
    "fees.override.*.*": between(-0.05, 0.05),
    "fees.discount.*.spot": DISCOUNT,
    "fees.discount.*.linear": DISCOUNT,
    "slippage.spot_half_spread_bps": between(0, 5_000),
    "slippage.perp_half_spread_bps": between(0, 5_000),
    "slippage.impact_bps": between(0, 5_000),
    "slippage.max_participation": between(0, 1),
    "funding.max_age_hours": above(0, YEAR_HOURS),
    "borrow.hourly_rate.*.*": between(0, 0.01),
    "borrow.max_age_hours": above(0, YEAR_HOURS),
    "signal.holding_hours": above(0, DECADE_HOURS),
    "signal.entry_edge_bps": between(-10_000, 10_000),
    "signal.forecast_half_life_hours": above(0, DECADE_HOURS),
    "signal.basis_half_life_hours": above(0, DECADE_HOURS),
    "signal.basis_reversion": between(0, 1),
    "signal.warmup_hours": between(0, DECADE_HOURS),
    "signal.min_holding_hours": between(0, DECADE_HOURS),
    "signal.cooldown_hours": between(0, DECADE_HOURS),
    "signal.flip_annual": between(-100, 100),
    "signal.basis_blowout_bps": above(0, 100_000),
    "signal.pair_drawdown": SHARE,
    "portfolio.deploy": SHARE,
    "portfolio.collateral_ratio": above(0, 100),
    "portfolio.min_collateral_ratio": above(0, 100),
    "portfolio.max_collateral_ratio": above(0, 100),
    "portfolio.perp_leverage": above(0, 200),
    "portfolio.min_pair_notional": NOT_NEGATIVE,
    "portfolio.resize_band": between(0, 100),
    "risk.max_pair_fraction": SHARE,
    "risk.max_venue_fraction": SHARE,
    "risk.max_gross_leverage": above(0, 200),
    "risk.max_drawdown": SHARE,
    "risk.rearm.*": INSTANT,
    "risk.max_delta_fraction": SHARE,
    "risk.min_distance": between(0, 1),
    "risk.restore_distance": between(0, 1),
    "risk.min_sigmas": between(0, 100),
    "risk.restore_sigmas": between(0, 100),
    "risk.max_unhedged_hours": between(0, YEAR_HOURS),
    "risk.max_adl_light": between(1, 5),
    "risk.adl_keep": between(0, 1),
    "risk.max_asset_fraction": above(0, 100),
    "risk.concentration_band": between(0, 100),
    "risk.oracle_recovery_bars": between(1, 1_000_000),
    "risk.naked_wait_hours": between(0, YEAR_HOURS),
    "oracle.unit": ASSET,
    "oracle.sources.*.*": Rule("an instrument key, venue:kind:SYMBOL", bool),
    "oracle.weights.*": POSITIVE,
    "oracle.quote_rates.*": POSITIVE,
    "oracle.max_age_ms": between(0, 30 * DAY_MS),
    "oracle.quorum": between(1, 100),
    "oracle.degraded_quorum": between(1, 100),
    "oracle.mad_factor": between(0, 1_000),
    "oracle.deviation_floor_majors": between(0, 1),
    "oracle.deviation_floor_others": between(0, 1),
    "oracle.deviation_cap": above(0, 1),
    "oracle.max_dispersion_majors": above(0, 1),
    "oracle.max_dispersion_others": above(0, 1),
    "oracle.max_mark_deviation": between(0, 1),
    "margin.tier_files.*.venue": matching(r"[a-z0-9_-]+", "the name of a venue"),
    "margin.tier_files.*.path": Rule("the path of a file", bool),
    "margin.tier_files.*.effective": Rule(
        "an ISO date such as 2024-10-24", lambda value: bool(value) and _is_time(value)
    ),
    "margin.liquidation_fee.*": between(0, 0.1),
    "margin.liquidity_gap": between(0, 1),
    "margin.collateral_ratio.*.*": between(0, 1),
    "adl.open_interest.*": POSITIVE,
    "adl.insurance_fund.*": NOT_NEGATIVE,
    "adl.min_move": between(0.001, 1),
    "adl.smallest_position": POSITIVE,
    "adl.mean_age_hours": above(0, YEAR_HOURS),
    "execution.latency_ms": between(0, DAY_MS),
    "execution.leg_timeout_bars": between(1, 1_000_000),
    "execution.max_orders_per_hour": between(1, 1_000_000),
    "transfers.delay_ms": between(0, 30 * DAY_MS),
    "transfers.cross_venue_delay_ms": between(0, 30 * DAY_MS),
    "transfers.cross_venue_fee": NOT_NEGATIVE,
    "output.directory": Rule("the name of a folder", bool),
    "instruments.*.tick": DECIMAL_POSITIVE,
    "instruments.*.lot": DECIMAL_POSITIVE,
    "instruments.*.min_quantity": DECIMAL_NOT_NEGATIVE,
    "instruments.*.min_notional": DECIMAL_NOT_NEGATIVE,
    "instruments.*.multiplier": DECIMAL_POSITIVE,
}

# Names inside free tables, by the dotted key of the table.
FREE_NAMES: Mapping[str, Rule] = {
    "wallets": matching(r"[a-z0-9_-]+:[a-z0-9_-]+", "venue:name in small letters such as binance:spot"),
    "wallets.*": ASSET,
    "fees.discount": matching(r"[a-z0-9_-]+", "the name of a venue"),
    "fees.override.*": Rule("maker or taker", lambda name: name in ("maker", "taker")),
    "borrow.hourly_rate.*": ASSET,
    "margin.collateral_ratio.*": ASSET,
    "oracle.sources": ASSET,
    "oracle.quote_rates": ASSET,
}


def check_together(settings: Settings, failed: Collection[str]) -> Iterator[str]:
    """Problems that concern several keys at once.

    ``failed``: patterns of keys whose own value was refused; checks that need one of them are left out.
    """
    for keys, check in CHECKS:
        if not any(pattern.startswith(key) for pattern in failed for key in keys):
            yield from check(settings)


def _check_period(settings: Settings) -> Iterator[str]:
    start, end = settings.run.start, settings.run.end
    if start and end and parse_iso(start) >= parse_iso(end):
        yield f"run.start = {start!r} must be before run.end = {end!r} (the end is exclusive)"


def _check_capital(settings: Settings) -> Iterator[str]:
    if not any(amount > 0 for assets in settings.wallets.values() for amount in assets.values()):
        yield 'wallets holds no capital: name at least one amount, such as [wallets."binance:spot"] with USDT = 70000'


def _check_pairs(settings: Settings) -> Iterator[str]:
    return check_pairs(settings.pairs)


def check_pairs(pairs: Sequence[PairSettings]) -> Iterator[str]:
    """Problems of a list of pairs: none, no weight, wrong keys, the same pair twice."""
    if not pairs:
        yield "pairs is empty: name at least one [[pairs]] with spot and perp"
        return
    if sum(pair.weight for pair in pairs) <= 0:
        yield "pairs.*.weight: the weights must sum to more than zero"
    seen: dict[tuple[str, str], int] = {}
    for place, pair in enumerate(pairs):
        yield from _check_instrument(f"pairs.{place}.spot", pair.spot, is_spot=True)
        yield from _check_instrument(f"pairs.{place}.perp", pair.perp, is_spot=False)
        first = seen.setdefault((pair.spot, pair.perp), place)
        if first != place:
            yield f"pairs.{place} repeats pairs.{first} ({pair.spot} / {pair.perp})"


def _check_instrument(path: str, key: str, *, is_spot: bool | None = None) -> Iterator[str]:
    if not key:
        yield f"{path} is missing: name an instrument, venue:kind:SYMBOL"
        return
    try:
        kind = parse_key(key)[1]
    except SettingsError as error:
        yield f"{path} = {key!r}: {error.message} ({error.remedy})"
        return
    if is_spot is not None and (kind is Kind.SPOT) is not is_spot:
        wanted = (
            "a spot instrument, venue:spot:SYMBOL"
            if is_spot
            else "a perpetual, venue:linear:SYMBOL or venue:inverse:SYMBOL"
        )
        yield f"{path} = {key!r} must be {wanted}"


def _check_collateral(settings: Settings) -> Iterator[str]:
    portfolio = settings.portfolio
    low, target, high = portfolio.min_collateral_ratio, portfolio.collateral_ratio, portfolio.max_collateral_ratio
    if not low <= target <= high:
        yield (
            f"portfolio.collateral_ratio = {target:g} must lie between min_collateral_ratio = {low:g} "
            f"and max_collateral_ratio = {high:g}"
        )


def _check_distance(settings: Settings) -> Iterator[str]:
    risk = settings.risk
    if risk.restore_distance < risk.min_distance:
        yield (
            f"risk.restore_distance = {risk.restore_distance:g} must not be below risk.min_distance ="
            f" {risk.min_distance:g}"
        )
    if risk.restore_sigmas < risk.min_sigmas:
        yield f"risk.restore_sigmas = {risk.restore_sigmas:g} must not be below risk.min_sigmas = {risk.min_sigmas:g}"


def _check_instrument_tables(settings: Settings) -> Iterator[str]:
    for table, names in (("fees.override", settings.fees.override), ("instruments", settings.instruments)):
        for name in names:
            yield from _check_instrument(f'{table}."{name}"', name)


CHECKS: tuple[tuple[tuple[str, ...], Callable[[Settings], Iterator[str]]], ...] = (
    (("run.start", "run.end"), _check_period),
    (("wallets",), _check_capital),
    (("pairs",), _check_pairs),
    (
        ("portfolio.collateral_ratio", "portfolio.min_collateral_ratio", "portfolio.max_collateral_ratio"),
        _check_collateral,
    ),
    (("risk.min_distance", "risk.restore_distance", "risk.min_sigmas", "risk.restore_sigmas"), _check_distance),
    (("fees.override", "instruments"), _check_instrument_tables),
    (("oracle",), lambda settings: check_oracle(settings.oracle)),
)

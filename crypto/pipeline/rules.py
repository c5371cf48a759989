"""The numbers that the pipeline decides by, as one record: what compiled code, Python stages and Lean all read."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from crypto.funding import grace_code
from crypto.settings import (
    AccountModel,
    FillPrice,
    FirstLeg,
    FundingClock,
    MarginEngine,
    NakedPolicy,
    Settings,
    Style,
)
from crypto.units import BPS, HOUR_MS

FIRST_LEG_CODES = {FirstLeg.SPOT: 0, FirstLeg.PERP: 1, FirstLeg.THIN: 2}
NAKED_CODES = {NakedPolicy.FLATTEN: 0, NakedPolicy.REHEDGE: 1, NakedPolicy.WAIT: 2}

RULES = np.dtype(
    [
        ("start_ms", "i8"),
        ("bar_ms", "i8"),
        ("bar_hours", "f8"),
        ("account_asset", "i8"),
        ("transit", "i8"),  # wallet row of transfers on their way
        # features and signal
        ("basis_alpha", "f8"),
        ("variance_alpha", "f8"),
        ("turnover_alpha", "f8"),
        ("warmup_bars", "i8"),
        ("stale_after_bars", "i8"),
        ("holding_hours", "f8"),
        ("entry_edge", "f8"),
        ("basis_reversion", "f8"),
        ("min_holding_ms", "i8"),
        ("cooldown_ms", "i8"),
        ("flip_annual", "f8"),
        ("basis_blowout", "f8"),
        ("pair_drawdown", "f8"),
        # portfolio
        ("deploy", "f8"),
        ("collateral_ratio", "f8"),
        ("min_collateral_ratio", "f8"),
        ("max_collateral_ratio", "f8"),
        ("leverage", "f8"),
        ("min_pair_notional", "f8"),
        ("resize_band", "f8"),
        # risk
        ("max_pair_fraction", "f8"),
        ("max_venue_fraction", "f8"),
        ("max_gross_leverage", "f8"),
        ("max_drawdown", "f8"),
        ("max_delta_fraction", "f8"),
        ("min_distance", "f8"),
        ("restore_distance", "f8"),
        ("min_sigmas", "f8"),
        ("restore_sigmas", "f8"),
        ("max_unhedged_ms", "i8"),
        ("max_adl_light", "f8"),
        ("adl_keep", "f8"),
        ("max_asset_fraction", "f8"),
        ("concentration_band", "f8"),
        ("oracle_recovery_bars", "i8"),
        ("naked_policy", "i8"),  # 0 flatten, 1 rehedge, 2 wait
        ("naked_wait_ms", "i8"),
        ("margin_engine", "i8"),
        ("shared_contracts", "i8"),  # some contract is the perp of several pairs
        ("liquidity_gap", "f8"),
        # execution and transfers
        ("latency_ms", "i8"),
        ("maker_first", "i8"),
        ("first_leg", "i8"),  # 0 spot, 1 perp, 2 thin
        ("timeout_ms", "i8"),
        ("max_participation", "f8"),
        ("max_orders_per_hour", "i8"),
        ("grace_policy", "i8"),
        ("fill_at_last_close", "i8"),
        ("lean_account", "i8"),  # one cash book and Lean's stock margin models
        ("lean_scan_ms", "i8"),  # spacing of Lean's looks at a position before it pays funding; 0: contract's own clock
        ("cross_venue", "i8"),
        ("transfer_delay_ms", "i8"),
        ("cross_venue_delay_ms", "i8"),
        ("cross_venue_fee", "f8"),
    ],
    align=True,
)


def values_of(rules: Any) -> Any:
    """The record as plain Python numbers with the same attribute names, which Python code reads much faster."""
    return SimpleNamespace(**dict(zip(RULES.names or (), rules[0].item(), strict=True)))


def _alpha(bar_hours: float, half_life_hours: float) -> float:
    return 1.0 - math.pow(0.5, bar_hours / half_life_hours)


def uses_margin_engine(settings: Settings) -> bool:
    """Whether the venue checks margin in this run; Lean's one cash book has a margin model of its own."""
    return settings.margin.engine is MarginEngine.VENUE and settings.run.account is not AccountModel.LEAN


def build_rules(settings: Settings, start_ms: int, bar_ms: int) -> Any:
    """Settings as one row of ``RULES``, for runs whose bars last ``bar_ms`` and start at ``start_ms``."""
    rules = np.zeros(1, RULES).view(np.recarray)
    row = rules[0]
    hours = bar_ms / HOUR_MS
    signal, portfolio = settings.signal, settings.portfolio
    row.start_ms, row.bar_ms, row.bar_hours = start_ms, bar_ms, hours
    row.basis_alpha = _alpha(hours, signal.basis_half_life_hours)
    row.variance_alpha = _alpha(hours, signal.forecast_half_life_hours)
    row.turnover_alpha = _alpha(hours, signal.forecast_half_life_hours)
    row.warmup_bars = math.ceil(signal.warmup_hours / hours)
    row.stale_after_bars = settings.data.stale_after_bars
    row.holding_hours = signal.holding_hours
    row.entry_edge = signal.entry_edge_bps * BPS
    row.basis_reversion = signal.basis_reversion
    row.min_holding_ms = round(signal.min_holding_hours * HOUR_MS)
    row.cooldown_ms = round(signal.cooldown_hours * HOUR_MS)
    row.flip_annual = signal.flip_annual
    row.basis_blowout = signal.basis_blowout_bps * BPS
    row.pair_drawdown = signal.pair_drawdown
    row.deploy = portfolio.deploy
    row.collateral_ratio = portfolio.collateral_ratio
    row.min_collateral_ratio = portfolio.min_collateral_ratio
    row.max_collateral_ratio = portfolio.max_collateral_ratio
    row.leverage = portfolio.perp_leverage
    row.min_pair_notional = portfolio.min_pair_notional
    row.resize_band = portfolio.resize_band
    _risk_rules(row, settings)
    _execution_rules(row, settings, bar_ms)
    return rules


def _execution_rules(row: Any, settings: Settings, bar_ms: int) -> None:
    execution = settings.execution
    row.latency_ms = execution.latency_ms
    row.maker_first = int(execution.style is Style.MAKER_FIRST)
    row.first_leg = FIRST_LEG_CODES[execution.first_leg]
    row.timeout_ms = execution.leg_timeout_bars * bar_ms
    row.max_participation = settings.slippage.max_participation
    row.max_orders_per_hour = execution.max_orders_per_hour
    row.grace_policy = grace_code(settings.funding.grace)
    row.fill_at_last_close = int(execution.fill_price is FillPrice.LAST_CLOSE)
    row.lean_account = int(settings.run.account is AccountModel.LEAN)
    row.lean_scan_ms = max(HOUR_MS, bar_ms) if settings.funding.clock is FundingClock.LEAN else 0
    row.cross_venue = int(settings.transfers.cross_venue)
    row.transfer_delay_ms = settings.transfers.delay_ms
    row.cross_venue_delay_ms = settings.transfers.cross_venue_delay_ms
    row.cross_venue_fee = settings.transfers.cross_venue_fee


def _risk_rules(row: Any, settings: Settings) -> None:
    risk = settings.risk
    row.max_pair_fraction = risk.max_pair_fraction
    row.max_venue_fraction = risk.max_venue_fraction
    row.max_gross_leverage = risk.max_gross_leverage
    row.max_drawdown = risk.max_drawdown
    row.max_delta_fraction = risk.max_delta_fraction
    for name in ("min_distance", "restore_distance", "min_sigmas", "restore_sigmas", "adl_keep", "max_asset_fraction"):
        setattr(row, name, getattr(risk, name))
    row.max_unhedged_ms = round(risk.max_unhedged_hours * HOUR_MS)
    row.max_adl_light = risk.max_adl_light
    row.concentration_band = risk.concentration_band
    row.oracle_recovery_bars = risk.oracle_recovery_bars
    row.naked_policy = NAKED_CODES[risk.naked_policy]
    row.naked_wait_ms = round(risk.naked_wait_hours * HOUR_MS)
    row.margin_engine = int(uses_margin_engine(settings))
    row.liquidity_gap = settings.margin.liquidity_gap

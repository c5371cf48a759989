"""Risk guard: what stands between a target and an order. Spec: docs/specs/risk.md."""

from __future__ import annotations

from typing import Any, NamedTuple

from crypto.compiled import kernel
from crypto.pipeline.features import Features
from crypto.pipeline.guards import Guard
from crypto.pipeline.portfolio import GUARD_SHIFT, Account, Action, Filters, Target, perp_base_per_lot
from crypto.pipeline.reasons import Reason

_KEEP, _OPEN, _REFUSED = int(Action.KEEP), int(Action.OPEN), int(Action.REFUSED)
_NONE, _KILLED = int(Reason.NONE), int(Reason.KILLED)
_STALE_SPOT, _STALE_PERP = int(Reason.STALE_SPOT), int(Reason.STALE_PERP)
_PAIR_LIMIT, _VENUE_LIMIT, _GROSS_LIMIT = int(Reason.PAIR_LIMIT), int(Reason.VENUE_LIMIT), int(Reason.GROSS_LIMIT)
_ASSET_LIMIT, _ORACLE = int(Reason.ASSET_LIMIT), int(Reason.ORACLE)

ORACLE_IS_BAD = int(Guard.ORACLE) << GUARD_SHIFT

LIMIT_TOLERANCE = 1e-6  # of equity: rounding of a size that was cut to the limit itself


class Verdict(NamedTuple):
    """Outcome of a review in a form that compiled code can return; Python code gets ``Approved`` or ``Refused``."""

    approved: bool
    reason: int


class Approved(NamedTuple):
    """A target that may be executed. Execution accepts nothing else."""

    target: Target


class Refused(NamedTuple):
    """A target that may not be executed, and why (``crypto.pipeline.reasons.Reason``)."""

    reason: int


@kernel
def drawdown_breached(equity: float, peak_equity: float, max_drawdown: float) -> bool:
    """Whether equity fell from its peak by more than ``max_drawdown`` (fraction of the peak)."""
    return peak_equity - equity > max_drawdown * peak_equity


@kernel
def review(target: Target, features: Features, account: Account, filters: Filters, rules: Any) -> Verdict:
    """Check a target against staleness, the kill switch and the limits; orders that reduce risk always pass."""
    if target.action in (_KEEP, _REFUSED):
        return Verdict(False, target.reason)
    if target.action != _OPEN:
        return Verdict(True, target.reason)
    reason = _switched_off(features, account)
    if reason == _NONE:
        reason = _beyond_limit(target, features, account, filters, rules)
    return Verdict(reason == _NONE, target.reason if reason == _NONE else reason)


@kernel
def _switched_off(features: Features, account: Account) -> int:
    """Why nothing may be opened now, whatever its size; ``NONE`` when it may."""
    if account.killed:
        return _KILLED
    if account.attention & ORACLE_IS_BAD:
        return _ORACLE
    if not features.spot_fresh:
        return _STALE_SPOT
    return _NONE if features.perp_fresh else _STALE_PERP


@kernel
def _beyond_limit(target: Target, features: Features, account: Account, filters: Filters, rules: Any) -> int:
    """The limit that the target would pass; ``NONE`` when it stays within all."""
    added = abs(target.perp_lots) * perp_base_per_lot(filters, features.perp_price) * features.perp_price
    slack = LIMIT_TOLERANCE * account.equity
    if account.pair_notional + added > rules.max_pair_fraction * account.equity + slack:
        return _PAIR_LIMIT
    if account.venue_notional + added > rules.max_venue_fraction * account.equity + slack:
        return _VENUE_LIMIT
    if account.gross_notional + added > rules.max_gross_leverage * account.equity + slack:
        return _GROSS_LIMIT
    if account.asset_notional + added > rules.max_asset_fraction * account.equity + slack:
        return _ASSET_LIMIT
    return _NONE


def decide(target: Target, verdict: Verdict) -> Approved | Refused:
    """The typed form of a verdict."""
    return Approved(target) if verdict.approved else Refused(verdict.reason)

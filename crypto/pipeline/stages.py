"""The pipeline's stages as Python objects: small protocols with a default each, to be replaced one by one.

Every default calls the same function that the compiled loop calls, so a run with the defaults gives the same ledger to
the bit. A stage gets frozen values and returns one; only the executor touches the exchange.
"""

from __future__ import annotations

from typing import Any, Protocol

from crypto.pipeline import portfolio, risk, signal
from crypto.pipeline.features import Features
from crypto.pipeline.portfolio import Account, Filters, Target
from crypto.pipeline.risk import Approved, Refused
from crypto.pipeline.signal import Position, Signal


class SignalModel(Protocol):
    """Direction of a pair from its features and position."""

    def evaluate(self, seen: Features, held: Position) -> Signal:
        """The signal at this instant."""


class Allocator(Protocol):
    """Target in lots from signal and account."""

    def allocate(self, found: Signal, seen: Features, held: Position, account: Account, filters: Filters) -> Target:
        """The pair's target at this instant."""


class RiskGuard(Protocol):
    """Approves or refuses targets."""

    def review(self, target: Target, seen: Features, account: Account, filters: Filters) -> Approved | Refused:
        """Execution accepts only ``Approved``."""


class CarrySignal:
    """Default signal: net carry over the holding period against the cost of the round trip."""

    def __init__(self, rules: Any) -> None:
        self._rules = rules

    def evaluate(self, seen: Features, held: Position) -> Signal:
        """See ``crypto.pipeline.signal.evaluate``."""
        return signal.evaluate(seen, held, self._rules)


class PairAllocator:
    """Default portfolio stage: the pair's share of the deployed capital, within wallets, limits and filters."""

    def __init__(self, rules: Any) -> None:
        self._rules = rules

    def allocate(self, found: Signal, seen: Features, held: Position, account: Account, filters: Filters) -> Target:
        """See ``crypto.pipeline.portfolio.allocate``."""
        return portfolio.allocate(found, seen, held, account, filters, self._rules)


class LimitGuard:
    """Default risk stage: staleness, kill switch, pair, venue and gross limits."""

    def __init__(self, rules: Any) -> None:
        self._rules = rules

    def review(self, target: Target, seen: Features, account: Account, filters: Filters) -> Approved | Refused:
        """See ``crypto.pipeline.risk.review``."""
        return risk.decide(target, risk.review(target, seen, account, filters, self._rules))

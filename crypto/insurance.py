"""Insurance fund: what a liquidation pays in or takes out, and when ADL takes over. Spec: docs/specs/insurance.md.

Amounts are in the settlement asset. Every formula is exact on whole numbers of the smallest unit and on fractions;
floats are for simulation.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import NamedTuple

from crypto.compiled import kernel
from crypto.errors import DataError, SettingsError
from crypto.units import HOUR_MS

EIGHT_HOURS_MS = 8 * HOUR_MS


class Trigger(StrEnum):
    """Why a venue deleverages at this moment; ``NONE``: it does not, the fund pays."""

    NONE = "none"
    FUND_EMPTY = "fund_empty"
    FUND_DRAWDOWN = "fund_drawdown"
    SYMBOL_DRAWDOWN = "symbol_drawdown"
    ACCOUNT_NEGATIVE = "account_negative"


@dataclass(frozen=True, slots=True)
class FundRule:
    """How a venue's fund is drawn upon.

    ``drawdown``: fraction of the peak (over ``window_ms``) that may be lost before ADL; None: the whole balance.
    ``by_symbol``: the loss that counts is the symbol's, not the fund's. ``stop``: fraction of loss below which ADL ends
    again; None: as soon as the trigger is off. ``above_balance``: the drawdown rule holds only above this balance.
    ``uses_fund``: False where ADL follows from the account alone. ``keeps_surplus``: margin left after a liquidation
    goes to the fund.
    """

    drawdown: Fraction | None = None
    stop: Fraction | None = None
    by_symbol: bool = False
    above_balance: int = 0
    window_ms: int = EIGHT_HOURS_MS
    uses_fund: bool = True
    keeps_surplus: bool = True


FUND_RULES: Mapping[str, FundRule] = MappingProxyType(
    {
        "binance": FundRule(),
        "bitmex": FundRule(),
        "bybit": FundRule(drawdown=Fraction(3, 10), stop=Fraction(1, 4), by_symbol=True, above_balance=10_000),
        "okx": FundRule(drawdown=Fraction(3, 10)),
        "hyperliquid": FundRule(uses_fund=False, keeps_surplus=False),
    }
)


@dataclass(frozen=True, slots=True)
class Pool:
    """A fund at one instant. Peaks are over the rule's window and include now; ``symbol_pnl`` is what liquidations of
    the symbol have brought the fund (positive) or cost it. ``is_deleveraging``: ADL was on before.
    """

    balance: float
    peak_balance: float
    symbol_pnl: float = 0
    symbol_peak_pnl: float = 0
    is_deleveraging: bool = False

    def __post_init__(self) -> None:
        for name in ("balance", "peak_balance", "symbol_pnl", "symbol_peak_pnl"):
            _require_finite(f"insurance pool {name}", getattr(self, name))
        if self.peak_balance < self.balance:
            raise DataError(
                f"insurance pool peak_balance = {self.peak_balance} is below balance = {self.balance}",
                remedy="the peak includes the present balance",
            )
        if self.symbol_peak_pnl < self.symbol_pnl:
            raise DataError(
                f"insurance pool symbol_peak_pnl = {self.symbol_peak_pnl} is below symbol_pnl = {self.symbol_pnl}",
                remedy="the peak includes the present profit",
            )


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Where the equity of a liquidated account went: ``equity = fee_paid + surplus + returned - fund_paid - left``.

    ``fee_paid`` and ``surplus`` went to the fund, ``returned`` to the account's owner, ``fund_paid`` came out of the
    fund. ``left`` is the part of the deficit that ADL has to carry. ``balance``: the fund afterwards.
    """

    fee_paid: float
    surplus: float
    returned: float
    fund_paid: float
    left: float
    balance: float


@dataclass(frozen=True, slots=True)
class SocialisedLoss:
    """A loss that neither fund nor ADL covered: ``shares`` (aligned with the accounts) and what nobody can pay."""

    amount: int
    shares: tuple[int, ...]
    unpaid: int


@dataclass(slots=True)
class RollingPeak:
    """Highest value of a step function over a trailing window; each value holds from its time until the next.

    ``update`` takes times that do not descend and is cheap on average: every value is stored and dropped once.
    """

    window_ms: int = EIGHT_HOURS_MS
    _past: deque[tuple[int, float]] = field(default_factory=deque)  # (end of its time, value), values descending
    _now: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        if self.window_ms <= 0:
            raise SettingsError(
                f"window_ms = {self.window_ms} is not positive", remedy="give the window in milliseconds"
            )

    def update(self, time_ms: int, value: float) -> float:
        """Set the value from ``time_ms`` on and return the peak over the window that ends there."""
        _require_finite("value of a rolling peak", value)
        if self._now is not None:
            before_ms, before = self._now
            if time_ms < before_ms:
                raise DataError(
                    f"rolling peak: time {time_ms} is earlier than {before_ms}", remedy="update it in order of time"
                )
            if time_ms > before_ms:
                while self._past and self._past[-1][1] <= before:
                    self._past.pop()
                self._past.append((time_ms, before))
        self._now = (time_ms, value)
        while self._past and self._past[0][0] <= time_ms - self.window_ms:
            self._past.popleft()
        return max(self._past[0][1], value) if self._past else value


def fund_rule(venue: str) -> FundRule:
    """The published rule of ``venue``; ``SettingsError`` naming the known ones when there is none."""
    rule = FUND_RULES.get(venue)
    if rule is None:
        raise SettingsError(
            f"no insurance-fund rule for venue {venue!r}", remedy=f"known venues: {', '.join(sorted(FUND_RULES))}"
        )
    return rule


def pnl_ratio(pool: Pool) -> float:
    """Loss of the symbol since its peak over the pool's peak balance: 0 or negative, Bybit's ``pnlRatio``.

    ``DataError`` when the peak balance is not positive: no drawdown of nothing can be stated.
    """
    if pool.peak_balance <= 0:
        raise DataError(
            f"pnlRatio needs a positive peak balance, not {pool.peak_balance}",
            remedy="an empty pool deleverages by its balance, not by a ratio",
        )
    return (pool.symbol_pnl - pool.symbol_peak_pnl) / pool.peak_balance


def trigger(rule: FundRule, pool: Pool, account_value: float = 0) -> Trigger:
    """Whether the venue deleverages now, and why.

    ``account_value``: equity of the account in liquidation after order book and backstop; used by venues whose ADL does
    not ask the fund. The drawdown triggers at the limit itself, as Bybit's second published example does.
    """
    _require_finite("account value", account_value)
    if not rule.uses_fund:
        return Trigger.ACCOUNT_NEGATIVE if account_value < 0 else Trigger.NONE
    if pool.balance <= 0:
        return Trigger.FUND_EMPTY
    if rule.drawdown is None or pool.balance <= rule.above_balance:
        return Trigger.NONE
    loss = _loss(rule, pool)
    limit = rule.stop if pool.is_deleveraging and rule.stop is not None else rule.drawdown
    if loss < _fraction_of(pool.peak_balance, limit):
        return Trigger.NONE
    return Trigger.SYMBOL_DRAWDOWN if rule.by_symbol else Trigger.FUND_DRAWDOWN


def spendable(rule: FundRule, pool: Pool) -> float:
    """How much the fund may still pay before ADL takes over (>= 0); rounded down to whole units on whole numbers."""
    if not rule.uses_fund or trigger(rule, pool) is not Trigger.NONE:
        return 0
    if rule.drawdown is None or pool.balance <= rule.above_balance:
        return pool.balance
    return max(0, min(pool.balance, _fraction_of(pool.peak_balance, rule.drawdown) - _loss(rule, pool)))


def excess_loss(rule: FundRule, pool: Pool) -> float:
    """Loss beyond what the rule lets the fund bear (>= 0): what ADL takes to keep the ratio at its limit."""
    if rule.drawdown is None or pool.balance <= rule.above_balance:
        return max(0, -pool.balance)
    return max(0, _loss(rule, pool) - _fraction_of(pool.peak_balance, rule.drawdown))


class Parts(NamedTuple):
    """``Waterfall`` without the balance, in a form that compiled code can return."""

    fee_paid: float
    surplus: float
    returned: float
    fund_paid: float
    left: float


@kernel
def split_equity(equity: float, fee: float, may_spend: float, keeps_surplus: bool) -> Parts:
    """Where the equity of a liquidated account goes; arguments as in ``waterfall``, unchecked."""
    nothing = equity * 0
    if equity < 0:
        fund_paid = min(-equity, may_spend)
        return Parts(nothing, nothing, nothing, fund_paid, -equity - fund_paid)
    fee_paid = min(fee, equity)
    rest = equity - fee_paid
    if keeps_surplus:
        return Parts(fee_paid, rest, nothing, nothing, nothing)
    return Parts(fee_paid, nothing, rest, nothing, nothing)


def waterfall(equity: float, fee: float, balance: float, may_spend: float, *, keeps_surplus: bool = True) -> Waterfall:
    """Order-book result to fund to ADL.

    ``equity``: of the liquidated account after its fills, what is unfilled valued at the closing price; negative is a
    deficit. ``fee``: liquidation fee asked (>= 0), paid only from what is there. ``may_spend``: from ``spendable``.
    ``DataError`` names a NaN or negative amount, or a ``may_spend`` above the balance.
    """
    for name, amount in (("equity", equity), ("liquidation fee", fee), ("fund balance", balance), ("limit", may_spend)):
        _require_finite(name, amount)
    if fee < 0:
        raise DataError(f"liquidation fee {fee} is negative", remedy="give the fee as a cost, 0 or more")
    if not 0 <= may_spend <= max(0, balance):
        raise DataError(
            f"the fund may not spend {may_spend} of a balance of {balance}", remedy="use insurance.spendable"
        )
    parts = split_equity(equity, fee, may_spend, keeps_surplus)
    return Waterfall(*parts, balance + parts.fee_paid + parts.surplus - parts.fund_paid)


def split_exactly(amount: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Cut a whole ``amount`` (of either sign) in proportion to whole weights (>= 0), so that the parts sum to it.

    Part k is the difference of the rounded-down running totals, so each is within one unit of its exact share.
    ``DataError`` on a negative weight, or when all are 0 and there is something to cut.
    """
    if any(weight < 0 for weight in weights):
        raise DataError(f"weight {min(weights)} is negative", remedy="weights are sizes, 0 or more")
    total = sum(weights)
    if total == 0:
        if amount != 0:
            raise DataError(f"an amount of {amount} has nobody to go to", remedy="give at least one positive weight")
        return (0,) * len(weights)
    marks = [amount * running // total for running in accumulate(weights, initial=0)]
    return tuple(after - before for before, after in pairwise(marks))


def split_pool_loss(loss: int, symbol_pnls: Sequence[int]) -> tuple[int, ...]:
    """Bankruptcy loss of an empty shared pool by symbol, in proportion to what each symbol has lost it."""
    return split_exactly(loss, [max(0, -pnl) for pnl in symbol_pnls])


def socialise(amount: int, equities: Sequence[int]) -> SocialisedLoss:
    """Spread an uncovered loss (>= 0) over accounts in proportion to positive equity, nobody below 0."""
    if amount < 0:
        raise DataError(f"socialised loss {amount} is negative", remedy="give the loss as a size")
    weights = [max(0, equity) for equity in equities]
    payable = min(amount, sum(weights))
    return SocialisedLoss(amount, split_exactly(payable, weights), amount - payable)


def _loss(rule: FundRule, pool: Pool) -> float:
    if rule.by_symbol:
        return pool.symbol_peak_pnl - pool.symbol_pnl
    return pool.peak_balance - pool.balance


def _fraction_of(amount: float, share: Fraction) -> float:
    """Share of an amount: rounded down on whole numbers, exact on fractions, correctly rounded on floats."""
    if isinstance(amount, int):
        return amount * share.numerator // share.denominator
    return amount * share.numerator / share.denominator


def _require_finite(name: str, amount: float) -> None:
    if not math.isfinite(amount):
        raise DataError(f"{name} is {amount}", remedy="give a finite amount")

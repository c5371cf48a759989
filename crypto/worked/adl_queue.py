"""Rank of a position in its ADL queue and what a deficit would close of it. Spec: docs/specs/calculator.md."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from crypto.adl import (
    ADL_RULES,
    AdlRule,
    Score,
    adl_rule,
    bankruptcy_value,
    close_price,
    signed_value,
)
from crypto.adl_allocation import deleverage, settle
from crypto.adl_ranking import Place, place, position_score
from crypto.errors import RefusedError, UsageError
from crypto.instruments import Kind
from crypto.margin import maintenance
from crypto.tiers import TierTable, tier_of
from crypto.venues.registry import VENUES
from crypto.worked.answer import exact
from crypto.worked.contracts import AccountQuestion, margin_asset, taker_rate
from crypto.worked.inputs import Held, blaming, known, positive, rational

_OTHER = re.compile(r"(?P<quantity>[^@/]*)@(?P<entry>[^@/]*)/(?P<wallet>[^@/]*)")
_NEEDS_MAINTENANCE = {Score.BINANCE, Score.OKX}
# Values are cut exactly in these parts of the margin asset, a hundredth of a satoshi.
UNITS = 10**10
_MOST_LOTS = 10**15


class Other(NamedTuple):
    """Another account in the queue of our side: size (> 0), entry price, wallet (> 0)."""

    quantity: float
    entry_price: float
    wallet: float


@dataclass(frozen=True, slots=True)
class AdlQuestion:
    """Where does this position stand for auto-deleveraging, and what would a deficit close of it?

    ``held`` with ``wallet`` behind it (isolated margin, or cross wallet with the profit of other positions).
    ``account``: tiers for scores that need the maintenance margin, None where the venue's score doesn't. ``others``:
    the queue's other accounts, on the same side. ``lot``: smallest size. ``deficit`` of a bankrupt position of the
    opposite side of ``bankrupt_quantity`` (> 0), both or neither. ``taker``: OKX counts the closing fee.
    """

    venue: str
    kind: Kind
    held: Held
    mark_price: float
    wallet: float
    lot: float
    account: AccountQuestion | None = None
    others: tuple[Other, ...] = ()
    deficit: float | None = None
    bankrupt_quantity: float | None = None
    taker: float | None = None

    def __post_init__(self) -> None:
        known("--venue", self.venue, ADL_RULES)
        if (self.deficit is None) != (self.bankrupt_quantity is None):
            missing = "--deficit" if self.deficit is None else "--bankrupt"
            raise UsageError(f"{missing} is missing", remedy="a deficit belongs to a bankrupt position: give both")
        if self.taker is not None and self.venue != "okx":
            raise UsageError(f"--taker = {self.taker}: only OKX's score counts it", remedy="leave --taker out")


class Ranked(NamedTuple):
    """An account in the queue: signed values in the margin asset, score, and size in lots."""

    held: Held
    wallet: float
    mark_value: float
    entry_value: float
    maintenance: float
    score: float
    lots: int

    @property
    def profit(self) -> float:
        """Unrealised, at the mark."""
        return self.mark_value - self.entry_value

    @property
    def equity(self) -> float:
        """Wallet and profit."""
        return self.wallet + self.profit

    @property
    def notional(self) -> float:
        """Value at the mark without its sign."""
        return abs(self.mark_value)


class Closing(NamedTuple):
    """What a deficit closes: price used and price that carries it, lots (the last are ours), what each gives up."""

    price: float
    rule_price: float
    wanted: int
    closed: tuple[int, ...]
    uncovered: int
    given_up: tuple[float, ...]
    uncovered_loss: float


class WorkedAdl(NamedTuple):
    """A question worked out. ``table``: None where the score needs no tiers. ``bankrupt``: None without one."""

    question: AdlQuestion
    rule: AdlRule
    table: TierTable | None
    own: Ranked
    stands: Place
    bankrupt: float | None
    closing: Closing | None

    @property
    def unit(self) -> str:
        """Asset that margin is held in."""
        return margin_asset(self.question.venue, self.question.kind, self.question.held.symbol)


def needs_maintenance(venue: str) -> bool:
    """Whether the venue's score uses the maintenance margin, and with it the tiers."""
    return adl_rule(known("--venue", venue, ADL_RULES)).score in _NEEDS_MAINTENANCE


def parse_others(texts: Iterable[str]) -> tuple[Other, ...]:
    """``QUANTITY@ENTRY/WALLET`` of the other accounts, all above 0."""
    found = []
    for text in texts:
        parts = _OTHER.fullmatch(text)
        if parts is None:
            raise UsageError(f"--other {text!r} is not of the form QUANTITY@ENTRY/WALLET", remedy="such as 10@100/1000")
        names = ("quantity", "entry", "wallet")
        found.append(Other(*(positive(f"--other {text}: {name}", parts[name]) for name in names)))
    return tuple(found)


def lot_size(venue: str, kind: Kind, symbol: str, lot: float | None) -> float:
    """``lot`` when given, else the shipped one in units of a position; ``UsageError`` when there is none."""
    known("--venue", venue, ADL_RULES)
    if lot is not None:
        return positive("--lot", lot)
    shipped = VENUES[venue].instruments.get((kind, symbol)) if venue in VENUES else None
    if shipped is None:
        raise UsageError(f"--lot is missing: {venue}:{kind.value}:{symbol} doesn't ship", remedy="give --lot SIZE")
    # Linear positions are in contracts here, whose price is as the venue quotes it.
    return float(shipped.value_per_lot if kind is Kind.INVERSE else shipped.lot)


def work_adl(question: AdlQuestion) -> WorkedAdl:
    """Score, place in the queue, bankruptcy price, and what is closed for a deficit.

    Errors: ``UsageError`` for flags, ``DataError`` for missing tiers, ``RefusedError`` for a notional beyond the tiers
    or a deficit that no price carries.
    """
    rule = adl_rule(question.venue)
    table = _table(question)
    own = _rank(question, rule, table, question.held, question.wallet, "--position")
    others = [
        _rank(question, rule, table, Held(question.held.symbol, question.held.side, q, entry), wallet, "--other")
        for q, entry, wallet in question.others
    ]
    closing = None if question.deficit is None else _close(question, rule, own, others, question.deficit)
    return WorkedAdl(question, rule, table, own, _place(own, others), _bankruptcy_price(question, own), closing)


# --- the queue ----------------------------------------------------------------------------------------------------


def _table(question: AdlQuestion) -> TierTable | None:
    if question.account is None:
        return None
    return question.account.positions()[0].tiers


def _signed(question: AdlQuestion, quantity: float) -> float:
    return question.held.side * quantity


def _rank(
    question: AdlQuestion, rule: AdlRule, table: TierTable | None, held: Held, wallet: float, flag: str
) -> Ranked:
    inverse = question.kind is Kind.INVERSE
    quantity = held.side * held.quantity
    mark_value = signed_value(quantity, question.mark_price, inverse)
    entry_value = signed_value(quantity, held.entry_price, inverse)
    needed = 0.0
    if table is not None:
        notional = abs(mark_value)
        with blaming(flag):
            tier_of(table, notional)
        needed = maintenance(notional, table.floor, table.rate, table.deduction) + okx_fee(question) * notional
    score = position_score(int(rule.score), mark_value, entry_value, wallet, needed)
    return Ranked(held, wallet, mark_value, entry_value, needed, score, _lots(question, flag, held.quantity))


def okx_fee(question: AdlQuestion) -> float:
    """Fee of closing, a fraction, that OKX's margin ratio counts; 0 elsewhere."""
    if question.venue != "okx":
        return 0.0
    taker = taker_rate(question.venue, question.kind, question.taker)
    if taker is None:
        raise UsageError("--taker is missing: OKX's margin ratio counts the fee of closing", remedy="give --taker RATE")
    return taker


def _lots(question: AdlQuestion, flag: str, quantity: float) -> int:
    lots = rational(quantity) / rational(question.lot)
    if lots.denominator != 1:
        raise UsageError(
            f"{flag}: {exact(quantity)} is not a whole number of lots of {exact(question.lot)}",
            remedy="give whole lots, or the size of one with --lot",
        )
    if lots > _MOST_LOTS:
        raise UsageError(f"{flag}: {exact(quantity)} is too many lots", remedy="give a larger --lot")
    return int(lots)


def _columns(ranked: Sequence[Ranked]) -> tuple[Any, Any, Any]:
    score = np.array([item.score for item in ranked], dtype=np.float64)
    account = np.arange(len(ranked), dtype=np.int64)
    lots = np.array([item.lots * item.held.side for item in ranked], dtype=np.int64)
    return score, account, lots


def _place(own: Ranked, others: Sequence[Ranked]) -> Place:
    # Of equals we stand last, so that the answer errs on the comfortable side for nobody but the others.
    return place(*_columns(others), own_score=own.score, own_account=len(others), own_lots=own.lots * own.held.side)


def _bankruptcy_price(question: AdlQuestion, own: Ranked) -> float | None:
    value = bankruptcy_value(own.entry_value, own.wallet)
    quantity = _signed(question, own.held.quantity)
    if value == 0:
        return None
    price = -quantity / value if question.kind is Kind.INVERSE else value / quantity
    return price if price > 0 else None


# --- a deficit ----------------------------------------------------------------------------------------------------


def _close(question: AdlQuestion, rule: AdlRule, own: Ranked, others: Sequence[Ranked], deficit: float) -> Closing:
    size = question.bankrupt_quantity or 0.0
    wanted = _lots(question, "--bankrupt", size)
    inverse = question.kind is Kind.INVERSE
    quantity = -_signed(question, size)
    at_mark = signed_value(quantity, question.mark_price, inverse)
    at_close = at_mark + deficit
    price = -quantity / at_close if inverse and at_close else at_close / quantity
    if not (math.isfinite(price) and price > 0):
        raise RefusedError(
            f"--deficit = {exact(deficit)} is more than a position of --bankrupt = {exact(size)} can be short of",
            remedy="no price above 0 carries it; correct one of them",
        )
    used = close_price(rule, price, question.mark_price)
    # The queue takes rows in order of rank; we come last of equals.
    ranked = [*others, own]
    score, account, lots = _columns(ranked)
    outcome = deleverage(score, account, lots, bankrupt_side=-own.held.side, wanted_lots=wanted)
    loss = signed_value(quantity, used, inverse) - at_mark
    parts = settle(outcome, round(loss * UNITS))
    given_up = [0.0] * len(ranked)
    for row, value in zip(parts.rows, parts.values, strict=True):
        given_up[row] = value / UNITS
    return Closing(
        used,
        price,
        wanted,
        tuple(int(closed) for closed in outcome.closed_lots),
        outcome.uncovered_lots,
        tuple(given_up),
        parts.uncovered_value / UNITS,
    )

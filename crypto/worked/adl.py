"""Rank of a position in its ADL queue and what a deficit would close of it, worked. Spec: docs/specs/calculator.md."""

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
    ClosePrice,
    LightBy,
    Score,
    adl_rule,
    bankruptcy_value,
    close_price,
    signed_value,
)
from crypto.adl_allocation import deleverage, settle
from crypto.adl_ranking import LAST, Place, place, position_score
from crypto.errors import RefusedError, UsageError
from crypto.instruments import Kind
from crypto.margin import maintenance
from crypto.tiers import TierTable, tier_index, tier_of
from crypto.venues.registry import VENUES
from crypto.worked.answer import Answer, Check, Step, exact, percent, rounded, tier_used
from crypto.worked.contracts import AccountQuestion, margin_asset, taker_rate
from crypto.worked.inputs import Held, blaming, known, positive, rational

_OTHER = re.compile(r"(?P<quantity>[^@/]*)@(?P<entry>[^@/]*)/(?P<wallet>[^@/]*)")
_NEEDS_MAINTENANCE = {Score.BINANCE, Score.OKX}
# Values are cut exactly in these parts of the margin asset, a hundredth of a satoshi.
_UNITS = 10**10
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


class _Ranked(NamedTuple):
    held: Held
    wallet: float
    mark_value: float
    entry_value: float
    maintenance: float
    score: float
    lots: int

    @property
    def profit(self) -> float:
        return self.mark_value - self.entry_value

    @property
    def equity(self) -> float:
        return self.wallet + self.profit


class _Closing(NamedTuple):
    price: float
    rule_price: float
    wanted: int
    closed: tuple[int, ...]
    uncovered: int
    given_up: tuple[float, ...]
    uncovered_loss: float


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


def answer_adl(question: AdlQuestion) -> Answer:
    """Score, light, bankruptcy price, and what is closed for a deficit.

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
    stands = _place(own, others)
    bankrupt = _bankruptcy_price(question, own)
    closing = None if question.deficit is None else _close(question, rule, own, others, question.deficit)
    return Answer(
        question="adl",
        title=f"Auto-deleveraging, {question.venue}, {question.held.text}",
        values=_values(question, rule, own, stands, bankrupt, closing),
        lines=_lines(question, rule, own, stands, bankrupt, closing),
        steps=_steps(question, rule, table, own, closing),
        checks=_checks(question, own, bankrupt, closing),
        tiers=() if table is None else (tier_used(table, _notional(own), "at mark"),),
        notes=_notes(question, rule, closing, stands),
    )


# --- the queue ----------------------------------------------------------------------------------------------------


def _table(question: AdlQuestion) -> TierTable | None:
    if question.account is None:
        return None
    return question.account.positions()[0].tiers


def _signed(question: AdlQuestion, quantity: float) -> float:
    return question.held.side * quantity


def _notional(ranked: _Ranked) -> float:
    return abs(ranked.mark_value)


def _rank(
    question: AdlQuestion, rule: AdlRule, table: TierTable | None, held: Held, wallet: float, flag: str
) -> _Ranked:
    inverse = question.kind is Kind.INVERSE
    quantity = held.side * held.quantity
    mark_value = signed_value(quantity, question.mark_price, inverse)
    entry_value = signed_value(quantity, held.entry_price, inverse)
    needed = 0.0
    if table is not None:
        notional = abs(mark_value)
        with blaming(flag):
            tier_of(table, notional)
        needed = maintenance(notional, table.floor, table.rate, table.deduction) + _okx_fee(question) * notional
    score = position_score(int(rule.score), mark_value, entry_value, wallet, needed)
    return _Ranked(held, wallet, mark_value, entry_value, needed, score, _lots(question, flag, held.quantity))


def _okx_fee(question: AdlQuestion) -> float:
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


def _columns(ranked: Sequence[_Ranked]) -> tuple[Any, Any, Any]:
    score = np.array([item.score for item in ranked], dtype=np.float64)
    account = np.arange(len(ranked), dtype=np.int64)
    lots = np.array([item.lots * item.held.side for item in ranked], dtype=np.int64)
    return score, account, lots


def _place(own: _Ranked, others: Sequence[_Ranked]) -> Place:
    # Of equals we stand last, so that the answer errs on the comfortable side for nobody but the others.
    return place(*_columns(others), own_score=own.score, own_account=len(others), own_lots=own.lots * own.held.side)


def _bankruptcy_price(question: AdlQuestion, own: _Ranked) -> float | None:
    value = bankruptcy_value(own.entry_value, own.wallet)
    quantity = _signed(question, own.held.quantity)
    if value == 0:
        return None
    price = -quantity / value if question.kind is Kind.INVERSE else value / quantity
    return price if price > 0 else None


# --- a deficit ----------------------------------------------------------------------------------------------------


def _close(question: AdlQuestion, rule: AdlRule, own: _Ranked, others: Sequence[_Ranked], deficit: float) -> _Closing:
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
    parts = settle(outcome, round(loss * _UNITS))
    given_up = [0.0] * len(ranked)
    for row, value in zip(parts.rows, parts.values, strict=True):
        given_up[row] = value / _UNITS
    return _Closing(
        used,
        price,
        wanted,
        tuple(int(closed) for closed in outcome.closed_lots),
        outcome.uncovered_lots,
        tuple(given_up),
        parts.uncovered_value / _UNITS,
    )


# --- what is shown ------------------------------------------------------------------------------------------------


def _values(
    question: AdlQuestion,
    rule: AdlRule,
    own: _Ranked,
    stands: Place,
    bankrupt: float | None,
    closing: _Closing | None,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "venue": question.venue,
        "symbol": own.held.symbol,
        "side": "long" if own.held.side > 0 else "short",
        "score": None if own.score == LAST else own.score,
        "is_last": own.score == LAST,
        "light": stands.light(rule.light_by),
        "accounts_ahead": stands.accounts_ahead,
        "accounts": stands.accounts,
        "lots_ahead": stands.lots_ahead,
        "quantile": stands.quantile,
        "profit": own.profit,
        "equity": own.equity,
        "maintenance": own.maintenance if question.account is not None else None,
        "bankruptcy_price": bankrupt,
        "closing_price_if_bankrupt": None if bankrupt is None else close_price(rule, bankrupt, question.mark_price),
        "deficit": None,
    }
    if closing is not None:
        found["deficit"] = {
            "amount": question.deficit,
            "price": closing.price,
            "price_that_carries_it": closing.rule_price,
            "wanted": closing.wanted * question.lot,
            "closed_of_ours": closing.closed[-1] * question.lot,
            "given_up_by_us": closing.given_up[-1],
            "closed_of_others": [lots * question.lot for lots in closing.closed[:-1]],
            "given_up_by_others": list(closing.given_up[:-1]),
            "uncovered": closing.uncovered * question.lot,
            "loss_uncovered": closing.uncovered_loss,
        }
    return found


def _unit(question: AdlQuestion) -> str:
    return margin_asset(question.venue, question.kind, question.held.symbol)


def _lines(
    question: AdlQuestion,
    rule: AdlRule,
    own: _Ranked,
    stands: Place,
    bankrupt: float | None,
    closing: _Closing | None,
) -> tuple[tuple[str, str], ...]:
    unit = _unit(question)
    where = "last: under water" if own.score == LAST else rounded(own.score)
    lines = [
        ("score", where),
        ("light", f"{stands.light(rule.light_by)} of 0 to 4 (place {stands.accounts_ahead + 1} of {stands.accounts})"),
        ("bankruptcy price", "none: no price bankrupts it" if bankrupt is None else rounded(bankrupt)),
    ]
    if bankrupt is not None:
        price = close_price(rule, bankrupt, question.mark_price)
        lines.append(("closed at, if bankrupt", f"{rounded(price)}{_why(rule, price, bankrupt)}"))
    if closing is not None:
        lines += [
            ("deficit is closed at", f"{rounded(closing.price)}{_why(rule, closing.price, closing.rule_price)}"),
            ("closed of ours", f"{exact(closing.closed[-1] * question.lot)} of {exact(own.held.quantity)}"),
            ("we give up", f"{rounded(closing.given_up[-1])} {unit} against the mark"),
        ]
        if closing.uncovered:
            lines.append(
                ("nobody takes", f"{exact(closing.uncovered * question.lot)}, {rounded(closing.uncovered_loss)} {unit}")
            )
    return tuple(lines)


def _why(rule: AdlRule, used: float, price: float) -> str:
    if used == price:
        return ""
    if rule.close_price is ClosePrice.MARK:
        return " (this venue closes at the mark)"
    return f" (the mark: more than {percent(rule.max_deviation or 0.0)} away from {rounded(price)})"


def _steps(
    question: AdlQuestion, rule: AdlRule, table: TierTable | None, own: _Ranked, closing: _Closing | None
) -> tuple[Step, ...]:
    unit = _unit(question)
    size, entry, mark = exact(own.held.quantity), exact(own.held.entry_price), exact(question.mark_price)
    signed = size if own.held.side > 0 else f"-{size}"
    inverse = question.kind is Kind.INVERSE
    profit, wallet = rounded(own.profit), exact(own.wallet)
    sign = "-" if own.profit < 0 else "+"
    steps = [
        Step(
            "Unrealised profit",
            "V / e - V / mark" if inverse else "q x (mark - e)",
            f"{signed} / {entry} - {signed} / {mark}" if inverse else f"{signed} x ({mark} - {entry})",
            own.profit,
            unit,
        ),
        Step("Equity", "wallet + profit", f"{wallet} {sign} {rounded(abs(own.profit))}", own.equity, unit),
    ]
    if table is not None:
        notional = _notional(own)
        index = tier_index(notional, table.floor)
        fee = _okx_fee(question)
        rate = (
            percent(float(table.rate[index])) if not fee else f"({percent(float(table.rate[index]))} + {percent(fee)})"
        )
        steps.append(
            Step(
                "Maintenance margin",
                "N x (m + fee) - d" if fee else "N x m - d",
                f"{rounded(notional)} x {rate} - {rounded(float(table.deduction[index]))}",
                own.maintenance,
                unit,
            )
        )
    formula, numbers = _score_text(rule, own, profit, wallet)
    if own.score != LAST:
        steps.append(Step("Score", formula, numbers, own.score))
    value = rounded(abs(own.entry_value))
    bankrupt = _bankruptcy_price(question, own)
    if bankrupt is not None:
        down = "-" if own.held.side > 0 else "+"
        steps.append(
            Step(
                "Bankruptcy price",
                "V / (V / e + wallet)" if inverse else "e - wallet / q",
                f"{signed} / ({'' if own.held.side > 0 else '-'}{value} + {wallet})"
                if inverse
                else f"{entry} {down} {wallet} / {size}",
                bankrupt,
                "quote",
            )
        )
    if closing is not None:
        steps.append(_deficit_step(question, closing))
    return tuple(steps)


def _score_text(rule: AdlRule, own: _Ranked, profit: str, wallet: str) -> tuple[str, str]:
    equity, notional, entry = rounded(own.equity), rounded(_notional(own)), rounded(abs(own.entry_value))
    needed = rounded(own.maintenance)
    gains = own.profit > 0
    if rule.score is Score.BINANCE:
        if own.equity <= 0:
            return "0 without equity", equity
        return (
            "max(0, profit) / max(1, wallet) x maintenance / equity",
            f"max(0, {profit}) / max(1, {wallet}) x {needed} / {equity}",
        )
    if rule.score is Score.LEVERAGED_PNL:
        sign = "x" if gains else "/"
        return (
            f"profit / entry value {sign} (notional / equity)",
            f"{profit} / {entry} {sign} ({notional} / {equity})",
        )
    if rule.score is Score.OKX:
        sign = "/" if gains else "x"
        return (
            f"profit / entry value {sign} (equity / maintenance)",
            f"{profit} / {entry} {sign} ({equity} / {needed})",
        )
    return "mark / entry x notional / equity", f"{notional} / {entry} x {notional} / {equity}"


def _deficit_step(question: AdlQuestion, closing: _Closing) -> Step:
    deficit, size = exact(question.deficit or 0.0), exact(question.bankrupt_quantity or 0.0)
    mark = exact(question.mark_price)
    # The bankrupt position is on the other side: a long is sold above the mark to make up for its deficit.
    is_long = question.held.side < 0
    title = f"Price at which the bankrupt {'long' if is_long else 'short'} has no deficit left"
    if question.kind is Kind.INVERSE:
        sign = "-" if is_long else "+"
        return Step(
            title,
            f"1 / (1 / mark {sign} deficit / |V|)",
            f"1 / (1 / {mark} {sign} {deficit} / {size})",
            closing.rule_price,
            "quote",
        )
    sign = "+" if is_long else "-"
    return Step(title, f"mark {sign} deficit / |q|", f"{mark} {sign} {deficit} / {size}", closing.rule_price, "quote")


def _checks(question: AdlQuestion, own: _Ranked, bankrupt: float | None, closing: _Closing | None) -> tuple[Check, ...]:
    unit = _unit(question)
    checks = []
    inverse = question.kind is Kind.INVERSE
    if bankrupt is not None:
        value = signed_value(_signed(question, own.held.quantity), bankrupt, inverse)
        checks.append(
            Check(
                f"put back: at {rounded(bankrupt)}, wallet + profit = 0",
                own.wallet + value - own.entry_value,
                0.0,
                max(abs(own.entry_value), own.wallet),
                unit,
            )
        )
    if closing is not None and closing.price == closing.rule_price:
        given = math.fsum(closing.given_up) + closing.uncovered_loss
        scale = max(question.deficit or 0.0, 1e3 / _UNITS, abs(own.mark_value))
        checks.append(Check("what all give up together = the deficit", given, question.deficit or 0.0, scale, unit))
    return tuple(checks)


def _notes(question: AdlQuestion, rule: AdlRule, closing: _Closing | None, stands: Place) -> tuple[str, ...]:
    counted = "accounts" if rule.light_by is LightBy.ACCOUNTS else "lots"
    notes = [f"Light 4 is the first fifth of the queue to be closed, counted in {counted}; of equals we stand last."]
    if stands.accounts == 1:
        notes.append("Alone in the queue the light says nothing: give the other accounts with --other.")
    if closing is not None and rule.close_price is ClosePrice.MARK and question.deficit:
        notes.append("Closed at the mark, the counterparties give up nothing; the deficit stays with the fund.")
    elif closing is not None and closing.price != closing.rule_price:
        notes.append("Closed at the mark, the deficit is not borne by the counterparties; it stays with the fund.")
    return tuple(notes)

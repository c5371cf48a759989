"""Liquidation prices of an account, worked. Spec: docs/specs/calculator.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from crypto.errors import UsageError
from crypto.instruments import Kind
from crypto.liquidation import (
    LiquidationRange,
    as_range,
    bankruptcy_inverse,
    bankruptcy_linear,
    cash_inverse,
    cash_linear,
    margin_without_closing_fee,
)
from crypto.liquidation_cross import CrossAccount
from crypto.margin import Position, initial_margin, is_liquidatable, notional_inverse, notional_linear
from crypto.tiers import check_leverage, tier_index
from crypto.venues.liquidation_rules import ClosingFee, LiquidationRule, liquidation_rule
from crypto.worked.answer import (
    CHECK_TOLERANCE,
    Answer,
    Check,
    Step,
    TierUsed,
    exact,
    percent,
    rounded,
    rounded_percent,
    signed_sum,
    tier_used,
)
from crypto.worked.contracts import AccountQuestion, check_given_tier, closing_fee, quantity_unit, taker_rate
from crypto.worked.inputs import blaming, only_held


class Mode(StrEnum):
    """Whether positions share the wallet, or one position has a margin of its own."""

    CROSS = "cross"
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True)
class LiquidationQuestion:
    """At which prices is this account liquidated?

    Cross: ``wallet`` is the balance without unrealised profit, ``collateral`` base units after haircut that move with a
    symbol's price. Isolated: ``margin`` on the position, or its initial margin at the question's leverage, plus
    ``extra_margin``. ``taker``: fee rate where the venue asks for the fee of closing.
    """

    account: AccountQuestion
    mode: Mode
    wallet: float | None = None
    margin: float | None = None
    extra_margin: float = 0.0
    collateral: Mapping[str, float] = field(default_factory=dict)
    taker: float | None = None


_NO_STEPS: tuple[Step, ...] = ()


class _Solved(NamedTuple):
    account: CrossAccount
    symbol: str
    key: str
    mode: Mode
    found: LiquidationRange


def answer_liquidation(question: LiquidationQuestion) -> Answer:
    """Prices at which the venue liquidates, with the formula filled in and the price put back.

    Errors: ``UsageError`` for flags, ``DataError`` for missing tiers, ``RefusedError`` for a notional or leverage that
    the tiers don't allow, ``InsolventError`` when every price liquidates.
    """
    _check_flags(question)
    rule = liquidation_rule(question.account.venue)
    if question.mode is Mode.CROSS:
        account, margin_steps = _cross(question, rule), _NO_STEPS
    else:
        account, margin_steps = _isolated(question, rule)
    solved = [_solve(account, key, question.mode) for key in account.groups()]
    ends = [(item, price) for item in solved for price in item.found if price is not None]
    is_dead = is_liquidatable(account.equity(), account.maintenance(), rule.at_equality)
    return Answer(
        question="liquidation",
        title=f"Liquidation, {question.account.venue} {question.mode.value}, {question.account.kind.value} contracts",
        values=_values(question, account, solved, is_dead),
        lines=_lines(question, account, solved, is_dead),
        steps=(*margin_steps, *(_step(item, price) for item, price in ends)),
        checks=tuple(_put_back(item, price) for item, price in ends),
        tiers=tuple(tier for item, price in ends for tier in _tiers(item, price)),
        notes=_notes(question, account, solved, rule, is_dead),
    )


# --- the account --------------------------------------------------------------------------------------------------


def _check_flags(question: LiquidationQuestion) -> None:
    given = {
        "--wallet": question.wallet is not None,
        "--margin": question.margin is not None,
        "--extra-margin": question.extra_margin != 0,
        "--leverage": bool(question.account.leverage),
        "--collateral": bool(question.collateral),
    }
    if question.mode is Mode.CROSS:
        _refuse_flags(given, ("--margin", "--extra-margin", "--leverage"), "--mode cross")
        if question.wallet is None:
            raise UsageError("--wallet is missing: cross positions share it", remedy="give --wallet BALANCE")
    else:
        _refuse_flags(given, ("--wallet", "--collateral"), "--mode isolated")
        if given["--margin"] == given["--leverage"]:
            word = "both given" if given["--margin"] else "both missing"
            raise UsageError(
                f"--margin and --leverage are {word}", remedy="an isolated position needs one of them, not both"
            )
        if len(question.account.held) > 1:
            raise UsageError(
                "--mode isolated with several --position", remedy="ask for each alone: their margins are apart"
            )


def _refuse_flags(given: Mapping[str, bool], names: Sequence[str], mode: str) -> None:
    for name in names:
        if given[name]:
            other = "isolated" if mode.endswith("cross") else "cross"
            raise UsageError(f"{name} contradicts {mode}", remedy=f"leave it out, or give --mode {other}")


def _cross(question: LiquidationQuestion, rule: LiquidationRule) -> CrossAccount:
    asked = question.account
    only_held("--collateral", question.collateral, asked.held)
    fee = closing_fee(rule.cross_fee, asked.venue, asked.kind, question.taker)
    moving = {f"{asked.venue}:{asked.kind.value}:{symbol}": units for symbol, units in question.collateral.items()}
    with blaming("--collateral" if moving else "--position"):
        return CrossAccount(question.wallet or 0.0, asked.positions(), fee, moving)


def _isolated(question: LiquidationQuestion, rule: LiquidationRule) -> tuple[CrossAccount, tuple[Step, ...]]:
    asked = question.account
    (held,) = asked.positions()
    steps = []
    unit = held.tiers.currency
    initial, extra = question.margin, question.extra_margin
    if initial is None:
        measure = notional_inverse if asked.kind is Kind.INVERSE else notional_linear
        notional = measure(held.quantity, held.entry_price)
        with blaming(f"--leverage {exact(held.leverage)}"):
            check_leverage(held.tiers, notional, held.leverage)
        initial = initial_margin(notional, held.leverage)
        sign, letter = ("/", "V") if asked.kind is Kind.INVERSE else ("x", "q")
        numbers = f"{exact(abs(held.quantity))} {sign} {exact(held.entry_price)} / {exact(held.leverage)}"
        steps.append(Step("Initial margin", f"|{letter}| {sign} e / leverage", numbers, initial, unit))
    if rule.isolated_fee is not ClosingFee.HELD_BACK:
        fee = closing_fee(rule.isolated_fee, asked.venue, asked.kind, question.taker)
        margin = initial + extra
        if extra:
            steps.append(Step("Margin", "initial + extra", f"{rounded(initial)} + {rounded(extra)}", margin, unit))
        return CrossAccount(margin, (held,), fee), tuple(steps)
    margin, taker = initial, taker_rate(asked.venue, asked.kind, question.taker) or 0.0
    if extra:
        side = (1 if held.quantity > 0 else -1) * (-1 if asked.kind is Kind.INVERSE else 1)
        margin = margin_without_closing_fee(initial, extra, taker, side)
        sign = "-" if side > 0 else "+"
        steps.append(
            Step(
                "Margin that is left when the fee of closing is held back",
                f"initial + extra / (1 {sign} taker)",
                f"{rounded(initial)} + {rounded(extra)} / (1 {sign} {percent(taker)})",
                margin,
                unit,
            )
        )
    return CrossAccount(margin, (held,)), tuple(steps)


def _solve(account: CrossAccount, key: str, mode: Mode) -> _Solved:
    symbol = key.split(":")[2]
    with blaming(f"--position {symbol}"):
        found = as_range(account.bounds(key), f"{key} {mode.value}")
    solved = _Solved(account, symbol, key, mode, found)
    for price in found:
        if price is not None:
            for leg in _at(solved, price).groups()[key]:
                check_given_tier(leg)
    return solved


def _at(solved: _Solved, price: float) -> CrossAccount:
    """The account with one contract's mark moved to ``price``."""
    positions = tuple(
        replace(item, mark_price=price) if item.tiers.key == solved.key else item for item in solved.account.positions
    )
    return replace(solved.account, positions=positions)


# --- the working --------------------------------------------------------------------------------------------------


class _Term(NamedTuple):
    """A term of the formula: its value, letters, numbers, and the sign with which the letters stand in the formula."""

    value: float
    letters: str
    text: str
    sign: int = 1


def _step(solved: _Solved, price: float) -> Step:
    """The venue's closed formula, with the tier that holds at ``price``; ``ArithmeticError`` if it gives another."""
    account, key = solved.account, solved.key
    legs = account.groups()[key]
    is_inverse = legs[0].kind is Kind.INVERSE
    cash, slope = _account_terms(solved), []
    for leg in legs:
        suffix = "" if len(legs) == 1 else "_long" if leg.quantity > 0 else "_short"
        at_price = replace(leg, mark_price=price)
        cash_terms, slope_terms = _leg_terms(at_price, account.closing_fee, suffix)
        cash += cash_terms
        slope += slope_terms
    moving = account.moving_collateral.get(key, 0.0)
    if moving:
        slope.append(_Term(-moving, "collateral", exact(abs(moving)), -1))
    over, under = (slope, cash) if is_inverse else (cash, slope)
    _require_same(solved, price, math.fsum(term.value for term in cash), math.fsum(term.value for term in slope))
    end = "falls to" if price == solved.found.lower else "rises to"
    return Step(
        f"{solved.symbol} {end} its liquidation price",
        f"({_letters(over)}) / ({_letters(under)})",
        f"({_numbers(over)}) / ({_numbers(under)})",
        price,
        "quote",
    )


def _require_same(solved: _Solved, price: float, cash: float, slope: float) -> None:
    """The formula as it is shown must give the solver's price: cash = slope x price, or slope / price when inverse."""
    is_inverse = solved.account.groups()[solved.key][0].kind is Kind.INVERSE
    right = slope / price if is_inverse else slope * price
    if abs(cash - right) > CHECK_TOLERANCE * _scale(solved, price):
        raise ArithmeticError(f"{solved.key}: the formula does not give {price!r}: {cash!r} is not {right!r}")


def _account_terms(solved: _Solved) -> list[_Term]:
    account, key = solved.account, solved.key
    others = [item for item in account.positions if item.tiers.key != key]
    if solved.mode is Mode.ISOLATED:
        return [_Term(account.wallet, "margin", rounded(account.wallet))]
    terms = [_Term(account.wallet, "wallet", exact(account.wallet))]
    if others:
        groups = account.groups()
        moving = [q * groups[other][0].mark_price for other, q in account.moving_collateral.items() if other != key]
        profit = math.fsum(item.unrealised for item in others) + math.fsum(moving)
        needed = math.fsum(item.maintenance + account.closing_fee * item.notional for item in others)
        terms += [
            _Term(profit, "profit of others", rounded(abs(profit))),
            _Term(-needed, "maintenance of others", rounded(needed), -1),
        ]
    return terms


def _leg_terms(leg: Position, fee: float, suffix: str) -> tuple[list[_Term], list[_Term]]:
    """Terms of cash and of slope that a leg at its liquidation price brings."""
    is_inverse = leg.kind is Kind.INVERSE
    index = tier_index(leg.notional, leg.tiers.floor)
    rate, deduction = float(leg.tiers.rate[index]), float(leg.tiers.deduction[index])
    size = abs(leg.quantity)
    letter, entry, m = ("V" if is_inverse else "q") + suffix, f"e{suffix}", f"m{suffix}"
    q, e = exact(size), exact(leg.entry_price)
    if is_inverse:
        at_entry = _Term(leg.quantity / leg.entry_price, f"{letter} / {entry}", f"{q} / {e}")
        direction = _Term(leg.quantity, letter, q)
    else:
        at_entry = _Term(-leg.quantity * leg.entry_price, f"{letter} x {entry}", f"{q} x {e}", -1)
        direction = _Term(-leg.quantity, letter, q, -1)
    rate_text = f"({percent(rate)} + {percent(fee)})" if fee else percent(rate)
    rate_letters = f"|{letter}| x ({m} + fee)" if fee else f"|{letter}| x {m}"
    needed = _Term(size * (rate + fee), rate_letters, f"{q} x {rate_text}")
    return [_Term(deduction, f"d{suffix}", rounded(deduction)), at_entry], [needed, direction]


def _letters(terms: Sequence[_Term]) -> str:
    return signed_sum((term.sign, term.letters) for term in terms)


def _numbers(terms: Sequence[_Term]) -> str:
    return signed_sum((term.value, term.text) for term in terms)


def _scale(solved: _Solved, price: float) -> float:
    """Largest amount in equity or maintenance, at the given marks (as the solver adds them) and at ``price``."""
    amounts = [solved.account.wallet]
    for account in (solved.account, _at(solved, price)):
        for item in account.positions:
            size = abs(item.quantity)
            at_entry = size / item.entry_price if item.kind is Kind.INVERSE else size * item.entry_price
            amounts += [item.notional, item.maintenance, abs(item.unrealised), at_entry]
    return max(amounts)


def _put_back(solved: _Solved, price: float) -> Check:
    account = _at(solved, price)
    unit = account.positions[0].tiers.currency
    return Check(
        f"put back: with {solved.symbol} at {rounded(price)}, equity = maintenance margin",
        account.equity(),
        account.maintenance(),
        _scale(solved, price),
        unit,
    )


def _tiers(solved: _Solved, price: float) -> list[TierUsed]:
    legs = _at(solved, price).groups()[solved.key]
    where = f"at {rounded(price)}"
    return [
        tier_used(leg.tiers, leg.notional, f"{'long' if leg.quantity > 0 else 'short'} {where}" if legs[1:] else where)
        for leg in legs
    ]


# --- what is shown ------------------------------------------------------------------------------------------------


def _bankruptcy(solved: _Solved) -> float | None:
    """Price at which equity is 0 before any fee; None for several legs, moving collateral, or when no price does."""
    account, key = solved.account, solved.key
    legs = account.groups()[key]
    if len(legs) > 1 or key in account.moving_collateral:
        return None
    (leg,) = legs
    others = account.equity() - account.wallet - leg.unrealised
    if leg.kind is Kind.INVERSE:
        cash = cash_inverse(account.wallet, others, 0.0, leg.quantity, leg.entry_price)
        price = bankruptcy_inverse(cash, leg.quantity, 0.0)
    else:
        cash = cash_linear(account.wallet, others, 0.0, leg.quantity, leg.entry_price)
        price = bankruptcy_linear(cash, leg.quantity, 0.0)
    return price if price > 0 else None


def _values(
    question: LiquidationQuestion, account: CrossAccount, solved: Sequence[_Solved], is_dead: bool
) -> dict[str, Any]:
    equity, needed = account.equity(), account.maintenance()
    prices = {}
    for item in solved:
        mark = account.groups()[item.key][0].mark_price
        nearest = item.found.nearest(mark)
        prices[item.symbol] = {
            "lower": item.found.lower,
            "upper": item.found.upper,
            "nearest": nearest,
            "mark": mark,
            "distance": None if nearest is None else nearest / mark - 1,
            "bankruptcy": _bankruptcy(item),
        }
    return {
        "venue": question.account.venue,
        "mode": question.mode.value,
        "kind": question.account.kind.value,
        "margin_asset": account.positions[0].tiers.currency,
        "liquidation": prices,
        "wallet": account.wallet,
        "closing_fee": account.closing_fee,
        "equity": equity,
        "maintenance": needed,
        "ratio": needed / equity if equity > 0 else None,
        "liquidatable": is_dead,
    }


def _lines(
    question: LiquidationQuestion, account: CrossAccount, solved: Sequence[_Solved], is_dead: bool
) -> tuple[tuple[str, str], ...]:
    lines = []
    for item in solved:
        mark = account.groups()[item.key][0].mark_price
        ends = [f"{rounded(price)} ({price / mark - 1:+.2%} from mark)" for price in item.found if price is not None]
        lines.append((item.symbol, " and ".join(ends) or "never: no price liquidates"))
        bankruptcy = _bankruptcy(item)
        if bankruptcy is not None:
            lines.append(("  bankrupt at", rounded(bankruptcy)))
    unit = account.positions[0].tiers.currency
    equity, needed = account.equity(), account.maintenance()
    state = "LIQUIDATED NOW" if is_dead else f"margin ratio {rounded_percent(needed / equity)}"
    text = f"equity {rounded(equity)}, maintenance {rounded(needed)} {unit}: {state}"
    name = "account" if question.mode is Mode.CROSS else "position"
    return (*lines, (f"{name} now", text))


def _notes(
    question: LiquidationQuestion,
    account: CrossAccount,
    solved: Sequence[_Solved],
    rule: LiquidationRule,
    is_dead: bool,
) -> tuple[str, ...]:
    unit = quantity_unit(question.account.kind, question.account.held[0].symbol)
    letter = "V (value)" if question.account.kind is Kind.INVERSE else "q (quantity)"
    meaning = "e entry, m maintenance rate and d deduction of the tier that holds at the liquidation price."
    notes = [f"{letter} is in {unit}, long positive; {meaning}"]
    if len(solved) > 1:
        notes.append("Each price is for that contract alone: all other marks stay where they are.")
    if is_dead:
        notes.append("The account is at or below its maintenance margin at the given marks.")
    notes += [
        f"{item.symbol}: its price lies beyond the last known tier, which is taken to go on."
        for item in solved
        for price in item.found
        if price is not None and any(leg.notional > leg.tiers.cap[-1] for leg in _at(item, price).groups()[item.key])
    ]
    if rule.venue == "bybit":
        isolated = "Bybit isolated: the fee of closing is held back from the margin and asked for again; it cancels."
        cross = "Bybit cross: the price follows from the account's maintenance rate; Bybit shows an estimate of it."
        notes.append(isolated if question.mode is Mode.ISOLATED else cross)
    if account.closing_fee:
        notes.append(f"The fee of closing, {percent(account.closing_fee)}, is added to the maintenance rate.")
    return tuple(notes)

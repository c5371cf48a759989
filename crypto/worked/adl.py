"""Rank of a position in its ADL queue and what a deficit would close of it, with its working shown.

Spec: docs/specs/calculator.md.
"""

from __future__ import annotations

import math
from typing import Any

from crypto.adl import AdlRule, ClosePrice, LightBy, Score, close_price, signed_value
from crypto.adl_ranking import LAST
from crypto.instruments import Kind
from crypto.tiers import TierTable, tier_index
from crypto.worked.adl_queue import UNITS, AdlQuestion, Closing, Ranked, WorkedAdl, okx_fee, work_adl
from crypto.worked.answer import Answer, Check, Step, exact, percent, rounded, tier_used


def answer_adl(question: AdlQuestion) -> Answer:
    """Score, light, bankruptcy price, and what is closed for a deficit; errors as ``adl_queue.work_adl``."""
    worked = work_adl(question)
    return Answer(
        question="adl",
        title=f"Auto-deleveraging, {question.venue}, {question.held.text}",
        values=_values(worked),
        lines=_lines(worked),
        steps=_steps(worked),
        checks=_checks(worked),
        tiers=() if worked.table is None else (tier_used(worked.table, worked.own.notional, "at mark"),),
        notes=_notes(worked),
    )


def _values(worked: WorkedAdl) -> dict[str, Any]:
    question, rule, _, own, stands, bankrupt, closing = worked
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


def _lines(worked: WorkedAdl) -> tuple[tuple[str, str], ...]:
    question, rule, _, own, stands, bankrupt, closing = worked
    unit = worked.unit
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


def _steps(worked: WorkedAdl) -> tuple[Step, ...]:
    steps = _equity_steps(worked)
    if worked.table is not None:
        steps.append(_maintenance_step(worked, worked.table))
    if worked.own.score != LAST:
        formula, numbers = _score_text(worked.rule, worked.own)
        steps.append(Step("Score", formula, numbers, worked.own.score))
    if worked.bankrupt is not None:
        steps.append(_bankruptcy_step(worked, worked.bankrupt))
    if worked.closing is not None:
        steps.append(_deficit_step(worked.question, worked.closing))
    return tuple(steps)


def _signed_size(own: Ranked) -> str:
    return f"{'' if own.held.side > 0 else '-'}{exact(own.held.quantity)}"


def _equity_steps(worked: WorkedAdl) -> list[Step]:
    own, unit = worked.own, worked.unit
    size, entry, mark = _signed_size(own), exact(own.held.entry_price), exact(worked.question.mark_price)
    inverse = worked.question.kind is Kind.INVERSE
    sign = "-" if own.profit < 0 else "+"
    return [
        Step(
            "Unrealised profit",
            "V / e - V / mark" if inverse else "q x (mark - e)",
            f"{size} / {entry} - {size} / {mark}" if inverse else f"{size} x ({mark} - {entry})",
            own.profit,
            unit,
        ),
        Step("Equity", "wallet + profit", f"{exact(own.wallet)} {sign} {rounded(abs(own.profit))}", own.equity, unit),
    ]


def _maintenance_step(worked: WorkedAdl, table: TierTable) -> Step:
    own, fee = worked.own, okx_fee(worked.question)
    index = tier_index(own.notional, table.floor)
    tier_rate = percent(float(table.rate[index]))
    rate = f"({tier_rate} + {percent(fee)})" if fee else tier_rate
    return Step(
        "Maintenance margin",
        "N x (m + fee) - d" if fee else "N x m - d",
        f"{rounded(own.notional)} x {rate} - {rounded(float(table.deduction[index]))}",
        own.maintenance,
        worked.unit,
    )


def _bankruptcy_step(worked: WorkedAdl, price: float) -> Step:
    own = worked.own
    is_long, wallet = own.held.side > 0, exact(own.wallet)
    if worked.question.kind is Kind.INVERSE:
        value = f"{'' if is_long else '-'}{rounded(abs(own.entry_value))}"
        formula, numbers = "V / (V / e + wallet)", f"{_signed_size(own)} / ({value} + {wallet})"
    else:
        formula = "e - wallet / q"
        numbers = f"{exact(own.held.entry_price)} {'-' if is_long else '+'} {wallet} / {exact(own.held.quantity)}"
    return Step("Bankruptcy price", formula, numbers, price, "quote")


def _score_text(rule: AdlRule, own: Ranked) -> tuple[str, str]:
    equity, notional, entry = rounded(own.equity), rounded(own.notional), rounded(abs(own.entry_value))
    profit, wallet, needed = rounded(own.profit), exact(own.wallet), rounded(own.maintenance)
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


def _deficit_step(question: AdlQuestion, closing: Closing) -> Step:
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


def _checks(worked: WorkedAdl) -> tuple[Check, ...]:
    question, _, _, own, _, bankrupt, closing = worked
    unit = worked.unit
    checks = []
    inverse = question.kind is Kind.INVERSE
    if bankrupt is not None:
        value = signed_value(own.held.side * own.held.quantity, bankrupt, inverse)
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
        scale = max(question.deficit or 0.0, 1e3 / UNITS, abs(own.mark_value))
        checks.append(Check("what all give up together = the deficit", given, question.deficit or 0.0, scale, unit))
    return tuple(checks)


def _notes(worked: WorkedAdl) -> tuple[str, ...]:
    question, rule, _, _, stands, _, closing = worked
    counted = "accounts" if rule.light_by is LightBy.ACCOUNTS else "lots"
    notes = [f"Light 4 is the first fifth of the queue to be closed, counted in {counted}; of equals we stand last."]
    if stands.accounts == 1:
        notes.append("Alone in the queue the light says nothing: give the other accounts with --other.")
    if closing is not None and rule.close_price is ClosePrice.MARK and question.deficit:
        notes.append("Closed at the mark, the counterparties give up nothing; the deficit stays with the fund.")
    elif closing is not None and closing.price != closing.rule_price:
        notes.append("Closed at the mark, the deficit is not borne by the counterparties; it stays with the fund.")
    return tuple(notes)

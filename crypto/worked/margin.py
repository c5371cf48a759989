"""Initial and maintenance margin of positions and the risk of their account, worked. Spec: docs/specs/calculator.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crypto.instruments import Kind
from crypto.margin import AccountRisk, Position, account_risk
from crypto.sizing import OrderCost, order_cost_inverse, order_cost_linear
from crypto.tiers import tier_index
from crypto.venues.liquidation_rules import ClosingFee, LiquidationRule, liquidation_rule
from crypto.worked.answer import Answer, Check, Step, exact, percent, rounded, rounded_percent, tier_used
from crypto.worked.contracts import AccountQuestion, closing_fee, taker_rate
from crypto.worked.inputs import ALL


@dataclass(frozen=True, slots=True)
class MarginQuestion:
    """Which margins do these positions need, and how does their account stand?

    ``wallet``: balance without unrealised profit. ``reserved``: initial margin that open orders hold. ``taker``: fee
    rate of both fills, else the venue's first fee tier.
    """

    account: AccountQuestion
    wallet: float
    reserved: float = 0.0
    taker: float | None = None


def answer_margin(question: MarginQuestion) -> Answer:
    """Margins per position and the account's risk; errors as of ``answer_liquidation``."""
    asked = question.account
    rule = liquidation_rule(asked.venue)
    held = asked.positions()
    taker = taker_rate(asked.venue, asked.kind, question.taker)
    # Where the venue has no closing fee, a given taker rate still counts for the cost of the order.
    fee = closing_fee(rule.cross_fee, asked.venue, asked.kind, taker) if rule.cross_fee is not ClosingFee.NONE else 0.0
    risk = account_risk(
        question.wallet, held, reserved=question.reserved, closing_fee=fee, at_equality=rule.at_equality
    )
    costs = [None if taker is None else _order_cost(item, taker) for item in held]
    return Answer(
        question="margin",
        title=f"Margin, {asked.venue}, {asked.kind.value} contracts",
        values=_values(question, held, costs, risk, fee),
        lines=_lines(question, held, risk),
        steps=(
            *(step for item, cost in zip(held, costs, strict=True) for step in _position_steps(item, cost, taker)),
            *_account_steps(question, held, risk, fee),
        ),
        checks=tuple(_slices(item) for item in held if item.tiers.floor.size > 1),
        tiers=tuple(tier_used(item.tiers, item.notional, f"{_name(item).split()[1]} at mark") for item in held),
        notes=_notes(question, held, rule, fee, taker),
    )


def _name(item: Position) -> str:
    return f"{item.tiers.key.split(':')[2]} {'long' if item.quantity > 0 else 'short'}"


def _order_cost(item: Position, taker: float) -> OrderCost:
    side = 1 if item.quantity > 0 else -1
    cost = order_cost_inverse if item.kind is Kind.INVERSE else order_cost_linear
    return cost(abs(item.quantity), item.entry_price, item.leverage, taker, side)


def _position_steps(item: Position, cost: OrderCost | None, taker: float | None) -> list[Step]:
    unit, name = item.tiers.currency, _name(item)
    is_inverse = item.kind is Kind.INVERSE
    sign, letter = ("/", "|V|") if is_inverse else ("x", "|q|")
    q, e, mark = exact(abs(item.quantity)), exact(item.entry_price), exact(item.mark_price)
    index = tier_index(item.notional, item.tiers.floor)
    rate, deduction = float(item.tiers.rate[index]), float(item.tiers.deduction[index])
    signed = q if item.quantity > 0 else f"-{q}"
    steps = [
        Step(f"{name}: notional N", f"{letter} {sign} mark", f"{q} {sign} {mark}", item.notional, unit),
        Step(
            f"{name}: unrealised profit",
            "V / e - V / mark" if is_inverse else "q x (mark - e)",
            f"{signed} / {e} - {signed} / {mark}" if is_inverse else f"{signed} x ({mark} - {e})",
            item.unrealised,
            unit,
        ),
        Step(
            f"{name}: initial margin",
            "N / leverage",
            f"{rounded(item.notional)} / {exact(item.leverage)}",
            item.initial,
            unit,
        ),
        Step(
            f"{name}: maintenance margin",
            "N x m - d",
            f"{rounded(item.notional)} x {percent(rate)} - {rounded(deduction)}",
            item.maintenance,
            unit,
        ),
    ]
    if cost is not None and taker is not None:
        steps.append(
            Step(
                f"{name}: cost of the order that opened it, taker {percent(taker)}",
                "initial + fee to open + fee to close at the bankruptcy price",
                f"{rounded(cost.initial_margin)} + {rounded(cost.open_fee)} + {rounded(cost.close_fee)}",
                cost.total,
                unit,
            )
        )
    return steps


def _account_steps(question: MarginQuestion, held: Sequence[Position], risk: AccountRisk, fee: float) -> list[Step]:
    unit = held[0].tiers.currency
    profit = math.fsum(item.unrealised for item in held)
    sign = "-" if profit < 0 else "+"
    steps = [
        Step(
            "Account: equity",
            "wallet + unrealised profit",
            f"{exact(question.wallet)} {sign} {rounded(abs(profit))}",
            risk.equity,
            unit,
        )
    ]
    if fee:
        needed, notional = math.fsum(item.maintenance for item in held), math.fsum(item.notional for item in held)
        steps.append(
            Step(
                "Account: maintenance margin with the fee of closing",
                "maintenance + fee x notional",
                f"{rounded(needed)} + {percent(fee)} x {rounded(notional)}",
                risk.maintenance,
                unit,
            )
        )
    if risk.ratio is not None:
        steps.append(
            Step(
                "Account: margin ratio, 1 is liquidation",
                "maintenance / equity",
                f"{rounded(risk.maintenance)} / {rounded(risk.equity)}",
                risk.ratio,
            )
        )
    return steps


def _slices(item: Position) -> Check:
    """The maintenance margin once more, each slice of the notional at the rate of its own tier."""
    total, floors = [], [float(floor) for floor in item.tiers.floor]
    for floor, cap, rate in zip(floors, [*floors[1:], math.inf], item.tiers.rate, strict=True):
        total.append(max(0.0, min(item.notional, cap) - floor) * float(rate))
    return Check(
        f"{_name(item)}: N x m - d = every slice of N at its own tier's rate",
        item.maintenance,
        math.fsum(total),
        item.notional,
        item.tiers.currency,
    )


def _values(
    question: MarginQuestion,
    held: Sequence[Position],
    costs: Sequence[OrderCost | None],
    risk: AccountRisk,
    fee: float,
) -> dict[str, Any]:
    positions = [
        {
            "symbol": item.tiers.key.split(":")[2],
            "side": "long" if item.quantity > 0 else "short",
            "notional": item.notional,
            "unrealised": item.unrealised,
            "leverage": item.leverage,
            "initial": item.initial,
            "maintenance": item.maintenance,
            "order_cost": None if cost is None else cost._asdict(),
        }
        for item, cost in zip(held, costs, strict=True)
    ]
    return {
        "venue": question.account.venue,
        "kind": question.account.kind.value,
        "margin_asset": held[0].tiers.currency,
        "positions": positions,
        "wallet": question.wallet,
        "closing_fee": fee,
        "equity": risk.equity,
        "initial": risk.initial,
        "maintenance": risk.maintenance,
        "reserved": risk.reserved,
        "available": risk.available,
        "ratio": risk.ratio,
        "liquidatable": risk.liquidatable,
    }


def _maintenance_text(item: Position) -> str:
    return f"maintenance {rounded(item.maintenance)} {item.tiers.currency}"


def _lines(question: MarginQuestion, held: Sequence[Position], risk: AccountRisk) -> tuple[tuple[str, str], ...]:
    unit = held[0].tiers.currency
    lines = [
        (
            _name(item),
            f"initial {rounded(item.initial)} at {exact(item.leverage)}x, {_maintenance_text(item)}",
        )
        for item in held
    ]
    ratio = "none, equity is gone" if risk.ratio is None else rounded_percent(risk.ratio)
    state = "LIQUIDATED NOW" if risk.liquidatable else "kept"
    reserved = f", {rounded(question.reserved)} reserved by orders" if question.reserved else ""
    return (
        *lines,
        ("equity", f"{rounded(risk.equity)} {unit}"),
        ("initial", f"{rounded(risk.initial)} {unit}{reserved}"),
        ("maintenance", f"{rounded(risk.maintenance)} {unit}"),
        ("available", f"{rounded(risk.available)} {unit}"),
        ("margin ratio", f"{ratio}: {state}"),
    )


def _notes(
    question: MarginQuestion, held: Sequence[Position], rule: LiquidationRule, fee: float, taker: float | None
) -> tuple[str, ...]:
    notes = []
    asked = question.account
    if any(asked.leverage_of(item.symbol) is None for item in asked.held):
        by_hand = [item.tiers.key.split(":")[2] for item in held if item.tiers.source == "given by hand"]
        named = set(by_hand) - set(asked.leverage) if ALL not in asked.leverage else set()
        notes.append("Without --leverage the initial margin is that of the tier's largest leverage.")
        if named:
            notes.append(f"A tier given by hand names no leverage: 1x was taken for {', '.join(sorted(named))}.")
    if fee:
        notes.append(
            f"{rule.venue} adds the fee of closing, {percent(fee)} of the notional, to the maintenance margin."
        )
    if taker is None:
        notes.append(f"No cost of the order: fees of {rule.venue} don't ship; give --taker RATE.")
    return tuple(notes)

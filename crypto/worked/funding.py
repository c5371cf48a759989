"""Funding of a position, its annual rate and the time to break even, worked. Spec: docs/specs/calculator.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

from crypto.basis import NEVER, break_even_hours
from crypto.errors import UsageError
from crypto.funding import payment, payment_inverse
from crypto.instruments import Kind
from crypto.margin import notional_inverse, notional_linear
from crypto.units import annualised
from crypto.worked.answer import Answer, Check, Step, exact, percent, rounded, rounded_percent
from crypto.worked.inputs import rational


@dataclass(frozen=True, slots=True)
class FundingQuestion:
    """What does a position receive or pay at a settlement, and over time?

    ``quantity``: signed base units, or signed quote value of an inverse contract. ``rate``: fraction of notional per
    ``interval_hours``. ``cost``: of getting in and out, as a fraction of notional, None: not asked. ``hours``: how long
    the position is held, None: not asked; it settles each time a whole interval has passed.
    """

    kind: Kind
    quantity: float
    mark_price: float
    rate: float
    interval_hours: float
    cost: float | None = None
    cost_working: str = ""
    hours: float | None = None

    def __post_init__(self) -> None:
        if abs(self.rate) >= 1:
            raise UsageError(f"--rate = {self.rate} is not a fraction", remedy="0.01% is 0.0001")


@dataclass(frozen=True, slots=True)
class _Found:
    paid: float
    per_interval: float  # what we receive, fraction of notional
    annual: float
    settlements: int | None
    break_even: float | None
    settlements_to_break_even: int | None


def answer_funding(question: FundingQuestion) -> Answer:
    """Payment (positive: received), annual rate of notional, total over the holding time, break-even time."""
    found = _solve(question)
    return Answer(
        question="funding",
        title=f"Funding, {question.kind.value} contract, {'long' if question.quantity > 0 else 'short'}",
        values=_values(question, found),
        lines=_lines(question, found),
        steps=_steps(question, found),
        checks=_checks(question, found),
        notes=(
            "Positive is received, negative is paid; longs pay when the rate is positive.",
            "The annual rate is of the notional, simple, at an unchanged rate.",
        ),
    )


def _unit(question: FundingQuestion) -> str:
    return "coin" if question.kind is Kind.INVERSE else "quote"


def _solve(question: FundingQuestion) -> _Found:
    pay = payment_inverse if question.kind is Kind.INVERSE else payment
    received = -question.rate if question.quantity > 0 else question.rate
    held = None if question.hours is None else math.floor(rational(question.hours) / rational(question.interval_hours))
    hours, needed = None, None
    if question.cost is not None:
        hours = break_even_hours(question.cost, received / question.interval_hours)
        # Exact, because 0.0007 / 0.0001 is more than 7 in binary.
        needed = None if hours == NEVER else math.ceil(rational(question.cost) / rational(received)) if received else 0
    return _Found(
        paid=pay(question.quantity, question.mark_price, question.rate),
        per_interval=received,
        annual=annualised(received, question.interval_hours),
        settlements=held,
        break_even=hours,
        settlements_to_break_even=max(0, needed) if needed is not None else None,
    )


def _values(question: FundingQuestion, found: _Found) -> dict[str, object]:
    never = found.break_even == NEVER
    return {
        "kind": question.kind.value,
        "side": "long" if question.quantity > 0 else "short",
        "unit": _unit(question),
        "payment": found.paid,
        "annual_rate": found.annual,
        "settlements": found.settlements,
        "total": None if found.settlements is None else found.paid * found.settlements,
        "cost": question.cost,
        "break_even_hours": None if never else found.break_even,
        "break_even_settlements": found.settlements_to_break_even,
    }


def _lines(question: FundingQuestion, found: _Found) -> tuple[tuple[str, str], ...]:
    unit = _unit(question)
    verb = "received" if found.paid > 0 else "paid" if found.paid < 0 else "neither paid nor received"
    lines = [
        ("per settlement", f"{rounded(found.paid)} {unit} ({verb})"),
        ("annual rate", f"{found.annual:+.2%} of the notional"),
    ]
    if found.settlements is not None:
        lines.append(
            (
                f"over {exact(question.hours or 0)} h",
                f"{rounded(found.paid * found.settlements)} {unit} in {found.settlements:,} settlements",
            )
        )
    if question.cost is not None:
        lines.append(("break-even", _break_even_text(question, found)))
    return tuple(lines)


def _break_even_text(question: FundingQuestion, found: _Found) -> str:
    cost = rounded_percent(question.cost or 0.0)
    if found.break_even is None or found.break_even == NEVER:
        return f"never: the position does not receive, and the cost is {cost}"
    return f"{rounded(found.break_even)} h, paid for by {found.settlements_to_break_even:,} settlements (cost {cost})"


def _steps(question: FundingQuestion, found: _Found) -> tuple[Step, ...]:
    size = exact(abs(question.quantity))
    signed = f"-({size})" if question.quantity > 0 else size
    is_inverse = question.kind is Kind.INVERSE
    sign, letter = ("/", "V") if is_inverse else ("x", "q")
    interval = exact(question.interval_hours)
    steps = [
        Step(
            "Payment",
            f"-{letter} {sign} mark x rate",
            f"{signed} {sign} {exact(question.mark_price)} x {percent(question.rate)}",
            found.paid,
            _unit(question),
        ),
        Step(
            "Annual rate received",
            "rate received x 8,760 / interval",
            f"{percent(found.per_interval)} x 8,760 / {interval}",
            found.annual,
        ),
    ]
    if found.settlements is not None:
        steps.append(
            Step(
                "Total",
                "payment x floor(hours / interval)",
                f"{rounded(found.paid)} x floor({exact(question.hours or 0)} / {interval})",
                found.paid * found.settlements,
                _unit(question),
            )
        )
    if question.cost is not None and question.cost_working:
        steps.append(
            Step(
                "Cost of a round trip",
                "2 x (spot fee + perp fee + spot slippage + perp slippage)",
                question.cost_working,
                question.cost,
                "of notional",
            )
        )
    if question.cost is not None and found.break_even not in {None, NEVER}:
        steps.append(
            Step(
                "Time to break even",
                "cost / (rate received / interval)",
                f"{percent(question.cost)} / ({percent(found.per_interval)} / {interval})",
                found.break_even or 0.0,
                "h",
            )
        )
    return tuple(steps)


def _checks(question: FundingQuestion, found: _Found) -> tuple[Check, ...]:
    measure = notional_inverse if question.kind is Kind.INVERSE else notional_linear
    notional = measure(question.quantity, question.mark_price)
    unit = _unit(question)
    checks = [Check("payment = notional x rate received", found.paid, notional * found.per_interval, notional, unit)]
    if question.cost is not None and found.break_even not in {None, NEVER} and question.cost > 0:
        earned = found.per_interval * (found.break_even or 0.0) / question.interval_hours
        checks.append(Check("put back: rate received until then = cost", earned, question.cost, question.cost))
    return tuple(checks)

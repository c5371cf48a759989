"""Hours that a venue charges on a loan and their interest, worked. Spec: docs/specs/calculator.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from crypto.borrow import BorrowRule, charged_hours, interest
from crypto.errors import UsageError
from crypto.units import DAY_MS, HOUR_MS, HOURS_PER_YEAR, iso
from crypto.venues.registry import VENUES
from crypto.worked.answer import Answer, Check, Step, exact, percent, rounded
from crypto.worked.inputs import known, rational

LONGEST_MS = 3660 * DAY_MS
_SHOWN = 3
PERIOD_HOURS = {"--hourly-rate": 1, "--daily-rate": 24, "--annual-rate": HOURS_PER_YEAR}


@dataclass(frozen=True, slots=True)
class BorrowQuestion:
    """What does a loan cost from ``borrow_ms`` to ``until_ms``?

    ``rate`` is a fraction per ``period_hours``; ``free_hours``: charged hours that the venue waives, the first ones.
    """

    venue: str
    asset: str
    amount: float
    rate: float
    period_hours: int
    borrow_ms: int
    until_ms: int
    free_hours: int = 0

    def __post_init__(self) -> None:
        known("--venue", self.venue, VENUES)
        if self.until_ms < self.borrow_ms:
            raise UsageError(
                f"--until = {iso(self.until_ms)} is before --from = {iso(self.borrow_ms)}", remedy="swap them"
            )
        if self.until_ms - self.borrow_ms > LONGEST_MS:
            raise UsageError(f"--until = {iso(self.until_ms)} is more than ten years on", remedy="give a shorter loan")
        if self.free_hours < 0:
            raise UsageError(f"--free-hours = {self.free_hours} is negative", remedy="give 0 or more")

    @property
    def hourly_rate(self) -> float:
        """Fraction per hour."""
        return float(rational(self.rate) / self.period_hours)


def answer_borrow(question: BorrowQuestion) -> Answer:
    """Hours charged by the venue's rule, interest, and what is owed at the end; ``UsageError`` for wrong flags."""
    rule = VENUES[question.venue].borrow
    hours = charged_hours(question.borrow_ms, question.until_ms, rule.charge_at_borrow, rule.mark_offset_ms)
    paid = max(0, hours - question.free_hours)
    instants = list(_charge_instants(question, rule))
    total = _interest(question, rule, paid)
    asset, rate = question.asset, question.hourly_rate
    return Answer(
        question="borrow",
        title=f"Borrow interest, {question.venue}, {asset}",
        values={
            "venue": question.venue,
            "asset": asset,
            "amount": question.amount,
            "hourly_rate": rate,
            "from": iso(question.borrow_ms),
            "until": iso(question.until_ms),
            "hours_charged": hours,
            "hours_free": hours - paid,
            "hours_paid": paid,
            "charged_at": [iso(instant) for instant in instants],
            "compounds": rule.compounds,
            "interest": total,
            "owed": question.amount + total,
        },
        lines=(
            ("hours charged", f"{hours:,}" + (f", of which {hours - paid:,} free" if hours > paid else "")),
            ("interest", f"{rounded(total)} {asset}"),
            ("owed then", f"{rounded(question.amount + total)} {asset}"),
        ),
        steps=_steps(question, rule, hours, paid, total),
        checks=(
            Check("hours charged = charges counted one by one", hours, len(instants), 1.0),
            _check(question, rule, paid, total),
        ),
        notes=(_describe(rule), _list_instants(instants)),
    )


def _interest(question: BorrowQuestion, rule: BorrowRule, paid: int) -> float:
    if not rule.compounds:
        return interest(question.amount, question.hourly_rate) * paid
    owed = question.amount
    for _ in range(paid):
        owed += interest(owed, question.hourly_rate)
    return owed - question.amount


def _check(question: BorrowQuestion, rule: BorrowRule, paid: int, total: float) -> Check:
    """The interest once more, on exact fractions (simple) or by the closed form (compounding)."""
    amount, rate = rational(question.amount), rational(question.rate) / question.period_hours
    if rule.compounds:
        again = float(amount) * ((1 + float(rate)) ** paid - 1)
        return Check("charge by charge = A x ((1 + i)^n - 1)", total, again, question.amount, question.asset)
    exactly = sum((amount * rate for _ in range(paid)), Fraction(0))
    return Check("interest = the charges added up one by one", total, float(exactly), total, question.asset)


def _steps(question: BorrowQuestion, rule: BorrowRule, hours: int, paid: int, total: float) -> tuple[Step, ...]:
    rate, asset = question.hourly_rate, question.asset
    steps = []
    if question.period_hours != 1:
        steps.append(
            Step(
                "Rate of an hour",
                f"rate / {question.period_hours:,}",
                f"{percent(question.rate)} / {question.period_hours:,}",
                rate,
                "per hour",
            )
        )
    at_borrow = 1 if rule.charge_at_borrow else 0
    steps.append(
        Step(
            "Hours charged",
            "one at borrow + one at each mark after it, the end included",
            f"{at_borrow} + {hours - at_borrow:,}",
            hours,
            "hours",
        )
    )
    n = f"({hours:,} - {hours - paid:,})" if hours > paid else f"{paid:,}"
    if rule.compounds:
        formula, numbers = "A x ((1 + i)^n - 1)", f"{exact(question.amount)} x ((1 + {exact(rate)})^{n} - 1)"
    else:
        formula, numbers = "A x i x n", f"{exact(question.amount)} x {exact(rate)} x {n}"
    steps.append(Step("Interest", formula, numbers, total, asset))
    return tuple(steps)


def _charge_instants(question: BorrowQuestion, rule: BorrowRule) -> Iterator[int]:
    """Every charge in turn, walked hour by hour."""
    if rule.charge_at_borrow:
        yield question.borrow_ms
    mark = question.borrow_ms - question.borrow_ms % HOUR_MS - HOUR_MS + rule.mark_offset_ms
    while mark <= question.until_ms:
        if mark > question.borrow_ms:
            yield mark
        mark += HOUR_MS


def _describe(rule: BorrowRule) -> str:
    first = "One hour is charged at borrow, then one" if rule.charge_at_borrow else "One hour is charged"
    minutes = rule.mark_offset_ms // 60_000
    when = "at each full hour UTC" if minutes == 0 else f"{minutes} minutes past each full hour UTC"
    return f"{first} {when}; interest {'joins the debt and bears' if rule.compounds else 'bears no'} interest."


def _list_instants(instants: list[int]) -> str:
    if not instants:
        return "No charge falls between the two instants."
    shown = ", ".join(iso(instant) for instant in instants[:_SHOWN])
    return f"Charged at {shown}" + (f" and {len(instants) - _SHOWN:,} more." if len(instants) > _SHOWN else ".")

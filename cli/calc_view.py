"""How ``carry calc`` shows a worked answer: for people at 80 columns, and as plain values for scripts."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from crypto.worked.answer import GIVEN_BY_HAND, Answer, Check, Step, TierUsed, describe_tier, rounded

_INDENT = (0, 0, 0, 2)


def payload(answer: Answer) -> dict[str, Any]:
    """The answer as JSON: unrounded values, working as text, checks with both sides."""
    return {
        "question": answer.question,
        "answer": answer.values,
        "steps": [
            {"title": s.title, "formula": s.formula, "numbers": s.numbers, "value": s.value, "unit": s.unit}
            for s in answer.steps
        ],
        "tiers": list(answer.tiers),
        "checks": [
            {"statement": c.statement, "left": c.left, "right": c.right, "unit": c.unit, "holds": c.holds}
            for c in answer.checks
        ],
        "notes": list(answer.notes),
    }


def view(answer: Answer) -> RenderableType:
    """The answer for people: result, working, tiers, checks, notes."""
    parts: list[RenderableType] = [Panel(_result(answer), title=Text(answer.title), expand=False)]
    if answer.steps:
        parts += [_heading("Working"), *(_step(step) for step in answer.steps)]
    if answer.tiers:
        parts += [_heading("Tiers"), *(line for tier in answer.tiers for line in _tier(tier))]
    if answer.checks:
        parts += [_heading("Checks"), *(_check(check) for check in answer.checks)]
    if answer.notes:
        parts += [
            _heading("Notes"),
            *(Padding(Text(note, style="dim"), _INDENT, expand=False) for note in answer.notes),
        ]
    return Group(*parts)


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _result(answer: Answer) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in answer.lines:
        grid.add_row(Text(label), Text(text, style="bold"))
    return grid


def _step(step: Step) -> Padding:
    unit = f" {step.unit}" if step.unit else ""
    lines: list[RenderableType] = [
        Text(step.title, style="cyan"),
        Padding(_fraction(step.formula), _INDENT, expand=False),
        Padding(_fraction(f"= {step.numbers}"), _INDENT, expand=False),
        Padding(Text(f"= {rounded(step.value)}{unit}", style="bold"), _INDENT, expand=False),
    ]
    return Padding(Group(*lines), _INDENT, expand=False)


def _fraction(text: str) -> Text:
    """A quotient of two sums on two lines."""
    return Text(text.replace(") / (", ")\n/ ("))


def _tier(tier: TierUsed) -> list[Padding]:
    lines = [Padding(Text(f"{tier.symbol} {tier.used_for}: {describe_tier(tier)}"), _INDENT, expand=False)]
    if tier.source != GIVEN_BY_HAND:
        lines.append(Padding(Text(tier.source, style="dim"), (0, 0, 0, 4), expand=False))
    return lines


def _check(check: Check) -> Padding:
    unit = f" {check.unit}" if check.unit else ""
    text = f"{check.statement}: {rounded(_clean(check, check.left))} = {rounded(_clean(check, check.right))}{unit}"
    return Padding(Text.assemble(("ok ", "green"), text), _INDENT, expand=False)


def _clean(check: Check, value: float) -> float:
    """Zero for what is only the rounding error of floats."""
    return 0.0 if abs(value) <= 1e-12 * abs(check.scale) else value

"""Prints comparisons: a table for people, JSON for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.comparison import Comparison
from bench.measure import Sample


def as_document(machine: Mapping[str, str], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Plain values for JSON; ``passed`` says whether every ratio met its goal."""
    return {
        "machine": dict(machine),
        "passed": all(comparison.passed for comparison in comparisons),
        "items": [comparison.as_values() for comparison in comparisons],
    }


def make_table(comparisons: Sequence[Comparison]) -> Table:
    """One row per comparison, medians with their spread."""
    table = Table(title="Ratios measured in this run (median, spread in brackets)", show_lines=True)
    for heading in ("item", "denominator", "our figure"):
        table.add_column(heading, overflow="fold")
    for heading in ("ratio", "goal", "result"):
        table.add_column(heading, justify="right", no_wrap=True)
    for comparison in comparisons:
        table.add_row(
            f"{comparison.item}\n{comparison.note}".strip(),
            _measured(comparison.denominator_name, comparison.denominator, comparison.unit),
            _measured(comparison.figure_name, comparison.figure, comparison.unit),
            f"{comparison.ratio:.3g}",
            comparison.goal_text,
            _verdict(comparison),
        )
    return table


def print_report(console: Console, machine: Mapping[str, str], comparisons: Sequence[Comparison]) -> None:
    """The machine, the table, and how to read it."""
    console.print("Machine: " + ", ".join(f"{name} {value}" for name, value in machine.items()), highlight=False)
    console.print(make_table(comparisons))
    console.print(
        "Results were checked to be equal before anything was timed. Only the ratios carry over to other machines."
    )


def _measured(name: str, sample: Sample, unit: str) -> str:
    repeats = len(sample.values)
    spread = f" (spread {sample.spread:.0%}, {repeats} runs)" if repeats > 1 else ""
    return f"{name}\n{sample.median:,.4g} {unit}{spread}"


def _verdict(comparison: Comparison) -> str:
    if comparison.goal is None:
        return "-"
    return "[green]pass[/green]" if comparison.passed else "[red]MISS[/red]"

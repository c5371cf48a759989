"""``carry simulate stress``: price gap, funding flip, borrow recall, outage and ADL together, from a scenario file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cli import console
from cli import simulate_options as options
from cli.options import flattened
from cli.simulate_books import compile_first, short, show_by_direction

if TYPE_CHECKING:
    from research.laboratory.stress_study import Stress

DEFAULT_SCENARIO = Path(__file__).parents[1] / "config" / "stress.toml"

Scenario = Annotated[Path, typer.Option("--scenario", help="Scenario file; else config/stress.toml.")]


def register(group: typer.Typer) -> None:
    """Add the command to ``carry simulate``."""
    group.command("stress")(flattened(stress))


def stress(
    *,
    scenario: Scenario = DEFAULT_SCENARIO,
    lake: options.LakeOption = None,
    written: options.Written,
) -> None:
    """Books of several leverages through a scenario of shocks, with guards and without.

    The scenario is a TOML file; config/stress.toml is one that explains every key and runs on the bundled sample.

    Example: carry simulate stress --scenario config/stress.toml
    """
    from data.stress import load_stress
    from research.laboratory.stress_study import books_of, run_stress, stress_payload

    found = load_stress(scenario)
    if lake is not None:
        found = replace(found, market=replace(found.market, lake=str(lake)))
    if not found.market.lake:
        options.note_sample(None)
    books = books_of(found)
    compile_first()
    with console.progress("Running the scenario", 2 * len(books)) as advance:
        result = run_stress(found, advance)
    provenance = options.provenance_of({"scenario": found}, found.seed, None) | {
        "data_hash": result.market.data_hash,
        "synthetic": result.market.synthetic,
        "sources": dict(result.market.sources),
        "settings": {"scenario": scenario.name, "lake": found.market.lake or "bundled sample"},
    }
    payload = stress_payload(result) | {"provenance": provenance}

    def page() -> str:
        from research.laboratory.stress_page import render_stress

        return render_stress(result, provenance)

    options.finish(f"stress-{found.name}", payload, written, page, lambda: _show(result))


def _show(result: Stress) -> None:
    for start, end, words in result.shocks:
        console.out.print(Text(f"{short(start)} to {short(end)}  {words}"), soft_wrap=True)
    show_by_direction(result.directions, result.stories)

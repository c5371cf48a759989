"""``carry simulate stress``: price gap, funding flip, borrow recall, outage and ADL together, from a scenario file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cli import console
from cli import simulate_options as options
from cli.simulate_books import compile_first, short, show_stories

if TYPE_CHECKING:
    from research.laboratory.stress_study import Stress

DEFAULT_SCENARIO = Path(__file__).parents[1] / "config" / "stress.toml"

Scenario = Annotated[Path, typer.Option("--scenario", help="Scenario file; else config/stress.toml.")]


def register(group: typer.Typer) -> None:
    """Add the command to ``carry simulate``."""
    group.command("stress")(stress)


def stress(
    scenario: Scenario = DEFAULT_SCENARIO,
    lake: options.LakeOption = None,
    out: options.Output = Path("results"),
    no_page: options.NoPage = False,
    as_json: console.JsonFlag = False,
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
    page = None
    if not no_page:
        from research.laboratory.stress_page import render_stress

        page = render_stress(result, provenance)
    files = options.write_study(out, f"stress-{found.name}", payload, page)
    console.emit(payload | {"files": files}, as_json, lambda: _show(result, files))


def _show(result: Stress, files: dict[str, str]) -> None:
    for start, end, words in result.shocks:
        console.out.print(Text(f"{short(start)} to {short(end)}  {words}"), soft_wrap=True)
    titles = {1: "carry (long spot, short perp)", -1: "reverse (short spot, long perp)"}
    for direction in result.directions:
        show_stories(titles[direction], [both for both in result.stories if both[0].book.direction == direction])
    for name, path in files.items():
        console.out.print(Text(f"{name:12} {path}"), soft_wrap=True)

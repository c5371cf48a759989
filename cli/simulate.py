"""``carry simulate``: the laboratory. Each command stands in a file of its own."""

from __future__ import annotations

import typer

from cli import simulate_adl, simulate_montecarlo, simulate_replay, simulate_stress


def register(app: typer.Typer) -> None:
    """Add ``carry simulate`` to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Studies of margin, liquidation and auto-deleveraging.")
    for command in (simulate_montecarlo, simulate_adl, simulate_replay, simulate_stress):
        command.register(group)
    app.add_typer(group, name="simulate")

"""``carry lean``: the lake as Lean's data folder, Lean's configuration, and a backtest on Lean."""

from __future__ import annotations

import typer

# Other files of the command group hang their commands on this object when they are imported:
#     from cli.lean import lean_app
#     @lean_app.command("compare")
# and are named in ``cli.app.COMMAND_MODULES`` after this one.
lean_app = typer.Typer(
    no_args_is_help=True,
    help="Run the same strategy on QuantConnect Lean.\n\nExample: carry lean export",
)


def register(app: typer.Typer) -> None:
    """Add ``carry lean`` to the command line."""
    app.add_typer(lean_app, name="lean")

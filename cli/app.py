"""``carry``: the command line. Commands register themselves; errors, interruption and exit codes are handled here."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import console

COMMAND_MODULES = (
    "cli.sample",
    "cli.ingest",
    "cli.data",
    "cli.backtest",
    "cli.calc",
    "cli.simulate",
    "cli.lean",
    "cli.lean_compare",
    "cli.fetch",
    "cli.feed",
    "cli.oracle",
    "cli.funding",
    "cli.venues",
)

HELP = """Backtest spot/perp basis trades with exact two-leg accounting.

Every command explains itself with [bold]--help[/] and prints one JSON object with [bold]--json[/].

Example:  [bold]carry backtest[/]   runs on the bundled sample market.

Exit codes: 0 done, 2 wrong flag, 3 settings, 4 market data, 5 output, 6 refused, 7 insolvent, 70 fault in carry, 130
interrupted.
"""


class CarryGroup(TyperGroup):
    """The root command: turns every error of a command into one message and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note whether JSON was asked for before anything can fail, so that errors come as JSON too."""
        console.set_json("--json" in args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; typer shows usage errors for people, everything else is reported by ``cli.console``."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except typer.TyperException as error:
            if not console.is_json():
                raise
            raise typer.Exit(console.fail(error.format_message(), "see --help", error.exit_code)) from error
        except (Exception, KeyboardInterrupt) as error:
            raise typer.Exit(console.report(error)) from error


def _show_version(asked: bool) -> None:
    if not asked:
        return
    try:
        version = metadata.version("carry")
    except metadata.PackageNotFoundError:
        version = "(not installed, run from its source)"
    console.out.print(f"carry {version}")
    raise typer.Exit


def make_app() -> typer.Typer:
    """A new root command without any subcommand."""
    app = typer.Typer(
        name="carry",
        cls=CarryGroup,
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    return app


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    console.set_json("--json" in arguments)
    with console.remembering_interrupts():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        app = make_app()
        for name in COMMAND_MODULES:  # imported here, so that Ctrl-C is handled while numba and pandas load
            import_module(name).register(app)
            console.stop_when_interrupted()
        app(args=list(arguments), prog_name="carry")
    except SystemExit as finished:
        code = 0 if finished.code is None else int(finished.code)
        if code == console.EXIT_INTERRUPTED and console.was_interrupted():  # typer ends without a word
            code = console.report(KeyboardInterrupt())
    except (Exception, KeyboardInterrupt) as error:
        code = console.report(error)
    else:
        code = 0
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        return console.report(error)
    return code


def main() -> None:
    """Entry point of the console script."""
    code = run(sys.argv[1:])
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # all is done; Ctrl-C while Python shuts down would change the exit code
    sys.exit(code)

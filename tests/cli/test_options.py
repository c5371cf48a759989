"""Groups of options: the flags that a command gets from them, and the values that it is called with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from cli.options import flags_of, flattened


@dataclass(frozen=True)
class Span:
    start: Annotated[str, typer.Option("--from", help="First day.")]
    end: Annotated[str, typer.Option("--to", help="Last day.")] = "today"


@dataclass(frozen=True)
class Files:
    lake: Annotated[Path, typer.Option("--lake", help="Folder.")] = Path("lake")
    names: Annotated[list[str] | None, typer.Option("--name", help="May be given again.")] = None


def runner_of(command: Any) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command()(flattened(command))
    return app


def test_each_field_is_a_flag_and_each_group_arrives_whole() -> None:
    seen: list[Any] = []

    def command(
        *,
        symbol: Annotated[str, typer.Argument(help="Symbol.")],
        dry: Annotated[bool, typer.Option("--dry")] = False,
        span: Span,
        files: Files,
    ) -> None:
        """Does something."""
        seen.append((symbol, dry, span, files))

    app = runner_of(command)
    line = ["BTC", "--from", "2024-01-01", "--name", "a", "--name", "b", "--dry"]
    assert CliRunner().invoke(app, line).exit_code == 0
    assert CliRunner().invoke(app, ["ETH", "--from", "x", "--to", "y", "--lake", "other"]).exit_code == 0
    assert seen == [
        ("BTC", True, Span("2024-01-01", "today"), Files(Path("lake"), ["a", "b"])),
        ("ETH", False, Span("x", "y"), Files(Path("other"), None)),
    ]


def test_a_field_without_default_is_a_required_flag() -> None:
    def command(span: Span) -> None:
        raise AssertionError(span)

    found = CliRunner().invoke(runner_of(command), [])
    assert found.exit_code == 2
    assert "--from" in found.output


def test_help_shows_the_command_and_every_flag() -> None:
    def command(span: Span, files: Files) -> None:
        """Does something."""

    text = CliRunner().invoke(runner_of(command), ["--help"]).output
    assert all(word in text for word in ("Does something.", "--from", "--to", "--lake", "--name", "First day."))


def test_two_flags_of_one_name_are_refused() -> None:
    def command(span: Span, end: Annotated[str, typer.Option("--end")] = "") -> None:
        raise AssertionError(span, end)

    with pytest.raises(TypeError, match="command has two flags named end"):
        flattened(command)


def test_flags_of_a_run_are_recorded_flat() -> None:
    values = {"span": Span("a"), "seed": 3, "json": True}
    assert flags_of(values, leaving_out=frozenset({"json"})) == {"start": "a", "end": "today", "seed": 3}

"""Running the command line inside a test: its exit code and what it printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cli import app


class Outcome(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


Run = Callable[..., Outcome]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run ``carry`` with arguments; what was printed before it does not count."""
    capsys.readouterr()
    code = app.run([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return Outcome(code, printed.out, printed.err)


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What ``carry`` prints with ``--json``; fails when it ends with an error."""
    found = run(capsys, *arguments, "--json")
    assert found.code == 0, found.out
    return found.json


def only_commands(monkeypatch: pytest.MonkeyPatch, folder: Path, *modules: str) -> None:
    """Load the commands under test only, work in ``folder``, and print for a terminal of 160 columns."""
    monkeypatch.setattr(app, "COMMAND_MODULES", modules)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(folder)

"""The command line's common behaviour: one message per error, exit codes, JSON, interruption, progress."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console

from cli import app as app_module
from cli import console
from crypto import errors
from crypto.settings import GracePolicy

ROOT = Path(__file__).resolve().parents[2]

# The exit codes that docs and scripts rely on, written down once more.
EXIT_CODES = {
    errors.CarryError: 1,
    errors.UsageError: 2,
    errors.SettingsError: 3,
    errors.DataError: 4,
    errors.OutputError: 5,
    errors.RefusedError: 6,
    errors.InsolventError: 7,
}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Make ``carry job [--json]`` run the given function, in place of the real commands."""

    def use(body: Callable[[], None]) -> None:
        module = types.ModuleType("cli.job")

        def register(app: typer.Typer) -> None:
            @app.command("job")
            def job(as_json: console.JsonFlag = False) -> None:
                body()

            @app.command("other")
            def other() -> None:
                pass

        module.register = register
        monkeypatch.setitem(sys.modules, "cli.job", module)
        monkeypatch.setattr(app_module, "COMMAND_MODULES", ("cli.job",))

    return use


def failing(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(("kind", "exit_code"), EXIT_CODES.items(), ids=lambda value: getattr(value, "__name__", value))
def test_an_error_is_one_message_on_stderr_and_its_exit_code(command, capsys, kind, exit_code) -> None:
    command(failing(kind("key pairs.0.spot is wrong", remedy="name a spot instrument")))
    assert app_module.run(["job"]) == exit_code
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err == "error: key pairs.0.spot is wrong\nwhat to do: name a spot instrument\n"


def test_with_json_an_error_is_an_object_on_stdout(command, capsys) -> None:
    command(failing(errors.DataError("row 7 is unsorted", remedy="sort it")))
    assert app_module.run(["job", "--json"]) == 4
    streams = capsys.readouterr()
    assert json.loads(streams.out) == {"error": "row 7 is unsorted", "remedy": "sort it", "exit_code": 4}
    assert streams.err == ""


def test_a_message_is_printed_as_it_is_even_where_it_looks_like_markup_or_is_long(command, capsys) -> None:
    message = "no [[pairs]] in [bold]this[/bold] file " + "x" * 300
    command(failing(errors.SettingsError(message)))
    assert app_module.run(["job"]) == 3
    assert capsys.readouterr().err == f"error: {message}\n"


def test_an_interrupted_command_says_so(command, capsys) -> None:
    command(failing(KeyboardInterrupt()))
    assert app_module.run(["job"]) == 130
    assert capsys.readouterr().err.startswith("error: interrupted\n")


def test_an_unexpected_error_is_short_without_debugging(command, capsys, monkeypatch) -> None:
    monkeypatch.delenv("CARRY_DEBUG", raising=False)
    command(failing(ZeroDivisionError("division by zero")))
    assert app_module.run(["job"]) == 70
    message = capsys.readouterr().err
    assert message.startswith("error: internal error, ZeroDivisionError: division by zero\n")
    assert "CARRY_DEBUG=1" in message
    assert "Traceback" not in message


def test_an_unexpected_error_shows_its_traceback_when_debugging(command, capsys, monkeypatch) -> None:
    monkeypatch.setenv("CARRY_DEBUG", "1")
    command(failing(ZeroDivisionError("division by zero")))
    assert app_module.run(["job", "--json"]) == 70
    streams = capsys.readouterr()
    assert "Traceback" in streams.err
    assert json.loads(streams.out)["exit_code"] == 70


def test_a_command_that_can_not_be_imported_is_an_internal_error(capsys, monkeypatch) -> None:
    monkeypatch.setattr(app_module, "COMMAND_MODULES", ("cli.absent_command",))
    assert app_module.run(["job"]) == 70
    assert "ModuleNotFoundError" in capsys.readouterr().err


def test_success_is_zero(command, capsys) -> None:
    command(lambda: console.write_json({"done": True}))
    assert app_module.run(["job", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"done": True}


@pytest.mark.parametrize("arguments", [["jobb"], ["job", "--no-such-flag"], ["job", "surplus"]])
def test_a_wrong_flag_or_command_exits_with_two(command, capsys, arguments) -> None:
    command(lambda: None)
    assert app_module.run(arguments) == 2
    assert "Usage: carry" in capsys.readouterr().err


def test_with_json_a_wrong_flag_is_an_object_too(command, capsys) -> None:
    command(lambda: None)
    assert app_module.run(["job", "--json", "--no-such-flag"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert "--no-such-flag" in found["error"]
    assert found["exit_code"] == 2


def test_version_and_help(command, capsys) -> None:
    command(lambda: None)
    assert app_module.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("carry ")
    assert app_module.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert "job" in text
    assert "Exit codes" in text


ENDLESS = """
import sys, types
from cli import app

def register(root):
    @root.command("job")
    def job():
        while True:
            sys.stdout.write("line\\n" * 1000)

    @root.command("other")
    def other():
        pass

module = types.ModuleType("cli.job")
module.register = register
sys.modules["cli.job"] = module
app.COMMAND_MODULES = ("cli.job",)
sys.exit(app.run(["job"]))
"""


def test_output_into_a_closed_pipe_is_quiet() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"line\n"
    process.stdout.close()
    message = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), message) == (141, b"")


SWALLOWING = """
import ctypes, os, signal, sys, types
from cli import app, console

def callback():
    os.kill(os.getpid(), signal.SIGINT)  # Python handles it in here, where ctypes drops every exception

def register(typer_app):
    @typer_app.command("job")
    def job():
        with console.progress("Working", 2) as advance:
            ctypes.CFUNCTYPE(None)(callback)()
            advance(1)
            print("went on")

    @typer_app.command("other")
    def other():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise AttributeError("partially initialized module") from None

module = types.ModuleType("cli.job")
module.register = register
sys.modules["cli.job"] = module
app.COMMAND_MODULES = ("cli.job",)
sys.exit(app.run(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["job", "other"])
def test_an_interrupt_that_a_library_swallows_or_turns_into_an_error_still_ends_the_command(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWING, name], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    words = "error: interrupted\nwhat to do: nothing half-written was left; run the same command again\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", words)


def test_an_ignored_interrupt_stays_ignored_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert before is signal.default_int_handler
    with console.remembering_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell script
    try:
        with console.remembering_interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_python_dash_m_cli_is_carry() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split(" ")[0], done.stderr) == (0, "carry", "")


# --- results ------------------------------------------------------------------------------------------------------


def test_emit_prints_json_or_calls_the_human_form(capsys) -> None:
    def for_people() -> None:
        console.out.print("people")

    console.emit({"a": 1}, as_json=True, human=for_people)
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    console.emit({"a": 1}, as_json=False, human=for_people)
    assert capsys.readouterr().out == "people\n"


def test_json_has_plain_values_only(capsys) -> None:
    console.write_json(
        {
            "none": np.float64("nan"),
            "infinite": float("inf"),
            "count": np.int64(3),
            "array": np.array([1.5, np.nan]),
            "decimal": Decimal("0.10"),
            "path": Path("a/b"),
            "word": GracePolicy.ADVERSE,
            "tuple": (1, True, None),
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "none": None,
        "infinite": None,
        "count": 3,
        "array": [1.5, None],
        "decimal": "0.10",
        "path": f"a{os.sep}b",
        "word": "adverse",
        "tuple": [1, True, None],
    }


def test_a_value_without_a_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="a object has no JSON form"):
        console.write_json({"x": object()})


# --- progress -----------------------------------------------------------------------------------------------------


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, as_json: bool = False, seconds: float = 0.2) -> str:
    screen = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=terminal, width=100))
    monkeypatch.setattr(console, "SECONDS_BEFORE_BAR", 0.05)
    console.set_json(as_json)
    try:
        with console.progress("Reading bars", total=4) as advance:
            advance()
            time.sleep(seconds)
            advance(2)
    finally:
        console.set_json(False)
    return screen.getvalue()


def test_a_long_job_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True)
    assert "Reading bars" in text
    assert "3/4" in text


def test_a_short_job_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Reading" not in shown(monkeypatch, terminal=True, seconds=0.0)


def test_no_bar_without_a_terminal_or_with_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, terminal=False) == ""
    assert "Reading" not in shown(monkeypatch, terminal=True, as_json=True)


def test_the_bar_goes_away_when_the_job_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "err", Console(file=io.StringIO(), force_terminal=True))
    monkeypatch.setattr(console, "SECONDS_BEFORE_BAR", 0.0)

    def job() -> None:
        with console.progress("Reading"):
            time.sleep(0.05)
            raise errors.DataError("broken")

    with pytest.raises(errors.DataError):
        job()
    assert console.err._live_stack == []


def test_a_table_whose_reader_went_away_ends_as_json_does() -> None:
    """rich ends with exit code 1 of its own; README says 141."""
    root = Path(__file__).parents[2]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as out:
        venues = [sys.executable, "-m", "cli", "venues"]
        ended = subprocess.run(venues, cwd=root, stdout=out, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (141, b"")

"""What every command shares: results on stdout, messages and progress on stderr, errors as exit codes.

stdout carries nothing but the result, so that ``--json`` output can be piped; everything else goes to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import FrameType
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from crypto.errors import CarryError

EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
SECONDS_BEFORE_BAR = 2.0

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, for scripts.")]


class _Console(Console):
    """rich's console, but a reader that went away is an error like any other: rich's own ends with exit code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)

_is_json: ContextVar[bool] = ContextVar("is_json", default=False)
_interrupted = threading.Event()


def set_json(value: bool) -> None:
    """Say once, before a command runs, whether it was asked for JSON."""
    _is_json.set(value)


def is_json() -> bool:
    """Whether the command that runs was asked for JSON."""
    return _is_json.get()


def emit(payload: Mapping[str, Any], as_json: bool, human: Callable[[], None]) -> None:
    """The result of a command: ``payload`` as JSON on stdout, or ``human()`` which prints it for people."""
    if as_json:
        write_json(payload)
    else:
        human()


def write_json(payload: Mapping[str, Any]) -> None:
    """One JSON object on stdout. Numbers that are not finite become null, which JSON has instead."""
    sys.stdout.write(json.dumps(_plain(payload), indent=2, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _plain_single(value)


def _plain_single(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal | PurePath):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def note(message: str) -> None:
    """A message for people on stderr, as it is: no markup, no wrapping."""
    err.print(Text(message), soft_wrap=True)


def show_files(files: Mapping[str, object]) -> None:
    """Where each file that was written lies, a line for each; paths are not wrapped, so that they can be copied."""
    for name, path in files.items():
        out.print(Text(f"{name:12} {path}"), soft_wrap=True)


def fail(error: str, remedy: str, exit_code: int) -> int:
    """Report an error once, on stderr or with ``--json`` as an object on stdout; returns the exit code."""
    if is_json():
        write_json({"error": error, "remedy": remedy, "exit_code": exit_code})
        return exit_code
    err.print(Text.assemble(("error: ", "bold red"), error), soft_wrap=True)
    if remedy:
        err.print(Text.assemble(("what to do: ", "bold"), remedy), soft_wrap=True)
    return exit_code


@contextmanager
def remembering_interrupts() -> Iterator[None]:
    """Remember Ctrl-C, which libraries may swallow in a callback or turn into an error of a half-done import.

    Changes nothing outside the main thread, or where Ctrl-C is ignored or handled by somebody else.
    """
    _interrupted.clear()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    show_unraisable = sys.unraisablehook

    def hide_interrupts(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            show_unraisable(unraisable)

    signal.signal(signal.SIGINT, _remember_interrupt)
    sys.unraisablehook = hide_interrupts
    try:
        yield
    finally:
        sys.unraisablehook = show_unraisable
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _remember_interrupt(_: int, __: FrameType | None) -> None:
    _interrupted.set()
    raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Whether Ctrl-C was pressed and not reported yet."""
    return _interrupted.is_set()


def stop_when_interrupted() -> None:
    """Raise ``KeyboardInterrupt`` when a library swallowed the one that Ctrl-C raised."""
    if was_interrupted():
        raise KeyboardInterrupt


def report(error: BaseException) -> int:
    """Turn what ended a command into one message and an exit code."""
    if isinstance(error, KeyboardInterrupt) or was_interrupted():
        _interrupted.clear()
        return fail("interrupted", "nothing half-written was left; run the same command again", EXIT_INTERRUPTED)
    if isinstance(error, CarryError):
        return fail(error.message, error.remedy, error.exit_code)
    if isinstance(error, BrokenPipeError):
        close_stdout()
        return EXIT_BROKEN_PIPE
    if os.environ.get("CARRY_DEBUG") == "1":
        traceback.print_exception(error, file=sys.stderr)
    return fail(
        f"internal error, {type(error).__name__}: {error}",
        "this is a fault in carry; run again with CARRY_DEBUG=1 to see where, and report that",
        EXIT_INTERNAL,
    )


def close_stdout() -> None:
    """Whoever read our output is gone: let the interpreter flush the rest into nothing when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _advance(bar: Progress, task: TaskID, steps: float = 1) -> None:
    stop_when_interrupted()
    bar.advance(task, steps)


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Callable[..., None]]:
    """A bar with the time left, on stderr, when the work takes longer than two seconds and stderr is a terminal.

    Yields ``advance(steps=1)``. ``total``: the number of steps, None when it isn't known. Never shown with ``--json``.
    A Ctrl-C that a library swallowed takes effect at the next step, or at the end of the work.
    """
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task(description, total=total)
    timer = threading.Timer(SECONDS_BEFORE_BAR, bar.start)
    timer.daemon = True
    if err.is_terminal and not is_json():
        timer.start()
    try:
        yield partial(_advance, bar, task)
        stop_when_interrupted()
    finally:
        timer.cancel()
        if timer.ident is not None:
            timer.join()
        if bar.live.is_started:
            bar.stop()

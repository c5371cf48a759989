"""Runs one backtest on Lean in a process of its own: watches its console, stops it on Ctrl-C, judges how it ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crypto.errors import OutputError, RefusedError, UsageError
from data.lean_config import CONFIG_NAME, LeanJob, launcher_config, write_config
from data.lean_engine import DLL, PYTHON_VARIABLE, CommandLine, Launcher
from data.lean_log import LeanLog

CONSOLE_NAME = "console.log"
LEAN_JSON = "lean.json"
COMPLETED = "Completed"
_SUMMARY = "-summary.json"
_SECONDS_TO_STOP = 20.0


@dataclass(frozen=True, slots=True)
class LeanRun:
    """A finished backtest: ``results`` is the folder with Lean's files, ``job_id`` the name that they begin with."""

    results: Path
    job_id: str
    engine: str
    version: str
    seconds: float | None
    data_points: int | None
    orders: int
    errors: tuple[str, ...]


def run_backtest(
    engine: Launcher | CommandLine,
    job: LeanJob,
    results: Path,
    environment: Mapping[str, str],
    on_line: Callable[[LeanLog], None] = lambda _: None,
) -> LeanRun:
    """Run ``job`` and leave Lean's files in ``results``, a folder that is not there yet.

    ``on_line`` is called after each line of the console. On Ctrl-C Lean is asked to stop, then made to, and nothing is
    left. ``RefusedError`` when Lean ended with an error; its files and console are then in ``results`` as well.
    """
    part = results.with_name(f".{results.name}.part")
    _make_folder(results, part)
    log = LeanLog()
    try:
        command, directory, variables = _prepare(engine, job, part, environment)
        code = _watch(command, directory, variables, part / CONSOLE_NAME, log, on_line)
        _move_paths(part, results)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return _judged(engine, results, code, log)


def _make_folder(results: Path, part: Path) -> None:
    if results.exists():
        raise OutputError(f"{results} is there already", remedy="name another folder with --out")
    try:
        shutil.rmtree(part, ignore_errors=True)  # left by a run that was killed
        part.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"cannot make {part}: {error.strerror}", remedy="name another folder with --out") from error


def _prepare(
    engine: Launcher | CommandLine, job: LeanJob, part: Path, environment: Mapping[str, str]
) -> tuple[list[str], Path, dict[str, str]]:
    """Command line, working directory and environment variables of the process."""
    if isinstance(engine, Launcher):
        write_config(part / CONFIG_NAME, launcher_config(job, part, engine.folder, engine.python_venv))
        command = [str(engine.dotnet), str(engine.folder / DLL), "--config", str((part / CONFIG_NAME).resolve())]
        return command, part, {**environment, PYTHON_VARIABLE: str(engine.python_library)}
    _check_lean_json(job)
    command = [str(engine.program), "backtest", str(job.project), "--output", str(part.resolve())]
    command += ["--backtest-name", job.job_id, "--extra-config", "algorithm-id", str(job.seed)]
    for name, value in job.parameters.items():
        command += ["--parameter", name, value]
    return command, job.project, dict(environment)


def _check_lean_json(job: LeanJob) -> None:
    """The command line mounts the data folder that ``lean.json`` names and no other."""
    path = job.project / LEAN_JSON
    try:
        folder = json.loads(path.read_text(encoding="utf-8"))["data-folder"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} does not name a data folder: {error}", remedy="take lean.json of the repository"
        ) from error
    if (job.project / folder).resolve() != job.data_folder:
        raise UsageError(
            f"--data {job.data_folder} is not the data-folder of {path} ({folder})",
            remedy="the lean command line can use that one only: export there, or change lean.json",
        )


def _watch(
    command: list[str],
    directory: Path,
    variables: Mapping[str, str],
    console: Path,
    log: LeanLog,
    on_line: Callable[[LeanLog], None],
) -> int:
    """Exit code of the process; every line goes to the console file and into ``log``."""
    # In a session of its own, so that Ctrl-C in a terminal reaches us alone and we decide how Lean ends.
    process = subprocess.Popen(  # noqa: S603 - the program that the user named
        command,
        cwd=directory,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        with console.open("w", encoding="utf-8") as copy:
            for line in _lines(process):
                copy.write(line)
                log.read(line)
                on_line(log)
        return process.wait()
    except BaseException:
        _stop(process)
        raise


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Lines of its console as they come, until it closes it."""
    if process.stdout is not None:
        with process.stdout as lines:
            yield from lines


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask, then insist. Lean shuts down by itself on an interrupt."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_SECONDS_TO_STOP)
            break
    with suppress(ProcessLookupError):  # children that outlived their parent
        os.killpg(process.pid, signal.SIGKILL)


def _move_paths(part: Path, results: Path) -> None:
    part.rename(results)
    config = results / CONFIG_NAME
    if config.is_file():  # so that the file can be used again as it stands
        text = config.read_text(encoding="utf-8")
        write_config(config, json.loads(text.replace(str(part.resolve()), str(results.resolve()))))


def _judged(engine: Launcher | CommandLine, results: Path, code: int, log: LeanLog) -> LeanRun:
    """The run as a value, or the reason why it does not count.

    Lean ends with 0 after many a failure (lean-measured.md L), so its files decide as well.
    """
    summaries = sorted(results.glob(f"*{_SUMMARY}"))
    state = _state(summaries[0]) if len(summaries) == 1 else {}
    status = state.get("Status", "")
    if code != 0 or status != COMPLETED:
        why = state.get("RuntimeError") or (log.errors[-1] if log.errors else f"no result file in {results}")
        raise RefusedError(
            f"Lean ended with {status or 'no result'} (exit code {code}): {why.splitlines()[0]}",
            remedy=f"its whole console is in {results / CONSOLE_NAME}",
        )
    name = "launcher" if isinstance(engine, Launcher) else "command line"
    return LeanRun(
        results=results,
        job_id=summaries[0].name.removesuffix(_SUMMARY),
        engine=name,
        version=log.version or engine.version,
        seconds=log.seconds,
        data_points=log.data_points,
        orders=int(state.get("OrderCount") or 0),
        errors=tuple(log.errors),
    )


def _state(summary: Path) -> dict[str, str]:
    """What a result says about how its run ended; empty when it cannot be read."""
    try:
        state = json.loads(summary.read_text(encoding="utf-8-sig"))["state"]
        return {str(name): str(value) for name, value in state.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}

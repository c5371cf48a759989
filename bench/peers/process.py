"""Runs a peer's script in the peers' interpreter and reads its answer."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PYTHON_VARIABLE = "CARRY_BENCH_PEERS_PYTHON"
SCRIPTS = Path(__file__).parent


class PeerError(Exception):
    """A peer could not be run; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a script wrote, and the seconds of its whole process: on the wall and of processor time."""

    values: dict[str, Any]
    wall: float
    cpu: float


def default_python() -> str:
    """Interpreter that has the peers: ``CARRY_BENCH_PEERS_PYTHON``, or this one."""
    return os.environ.get(PYTHON_VARIABLE, "") or sys.executable


def require(python: str, package: str) -> None:
    """Raise ``PeerError`` unless the interpreter can import the package."""
    remedy = f"install it there, or name an interpreter that has it with --peers-python or {PYTHON_VARIABLE}"
    try:
        done = subprocess.run([python, "-P", "-c", f"import {package}"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerError(f"the peers' interpreter {python!r} can't be started ({error}); {remedy}") from error
    if done.returncode != 0:
        raise PeerError(f"{python} can't import {package}: {_last_line(done.stderr)}; {remedy}")


def run_script(command: Sequence[str], *, environment: dict[str, str] | None = None) -> Answer:
    """Run ``command --out FILE`` to its end and return the JSON object that it wrote; ``PeerError`` when it fails."""
    with tempfile.TemporaryDirectory(prefix="carry-bench-") as folder:
        out = Path(folder) / "answer.json"
        start, cpu = time.perf_counter(), _children_seconds()
        done = subprocess.run(
            [*command, "--out", str(out)], capture_output=True, text=True, check=False, env=environment
        )
        wall, cpu = time.perf_counter() - start, _children_seconds() - cpu
        if done.returncode != 0:
            raise PeerError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        values: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return Answer(values, wall, cpu)


def nautilus(python: str, bars: Path, *, check: bool = False) -> Answer:
    """Run nautilus_trader over the bars of an .npz file."""
    options = ["--check"] if check else []
    return run_script([python, "-P", str(SCRIPTS / "nautilus_bars.py"), str(bars), *options])


def backtrader(python: str, files: Sequence[Path], decimals: Sequence[int], *, check: bool = False) -> Answer:
    """Run backtrader over the bars of feather files."""
    options = ["--decimals", ",".join(str(number) for number in decimals), *(["--check"] if check else [])]
    return run_script([python, "-P", str(SCRIPTS / "backtrader_bars.py"), *(str(file) for file in files), *options])


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"

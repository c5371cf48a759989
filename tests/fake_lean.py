"""A stand-in for Lean's launcher and command line: prints what Lean prints and writes the files that Lean writes.

Lines and file names are those of a real run (lean-traces/synthetic/lean-result, lean.md 7). Which ending it plays is in
FAKE_LEAN of its environment. It holds no engine: it drives the tests of the runner.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path

DLL = "QuantConnect.Lean.Launcher.dll"
_STAMP = "20260101 00:00:00.000"


def make_launcher(folder: Path, version: str = "2.5.0.0", framework: str = "net10.0") -> Path:
    """A folder with the files that a launcher is known by."""
    folder.mkdir(parents=True)
    (folder / DLL).write_bytes(b"MZ")
    name, text = "Assembly Version".encode("utf-16-le"), version.encode("utf-16-le")
    (folder / "QuantConnect.Common.dll").write_bytes(b"MZ\0" + name + b"\0\0\0\0" + text + b"\0\0")
    runtime = {"runtimeOptions": {"tfm": framework}}
    (folder / "QuantConnect.Lean.Launcher.runtimeconfig.json").write_text(json.dumps(runtime))
    (folder / "AlgorithmImports.py").write_text("")
    return folder


def make_venv(folder: Path, *packages: str) -> Path:
    """A Python environment that has these packages, as far as their folders go."""
    for name in packages or ("numba", "numpy", "pandas", "pyarrow", "wrapt"):
        (folder / "lib" / "python3.11" / "site-packages" / name).mkdir(parents=True)
    return folder


def make_program(path: Path, verb: str) -> Path:
    """An executable that plays this file: ``dotnet``, ``lean`` or ``docker``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__)}" {verb} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _dotnet(arguments: list[str]) -> int:
    config = json.loads(Path(arguments[arguments.index("--config") + 1]).read_text())
    Path(config["results-destination-folder"], "seen.json").write_text(
        json.dumps({"directory": str(Path.cwd()), "library": os.environ["PYTHONNET_PYDLL"], "dll": arguments[0]})
    )
    return _play(Path(config["results-destination-folder"]), config["algorithm-id"], config["parameters"])


def _lean(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        sys.stdout.write("lean 1.0.230\n")
        return 0
    given = dict(zip(arguments[2::2], arguments[3::2], strict=False))
    parameters = {
        arguments[place + 1]: arguments[place + 2] for place, word in enumerate(arguments) if word == "--parameter"
    }
    job = arguments[arguments.index("algorithm-id") + 1]
    return _play(Path(given["--output"]), job, parameters)


def _play(results: Path, job: str, parameters: dict[str, str]) -> int:
    ending = os.environ.get("FAKE_LEAN", "completed")
    _say("TRACE:: Engine.Main(): LEAN ALGORITHMIC TRADING ENGINE v2.5.0.0 Mode: RELEASE (64bit) Host: vm")
    _say(f"TRACE:: Log: parameters {json.dumps(parameters)}")
    _say('TRACE:: Log: CARRY-FLOW {"kind":"funding","instrument":"x","time_ms":1704153600000,"amount":1.5}')
    _say("TRACE:: Debug: closed the pair on 2024-01-03")
    if ending == "waits":
        _wait(results)
    if ending == "runtime error":
        _say("ERROR:: During the algorithm initialization, the following exception has occurred: no such key")
        _write(results, job, "RuntimeError", "no such key\n at main.py:12")
        return 1
    if ending == "dies":
        _say("ERROR:: Engine.Run(): out of memory")
        return 134
    done = f"Algorithm Id:({job}) completed in 1.25 seconds at 2k data points per second."
    _say(f"TRACE:: Debug: {done} Processing total of 12,468 data points.")
    if ending != "no result":
        _write(results, job, "RuntimeError" if ending == "bankrupt" else "Completed", "")
    _say("TRACE:: Program.Main(): Exiting Lean...")
    return 0


def _wait(results: Path) -> None:
    (results / "waiting").write_text(str(os.getpid()))
    os.kill(int(os.environ["FAKE_LEAN_PARENT"]), 2)
    time.sleep(60)


def _say(text: str) -> None:
    sys.stdout.write(f"{_STAMP} {text}\n")
    sys.stdout.flush()


def _write(results: Path, job: str, status: str, error: str) -> None:
    state = {"Status": status, "RuntimeError": error, "OrderCount": "4"}
    (results / f"{job}-summary.json").write_text(json.dumps({"state": state}))
    (results / f"{job}.json").write_text("{}")


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    sys.exit(
        {"dotnet": _dotnet, "lean": _lean, "docker": lambda _: int(os.environ.get("FAKE_DOCKER", "0"))}[verb](rest)
    )

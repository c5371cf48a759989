"""Finding a Lean to run: a launcher folder with .NET, or the ``lean`` command line with Docker; and its version."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crypto.errors import RefusedError, UsageError

LAUNCHER_VARIABLE = "CARRY_LEAN_LAUNCHER"
PYTHON_VARIABLE = "PYTHONNET_PYDLL"
DLL = "QuantConnect.Lean.Launcher.dll"
# What the adapter's facts were measured on (lean-measured.md): assembly version and .NET of Lean 24863901.
VERSION = "2.5"
FRAMEWORK = "net10.0"
PYTHON = "3.11"
_NEEDED_FILES = (DLL, "QuantConnect.Lean.Launcher.runtimeconfig.json", "QuantConnect.Common.dll", "AlgorithmImports.py")
# Lean's own PandasMapper imports pandas and wrapt, main.py the rest.
_NEEDED_PACKAGES = ("numba", "numpy", "pandas", "pyarrow", "wrapt")
_SECONDS_FOR_A_QUESTION = 30


@dataclass(frozen=True, slots=True)
class Launcher:
    """A local Lean. ``python_library``: libpython for .NET; ``python_venv``: environment with our packages, if any."""

    folder: Path
    dotnet: Path
    version: str
    framework: str
    python_library: Path
    python_venv: Path | None


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The ``lean`` command line with a Docker that answers."""

    program: Path
    version: str


def find_engine(
    launcher: Path | None, python_venv: Path | None, environment: Mapping[str, str], *, any_version: bool = False
) -> Launcher | CommandLine:
    """A launcher folder that is named (flag, else ``CARRY_LEAN_LAUNCHER``), else the ``lean`` command line.

    ``RefusedError`` says what is missing and what to do about it, also for a version that the adapter was not measured
    on, unless ``any_version``. ``UsageError`` when the named folder holds no launcher.
    """
    folder = launcher or (Path(environment[LAUNCHER_VARIABLE]) if environment.get(LAUNCHER_VARIABLE) else None)
    if folder is not None:
        return _launcher(folder, python_venv, environment, any_version=any_version)
    program = shutil.which("lean", path=environment.get("PATH"))
    if program is None:
        raise RefusedError(
            "no Lean was found: neither a launcher folder nor the lean command line",
            remedy=f"pass --launcher or set {LAUNCHER_VARIABLE} to the folder that holds {DLL}, "
            "or install the command line (pip install lean) and Docker; docs/runbooks/lean.md has both",
        )
    return _command_line(Path(program), environment)


def _launcher(folder: Path, python_venv: Path | None, environment: Mapping[str, str], *, any_version: bool) -> Launcher:
    missing = [name for name in _NEEDED_FILES if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"{folder} is not a folder of Lean's launcher: it has no {', '.join(missing)}",
            remedy="name the folder that Lean was built into, for example Launcher/bin/Release",
        )
    version, framework = _assembly_version(folder / "QuantConnect.Common.dll"), _framework(folder)
    if not any_version:
        _check_version(folder, version, framework)
    dotnet = shutil.which("dotnet", path=environment.get("PATH"))
    if dotnet is None:
        raise RefusedError(
            "Lean's launcher needs dotnet, which is not on the PATH",
            remedy=f"install the .NET runtime that the launcher was built for ({framework or FRAMEWORK})",
        )
    venv = python_venv or (Path(sys.prefix) if sys.prefix != sys.base_prefix else None)
    if venv is not None:
        _check_packages(venv)
    return Launcher(folder.resolve(), Path(dotnet), version, framework, _python_library(environment), venv)


def _check_version(folder: Path, version: str, framework: str) -> None:
    wrong = ""
    if not version:
        wrong = "its version cannot be read"
    elif not version.startswith(f"{VERSION}."):
        wrong = f"it is version {version}"
    elif framework != FRAMEWORK:
        wrong = f"it is built for {framework or 'an unknown .NET'}"
    if wrong:
        raise RefusedError(
            f"the Lean in {folder} is not one that the adapter was measured on: {wrong}",
            remedy=f"use version {VERSION} for {FRAMEWORK} (commit 24863901), or pass --any-lean-version to try",
        )


def _assembly_version(dll: Path) -> str:
    """Version in the resources of a .NET file, where it stands as text of 16-bit letters; empty when it does not."""
    content = dll.read_bytes()
    name = "Assembly Version".encode("utf-16-le")
    found = content.rfind(name)
    if found < 0:
        return ""
    text = content[found + len(name) : found + len(name) + 64].decode("utf-16-le", "replace")
    match = re.search(r"\d+(\.\d+)+", text)
    return match.group() if match else ""


def _framework(folder: Path) -> str:
    """Target framework in the runtime configuration; empty when it cannot be read."""
    try:
        document = json.loads((folder / _NEEDED_FILES[1]).read_text(encoding="utf-8-sig"))
        return str(document["runtimeOptions"]["tfm"])
    except (ValueError, KeyError, TypeError):
        return ""


def _python_library(environment: Mapping[str, str]) -> Path:
    """Python's library that .NET loads: the one that is set, else that of the interpreter that runs this program."""
    given = environment.get(PYTHON_VARIABLE)
    names = [sysconfig.get_config_var("LDLIBRARY"), sysconfig.get_config_var("INSTSONAME")]
    folder = Path(sysconfig.get_config_var("LIBDIR") or "")
    candidates = [Path(given)] if given else [folder / name for name in names if name and not name.endswith(".a")]
    for path in candidates:
        if path.is_file():
            return path
    if given:
        raise RefusedError(
            f"{PYTHON_VARIABLE} is {given}, which does not exist", remedy=f"set it to libpython{PYTHON} of your Python"
        )
    raise RefusedError(
        "this Python has no shared library, which Lean loads",
        remedy=f"set {PYTHON_VARIABLE} to a libpython{PYTHON}.so; a Python built with --enable-shared has one",
    )


def _check_packages(venv: Path) -> None:
    folder = venv / "lib" / f"python{PYTHON}" / "site-packages"
    missing = [name for name in _NEEDED_PACKAGES if not (folder / name).is_dir()]
    if missing:
        raise RefusedError(
            f"the Python environment {venv} lacks {', '.join(missing)}, which Lean and main.py import",
            remedy="install them there with pip, or name another environment with --python-venv",
        )


def _command_line(program: Path, environment: Mapping[str, str]) -> CommandLine:
    version = re.search(r"\d+(\.\d+)+", _answer([str(program), "--version"], environment) or "")
    if version is None:
        raise RefusedError(f"{program} does not tell its version", remedy="install it again: pip install lean")
    docker = shutil.which("docker", path=environment.get("PATH"))
    if docker is None or _answer([docker, "info"], environment) is None:
        reason = "is not installed" if docker is None else "does not answer"
        raise RefusedError(
            f"the lean command line runs its engine in Docker, which {reason}",
            remedy=f"start Docker, or name a launcher folder with --launcher or {LAUNCHER_VARIABLE}",
        )
    return CommandLine(program, version.group())


def _answer(command: list[str], environment: Mapping[str, str]) -> str | None:
    """What a program prints; None when it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - a program of the user's own, with fixed arguments
            command,
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS_FOR_A_QUESTION,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout + done.stderr if done.returncode == 0 else None

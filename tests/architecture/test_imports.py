"""The arrows between packages: reads every file's imports and fails on a wrong one.

cli -> research, data, crypto; research -> data, crypto; data -> crypto; crypto -> nothing of ours.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Which of our packages a package may import.
ARROWS = {
    "crypto": {"crypto"},
    "data": {"crypto", "data"},
    "research": {"crypto", "data", "research"},
    "cli": {"crypto", "data", "research", "cli"},
    "models": {"crypto", "models"},
    "main": {"crypto", "data", "models"},
    "bench": {"crypto", "data", "research", "models", "bench", "tests"},  # tests: only the double of Lean
    "tests": {"crypto", "data", "research", "cli", "models", "main", "bench", "tests"},
}
OURS = set(ARROWS)

# The core is pure: no files, processes, sockets, threads, clocks, environment or chance of its own.
IMPURE = {
    "asyncio", "concurrent", "ctypes", "fileinput", "ftplib", "getpass", "glob", "gzip", "http", "importlib", "io",
    "linecache", "locale", "logging", "lzma", "bz2", "mmap", "multiprocessing", "os", "pathlib", "pickle", "platform",
    "queue", "random", "sched", "secrets", "select", "selectors", "shelve", "shutil", "signal", "smtplib", "socket",
    "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "zipfile",
    "tarfile", "csv", "configparser", "tomllib",
}  # fmt: skip
# The module that starts the compiler finds the machine code of its own package, and nothing else, on disk.
EXCEPTIONS = {"crypto/compiled.py": {"numba", "os", "pathlib"}}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}
CLOCK_METHODS = {"now", "today", "utcnow"}

# Libraries that only some places may import, by first part of the dotted name.
ONLY_IN = {
    "ccxt": ("data/", "bench/", "tests/"),
    "websockets": ("data/", "bench/", "tests/"),  # tests and benchmarks need servers
    "aiohttp": ("data/", "tests/"),
    "requests": ("data/",),
    "AlgorithmImports": ("models/", "main.py", "tests/lean/"),
    "QuantConnect": ("models/", "main.py"),
    "numba": ("crypto/compiled.py", "bench/", "tests/"),
    "typer": ("cli/", "tests/"),
    "rich": ("cli/", "bench/", "tests/"),
}


def imports_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that is imported, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")
        elif _is_dynamic_import(node):
            assert isinstance(node, ast.Call)
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def _is_dynamic_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__")


def wrong_arrows(path: str, source: str) -> list[str]:
    """What the file at ``path`` (relative to the repository, with slashes) imports or calls and may not."""
    tree = ast.parse(source)
    package = path.split("/", maxsplit=1)[0].removesuffix(".py")
    found = []
    for line, name in imports_of(tree):
        top = name.split(".")[0]
        reason = _why_not(path, package, name, top)
        if reason:
            found.append(f"{path}:{line} imports {name}: {reason}")
    if package == "crypto":
        found += [f"{path}:{line} calls {name}: crypto is pure" for line, name in _impure_calls(tree)]
    return found


def _why_not(path: str, package: str, name: str, top: str) -> str:
    if name.startswith("."):
        return "imports are absolute"
    if top in OURS:
        return "" if top in ARROWS[package] else f"{package} may import {', '.join(sorted(ARROWS[package]))} only"
    if top in ONLY_IN and not path.startswith(ONLY_IN[top]):
        return f"{top} belongs in {', '.join(ONLY_IN[top])}"
    if package == "crypto":
        return _why_not_in_core(path, top)
    return ""


def _why_not_in_core(path: str, top: str) -> str:
    if top in EXCEPTIONS.get(path, set()):
        return ""
    if top in IMPURE:
        return "crypto is pure"
    is_known = top in sys.stdlib_module_names or top == "numpy"
    return "" if is_known else "crypto knows the standard library and numpy only"


def _impure_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield node.lineno, node.func.id
        elif isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_METHODS:
            yield node.lineno, ast.unparse(node.func)


def python_files() -> list[str]:
    files = [path for top in sorted(OURS) for path in sorted((ROOT / top).rglob("*.py"))]
    files += [path for path in [ROOT / "main.py"] if path.is_file()]
    return [path.relative_to(ROOT).as_posix() for path in files if ".venv" not in path.parts]


def test_every_import_follows_the_arrows() -> None:
    files = python_files()
    assert {"crypto/errors.py", "cli/app.py", "data/settings.py"} <= set(files)
    wrong = [problem for path in files for problem in wrong_arrows(path, (ROOT / path).read_text(encoding="utf-8"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("crypto/funding.py", "from data.store import lake"),
        ("crypto/funding.py", "import data.settings"),
        ("crypto/funding.py", "def f():\n    import research"),
        ("crypto/funding.py", "from . import basis"),
        ("crypto/funding.py", "import pandas as pd"),
        ("crypto/funding.py", "import numba"),
        ("crypto/funding.py", "import os.path"),
        ("crypto/funding.py", "from pathlib import Path"),
        ("crypto/funding.py", "import time"),
        ("crypto/funding.py", "import socket"),
        ("crypto/funding.py", "import random"),
        ("crypto/compiled.py", "import socket"),
        ("crypto/funding.py", "from datetime import datetime\nx = datetime.now()"),
        ("crypto/funding.py", "x = open('a')"),
        ("crypto/funding.py", "print('a')"),
        ("data/settings.py", "from research import report"),
        ("data/settings.py", "import cli.app"),
        ("data/settings.py", "import typer"),
        ("research/report/page.py", "from cli import console"),
        ("research/report/page.py", "import numba"),
        ("research/report/page.py", "import ccxt"),
        ("bench/run.py", "from importlib import import_module\nimport_module('cli.app')"),
        ("cli/app.py", "import AlgorithmImports"),
        ("cli/app.py", "import websockets"),
        ("models/fees.py", "from data import settings"),
        ("main.py", "import cli"),
    ],
)
def test_a_wrong_arrow_is_caught(path: str, source: str) -> None:
    (problem,) = wrong_arrows(path, source)
    assert problem.startswith(f"{path}:")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("crypto/compiled.py", "import numba\nimport numpy as np"),
        ("crypto/funding.py", "import math\nfrom crypto.compiled import jit\nfrom datetime import datetime"),
        ("data/sources/rest.py", "import ccxt\nimport pathlib\nfrom crypto import funding"),
        ("research/report/page.py", "import plotly\nfrom data import settings"),
        ("cli/app.py", "import typer\nfrom research import report"),
        ("models/fees.py", "from AlgorithmImports import *\nfrom crypto import fees"),
        ("main.py", "from AlgorithmImports import *\nfrom models import fees"),
        ("tests/cli/test_app.py", "from cli import app"),
    ],
)
def test_a_right_arrow_is_not_caught(path: str, source: str) -> None:
    assert wrong_arrows(path, source) == []


def test_benchmarks_load_where_the_test_tools_are_not_installed() -> None:
    """``make bench`` has the runtime's packages only, and some items drive code of the tests."""
    names = sorted(f"bench.{path.stem}" for path in (ROOT / "bench").glob("*.py") if path.stem != "__main__")
    assert "bench.lean_crossings" in names
    script = f"import sys, importlib; sys.modules['pytest'] = None; [importlib.import_module(n) for n in {names}]"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

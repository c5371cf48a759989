"""The one place where numba is imported.

``@kernel`` marks formulas and decisions: called from Python they are the plain Python functions that one reads, on
floats, Fractions or arrays; called from compiled code they are compiled into it. ``@jit`` marks the few loops that
Python enters compiled. With ``NUMBA_DISABLE_JIT=1`` in the environment these run as plain Python too; a test holds the
two forms to the same bits. ``fastmath`` stays off so that they do. Neither may create arrays: numba's reference
counting is off in both, because counting the references of twenty arrays costs more than most functions here do.

numba's cache notices a change of the file that a function stands in, not of the functions it calls. So the cache lives
in a folder named by a hash of all sources of this package; machine code of other sources is never picked up.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba
import numba.extending

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE = Path(__file__).parent


def source_hash() -> str:
    """Hash over every source file of the package, in path order."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(str(path.relative_to(_PACKAGE)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(_PACKAGE / "__pycache__" / f"compiled-{source_hash()}")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` on first call, from Python or from compiled code, and keep the machine code on disk."""
    return cast("Callable[P, R]", numba.njit(cache=True, error_model="numpy", _nrt=False)(function))


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Let compiled code compile ``function`` into itself; for Python it stays the plain function."""
    return cast("Callable[P, R]", numba.extending.register_jitable(error_model="numpy", _nrt=False)(function))


def is_enabled() -> bool:
    """Whether loops marked ``@jit`` are compiled in this process."""
    return not bool(numba.config.DISABLE_JIT)


def is_compiled(function: Callable[P, R]) -> bool:
    """Whether machine code of ``function`` is at hand in the cache, so that its first call does not have to compile."""
    if not is_enabled():
        return True
    folder = Path(numba.config.CACHE_DIR)
    return folder.is_dir() and any(folder.rglob(f"*.{function.__name__}-*.nbi"))

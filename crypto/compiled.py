"""The one place where numba is imported.

Functions marked ``@jit`` are ordinary Python on floats, integers, tuples and numpy arrays. With ``NUMBA_DISABLE_JIT=1``
in the environment they run as plain Python; a test holds both forms to the same bits. ``fastmath`` stays off so that
they do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` on first call and cache the machine code beside its source."""
    return cast("Callable[P, R]", numba.njit(cache=True, error_model="numpy")(function))


def is_enabled() -> bool:
    """Whether functions marked ``@jit`` are compiled in this process."""
    return not bool(numba.config.DISABLE_JIT)

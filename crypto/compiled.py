"""The one place where numba is imported.

``@kernel`` marks formulas and decisions: called from Python they are the plain Python functions that one reads, on
floats, Fractions or arrays; called from compiled code they are compiled into it. ``@jit`` marks the few loops that
Python enters compiled. With ``NUMBA_DISABLE_JIT=1`` in the environment these run as plain Python too; a test holds the
two forms to the same bits. ``fastmath`` stays off so that they do. Neither may create arrays: numba's reference
counting is off in both, because counting the references of twenty arrays costs more than most functions here do. For
the same reason ``@by_reference`` marks a named tuple of arrays that compiled functions hand on as one address.

numba's cache notices a change of the file that a function stands in, not of the functions it calls. So the cache lives
in a folder named by a hash of all sources of this package; machine code of other sources is never picked up.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numba.extending
from numba.core import cgutils, types
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

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


class ReferenceType(types.Type):  # type: ignore[misc]  # numba ships no types
    """numba's type of a named tuple of arrays that is passed on by its address."""

    def __init__(self, fields: Any) -> None:
        self.fields = fields
        super().__init__(f"reference({fields})")


class _ReferenceModel(numba.extending.models.PrimitiveModel):  # type: ignore[misc]  # numba ships no types
    """Held as the address of the tuple that numba would otherwise pass as some hundred and ninety numbers."""

    def __init__(self, manager: Any, kind: ReferenceType) -> None:
        super().__init__(manager, kind, manager.lookup(kind.fields).get_value_type().as_pointer())


class _ReferenceFields(AttributeTemplate):  # type: ignore[misc]  # numba ships no types
    key = ReferenceType

    def generic_resolve(self, kind: ReferenceType, name: str) -> Any:
        """Type of a field; ``None`` lets numba report an unknown one."""
        names = kind.fields.fields
        return kind.fields[names.index(name)] if name in names else None


def _enter(kind: ReferenceType, value: object, entry: Any) -> Any:
    """Python's tuple on the stack of the wrapper that Python calls, which outlives all that it calls."""
    native = entry.unbox(kind.fields, value)
    address = cgutils.alloca_once_value(entry.builder, native.value)
    return numba.extending.NativeValue(address, native.is_error, native.cleanup)


def _read_field(_context: Any, builder: Any, kind: ReferenceType, address: Any, name: str) -> Any:
    return builder.load(cgutils.gep_inbounds(builder, address, 0, kind.fields.fields.index(name)))


numba.extending.register_model(ReferenceType)(_ReferenceModel)
numba.extending.unbox(ReferenceType)(_enter)
infer_getattr(_ReferenceFields)
lower_getattr_generic(ReferenceType)(_read_field)


def by_reference(tuple_class: type[T]) -> type[T]:
    """Have compiled functions hand this named tuple of arrays on by its address instead of by all its numbers.

    Compiled code can read its fields and pass it on, nothing else; Python code sees no difference. A hundred numbers
    copied at each of a step's calls cost half of the loop, and most of its compilation.
    """

    def type_of(value: Any, _purpose: object) -> ReferenceType:
        return ReferenceType(types.NamedTuple([numba.typeof(item) for item in value], tuple_class))

    numba.extending.typeof_impl.register(tuple_class, type_of)
    return tuple_class

"""The double has the names, members and parameters of Lean's own interface, as quantconnect-stubs tells it."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from enum import IntEnum
from functools import cache
from pathlib import Path

import pytest

from tests.lean import engine

ROOT = engine.ROOT
HELPERS = {"IntEnum", "Any", "Callable", "ClassVar", "Iterator", "SimpleNamespace", "datetime", "timedelta"}


@cache
def stubs() -> Path:
    spec = importlib.util.find_spec("QuantConnect")
    if spec is None or spec.origin is None:
        pytest.skip(
            "quantconnect-stubs is not installed: make test installs it, or pip install it at the locked version"
        )
    return Path(spec.origin).parent


@cache
def stub_classes() -> dict[str, ast.ClassDef]:
    """Class definitions by name, of the modules that AlgorithmImports takes everything from."""
    source = (stubs().parent / "AlgorithmImports" / "__init__.pyi").read_text(encoding="utf-8")
    modules = [node.module for node in ast.parse(source).body if isinstance(node, ast.ImportFrom) and node.module]
    found: dict[str, ast.ClassDef] = {}
    for module in modules:
        path = stubs().parent / Path(*module.split(".")) / "__init__.pyi"
        if module.startswith("QuantConnect") and path.exists():
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, node)
    return found


def members(name: str) -> dict[str, list[ast.FunctionDef | None]]:
    """Members of a stub class and its bases: overloads of methods, None for plain attributes."""
    node = stub_classes()[name]
    found: dict[str, list[ast.FunctionDef | None]] = {}
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            found.setdefault(item.name, []).append(item)
        elif isinstance(item, ast.AnnAssign | ast.Assign):
            target = item.target if isinstance(item, ast.AnnAssign) else item.targets[0]
            found.setdefault(ast.unparse(target), []).append(None)
    for base in node.bases:
        parent = ast.unparse(base).split("[")[0].split(".")[-1]
        if parent in stub_classes():
            for key, value in members(parent).items():
                found.setdefault(key, value)
    return found


def imported_names() -> set[str]:
    """What main.py and models/ import from AlgorithmImports."""
    names: set[str] = set()
    for path in [ROOT / "main.py", *(ROOT / "models").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "AlgorithmImports":
                names |= {alias.name for alias in node.names}
    return names


def test_every_imported_name_is_one_of_lean_and_of_the_double() -> None:
    names = imported_names()
    assert len(names) > 30
    assert names <= set(vars(engine.lean))
    assert [name for name in names if name not in stub_classes()] == []


def test_main_hides_no_member_of_leans_algorithm() -> None:
    """An attribute of Lean's own would be set instead of ours, or refuse the value."""
    source = (ROOT / "main.py").read_text(encoding="utf-8")
    ours = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    assert len(ours) > 8
    assert ours & set(members("QCAlgorithm")) == set()


ENUMS = sorted(
    name for name, value in vars(engine.lean).items() if inspect.isclass(value) and issubclass(value, IntEnum)
)


@pytest.mark.parametrize("name", [name for name in ENUMS if name not in HELPERS])
def test_enumerations_have_the_same_members_and_numbers(name: str) -> None:
    theirs = {
        ast.unparse(item.targets[0]): ast.literal_eval(item.value)
        for item in stub_classes()[name].body
        if isinstance(item, ast.Assign)
    }
    assert {member.name: member.value for member in getattr(engine.lean, name)} == theirs


CLASSES = sorted(
    name
    for name, value in vars(engine.lean).items()
    if inspect.isclass(value) and name not in {*ENUMS, *HELPERS} and not name.startswith("_")
)
# Parts of the double that stand for what the engine builds by itself and hands over.
BUILT_BY_THE_ENGINE = {
    "Security", "Crypto", "CryptoFuture", "Symbol", "Order", "MarketOrder", "LimitOrder", "OrderTicket", "OrderEvent",
    "Slice",
    "SecurityHolding", "TradeBar", "TradeBars", "SubscriptionDataConfig", "PythonData", "CashBook",
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_methods_take_the_parameters_of_one_overload(name: str) -> None:
    theirs = members(name)
    own = {
        key: value
        for cls in reversed(getattr(engine.lean, name).__mro__)
        if cls.__module__ in engine.DOUBLE_MODULES
        for key, value in vars(cls).items()
    }
    for key, value in own.items():
        if not inspect.isfunction(value) or key.startswith("double_") or (key.startswith("_") and key != "__init__"):
            continue
        if key == "__init__" and (name in BUILT_BY_THE_ENGINE or key not in theirs or name == "QCAlgorithm"):
            continue
        assert key in theirs, f"Lean's {name} has no {key}"
        ours = list(inspect.signature(value).parameters)
        overloads = [[arg.arg for arg in found.args.args] for found in theirs[key] if found is not None]
        fits = any(ours == names[: len(ours)] for names in overloads)
        assert fits or not overloads, f"{name}.{key}{ours} is none of {overloads}"

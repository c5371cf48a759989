"""Drives the double through recorded slices in the order of events that a real engine showed (lean-measured.md A.1)."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

DOUBLE = Path(__file__).parent / "double"
ROOT = Path(__file__).resolve().parents[2]
SYNTHETIC = Path(__file__).parent / "synthetic"

if str(DOUBLE) not in sys.path:
    sys.path.insert(0, str(DOUBLE))

DOUBLE_MODULES = {path.stem for path in DOUBLE.glob("*.py")}  # what stands for Lean's own code
lean = importlib.import_module("AlgorithmImports")


def recorded_slices(path: Path = SYNTHETIC / "slices.jsonl") -> list[dict[str, Any]]:
    """The recorded slices in order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def at(text: str) -> datetime:
    """Naive UTC time of a recording."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def bar_of(recorded: dict[str, Any]) -> Any:
    """A trade bar of a recording."""
    return lean.TradeBar(**{name: recorded[name] for name in ("open", "high", "low", "close", "volume")})


def new_algorithm(data_folder: Path, parameters: dict[str, str]) -> Any:
    """main.py's algorithm, initialised on the folder."""
    lean.Globals.data_folder = str(data_folder)
    lean.SymbolPropertiesDatabase.entries = {}
    lean.double_set_time(datetime(1970, 1, 1))
    main = importlib.import_module("main")
    algorithm = main.CarryAlgorithm()
    algorithm.double_parameters = parameters
    algorithm.initialize()
    return algorithm


def no_hook(_: Any, __: datetime) -> None:
    """Nothing between the model calls and the strategy."""


def run(
    algorithm: Any,
    slices: Iterable[dict[str, Any]],
    names: dict[str, Any],
    before_data: Callable[[Any, datetime], None] = no_hook,
) -> None:
    """All slices that the run's period holds; ``names`` maps the recording's names to securities.

    The first is that of the bar which ends at the start, as recorded: no model is called for it.
    """
    begin = algorithm.double_start - algorithm.double_warm_up
    is_first = True
    for recorded in slices:
        now = at(recorded["time"])
        if now < begin or now > algorithm.double_end:
            continue
        step(
            algorithm, now, {names[name]: bar_of(bar) for name, bar in recorded["bars"].items()}, is_first, before_data
        )
        is_first = False
    algorithm.on_end_of_algorithm()


def step(
    algorithm: Any,
    now: datetime,
    bars: dict[Any, Any],
    is_first: bool = False,
    before_data: Callable[[Any, datetime], None] = no_hook,
) -> None:
    """One slice: prices, margin interest models, pending orders, the algorithm, pending orders again."""
    lean.double_set_time(now)
    for security, bar in bars.items():
        security.double_take(bar)
    slice_bars = lean.TradeBars({security.symbol: bar for security, bar in bars.items()})
    algorithm.current_slice = lean.Slice(slice_bars)
    if not is_first:
        for security in algorithm.double_securities:
            parameters = lean.MarginInterestRateParameters(security, now.replace(tzinfo=UTC))
            security.margin_interest_rate_model.apply_margin_interest_rate(parameters)
    algorithm.double_scan()
    before_data(algorithm, now)
    algorithm.on_data(algorithm.current_slice)
    algorithm.double_scan()


def filled(algorithm: Any) -> list[tuple[int, str, int]]:
    """Every fill so far as UTC milliseconds, instrument kind and lots of the order."""
    found = []
    for event, order in algorithm.double_events:
        if event.fill_quantity:
            lots = round(order.quantity / order.security.symbol_properties.lot_size)
            time_ms = int(event.utc_time.replace(tzinfo=UTC).timestamp() * 1000)
            found.append((time_ms, type(order.security).__name__, lots))
    return found


def plain_security(price: float = 100.0, **more: Any) -> Any:
    """A stand-in for a security where only its numbers matter."""
    return SimpleNamespace(price=price, **more)

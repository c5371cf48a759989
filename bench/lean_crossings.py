"""Crossings between Python and Lean per slice of main.py, counted on recorded slices, at prices measured on an engine.

No engine runs here. What a run would take is what the stock static carry takes, plus the crossings that main.py and
models/ make on top, plus their own Python. Prices: measured on a real engine (docs/specs/lean.md, cost table).
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.comparison import Comparison, Direction
from bench.equality import ResultsDifferError
from bench.measure import Sample

from tests.lean import engine  # isort: skip - puts the double in the place of AlgorithmImports
from tests.lean.folder import write_folder
from tests.lean.run_parameters import parameters

from models.statistics import SAMPLES  # isort: skip

STOCK_US = 55.0  # of an hourly slice with spot and perp, stock static carry
MOST_TIMES_STOCK = 1.5
CALL_US = 0.03  # of a Python function call on the machine that the prices were measured on
MODEL_CALL_US = 3.5  # engine to a Python model and back, the larger end
FRESH_SLICE_US = 3.0  # first object taken out of a slice
ORDER_US = 220.0  # market order with fill and Python models, the larger end
ORDERS_PER_SLICE = 54 / 4320  # of the sample run in README.md
CHARTS_US = SAMPLES * 7 * (18.0 + 5.0) / 55_849  # seven series and statistics a point, over the slices of six years
OTHER_US = 0.65  # anything without a price of its own: the dearest attribute that was measured

PRICES_US: Mapping[tuple[str, str], float] = {
    ("Security", "price"): 0.13,
    ("Security", "volume"): 0.13,
    ("Security", "holdings"): 0.25,
    ("Security", "quote_currency"): 0.25,
    ("Security", "base_currency"): 0.25,
    ("SecurityHolding", "quantity"): 0.13,
    ("Cash", "amount"): 0.13,
    ("Cash", "add_amount"): 1.6,
    ("Slice", "bars"): 0.25,
    ("TradeBars", "count"): 0.13,
    ("TradeBars", "contains_key"): 1.2,
    ("MarginInterestRateParameters", "time"): 0.65,
    ("MarginInterestRateParameters", "security"): 0.25,
    ("QCAlgorithm", "time"): 0.33,
}


@dataclass(frozen=True, slots=True)
class CrossingsSize:
    """How often the Python part of the slices is timed, and how many passes each time is the smallest of."""

    repeats: int = 7
    passes: int = 24


@contextmanager
def counted(counts: Counter[tuple[str, str]]) -> Iterator[None]:
    """Count reads of Lean's members while the block runs."""
    names = {cls for cls, _ in PRICES_US} | {"CashBook", "OrderTicket", "OrderEvent", "Order"}
    before = {}
    for name in names:
        cls = getattr(engine.lean, name)
        before[cls] = cls.__getattribute__
        members = {member for member in dir(cls) if not member.startswith("_")}
        cls.__getattribute__ = _counting(before[cls], name, members, counts)
    try:
        yield
    finally:
        for cls, original in before.items():
            cls.__getattribute__ = original


def _counting(original: Any, cls: str, members: set[str], counts: Counter[tuple[str, str]]) -> Any:
    # Attributes that instances set themselves are members as well, except on the algorithm, where they are ours.
    everything = cls != "QCAlgorithm"

    def read(self: Any, name: str) -> Any:
        if not name.startswith("_") and not name.startswith("double_") and (everything or name in members):
            counts[cls, name] += 1
        return original(self, name)

    return read


OWN_HOOKS = {"initialize", "on_data", "on_order_event", "on_margin_call", "on_command", "on_end_of_algorithm"}


@dataclass(frozen=True, slots=True)
class Crossings:
    """Counts of a hundred and more quiet slices: no order, a position held."""

    counts: Mapping[tuple[str, str], int]
    model_calls: int
    slices: int

    @property
    def micros(self) -> float:
        """Price of the crossings of one slice."""
        priced = sum(count * PRICES_US.get(key, OTHER_US) for key, count in self.counts.items())
        fresh = self.counts.get(("Slice", "bars"), 0) * FRESH_SLICE_US
        return (priced + fresh + self.model_calls * MODEL_CALL_US) / self.slices


def start(folder: Path, **changes: str) -> tuple[Any, dict[str, Any]]:
    """The algorithm on a folder of the recorded market, and its securities by the recording's names."""
    algorithm = engine.new_algorithm(folder, parameters(**changes))
    spot, perp = algorithm.double_securities
    return algorithm, {"spot": spot, "perp": perp}


def count_crossings(folder: Path) -> Crossings:
    """Crossings of the slices of the recording in which a pair is held and nothing is sent."""
    algorithm, names = start(folder)
    algorithm.post_trade.sample = lambda _: None  # charts have a price of their own
    total: Counter[tuple[str, str]] = Counter()
    model_calls = slices = 0
    for number, recorded in enumerate(engine.recorded_slices()[1:]):
        bars = {names[name]: engine.bar_of(bar) for name, bar in recorded["bars"].items()}
        found: Counter[tuple[str, str]] = Counter()
        calls = _calls_into_python(names.values())
        sent, held = len(algorithm.double_orders), names["perp"].holdings.quantity != 0
        now = engine.at(recorded["time"])
        _quietly(algorithm, now, bars, number == 0, found)
        if held and len(algorithm.double_orders) == sent:
            total += found
            model_calls += calls
            slices += 1
    return Crossings(dict(total), model_calls, slices)


def _calls_into_python(securities: Any) -> int:
    """Models that Lean asks in every hour, order or not, and that are Python: fee models count three times."""
    margin = sum(type(item.margin_interest_rate_model).__module__ not in engine.DOUBLE_MODULES for item in securities)
    fees = sum(type(item.fee_model).__module__ not in engine.DOUBLE_MODULES for item in securities)
    return int(margin + 3 * fees)


def _quietly(algorithm: Any, now: Any, bars: dict[Any, Any], is_first: bool, found: Counter[tuple[str, str]]) -> None:
    """One slice, counting only what main.py and models/ read."""
    lean = engine.lean
    lean.double_set_time(now)
    for security, bar in bars.items():
        security.double_take(bar)
    algorithm.current_slice = lean.Slice(lean.TradeBars({item.symbol: bar for item, bar in bars.items()}))
    asked = [
        (item.margin_interest_rate_model, lean.MarginInterestRateParameters(item, now))
        for item in algorithm.double_securities
        if not is_first
    ]
    algorithm.double_scan()
    with counted(found):
        for model, given in asked:
            model.apply_margin_interest_rate(given)
        algorithm.on_data(algorithm.current_slice)
    for hook in OWN_HOOKS:
        found.pop(("QCAlgorithm", hook), None)


# A pair that is entered stays: neither the forecast nor the basis nor a loss makes it leave.
HOLDING = {"signal__flip_annual": "-100", "signal__basis_blowout_bps": "100000", "signal__pair_drawdown": "1.0",
           "portfolio__min_collateral_ratio": "0.001", "portfolio__max_collateral_ratio": "100",
           "risk__max_delta_fraction": "1.0", "risk__max_drawdown": "1.0", "portfolio__resize_band": "0"}  # fmt: skip


def python_micros(folder: Path, size: CrossingsSize) -> list[float]:
    """Microseconds of our own Python in a held slice, brought to the speed of the machine that the prices are from.

    ``on_data`` over all slices after the entry, timed as a whole; each value is the smallest of a few passes, because
    whatever else the machine does only adds. The machine's speed is measured between the passes, and its smallest
    counts as well: measured apart, a busy machine would make the adapter look cheaper than it is.
    """
    found = []
    for _ in range(size.repeats):
        passes = [(_held_micros(folder), call_micros()) for _ in range(size.passes)]
        found.append(min(held for held, _ in passes) * CALL_US / min(call for _, call in passes))
    return found


def _held_micros(folder: Path) -> float:
    algorithm, names = start(folder, **HOLDING)
    lean, recorded = engine.lean, engine.recorded_slices()[1:170]
    ready = [
        (engine.at(row["time"]), {names[name]: engine.bar_of(bar) for name, bar in row["bars"].items()})
        for row in recorded
    ]
    first = 0
    while names["perp"].holdings.quantity == 0 or algorithm.exchange.world.pairs[0].phase != 0:
        engine.step(algorithm, *ready[first], first == 0)
        first += 1
    algorithm.post_trade.sample = lambda _: None  # charts have a price of their own
    slices = [
        (now, lean.Slice(lean.TradeBars({item.symbol: bar for item, bar in bars.items()})), tuple(bars.items()))
        for now, bars in ready[first:]
    ]
    sent = len(algorithm.double_orders)
    begin = time.thread_time()
    for now, data, bars in slices:
        _show(now, bars)
        algorithm.on_data(data)
    spent = time.thread_time() - begin
    if len(algorithm.double_orders) != sent:
        raise ResultsDifferError("an order was sent while quiet slices were timed")
    return (spent - _double_seconds(algorithm, slices)) / len(slices) * 1e6


def _show(now: Any, bars: tuple[tuple[Any, Any], ...]) -> None:
    """Set the double's clock and prices to a slice."""
    engine.lean.double_set_time(now)
    for security, bar in bars:
        security.price = bar.close
        security.volume = bar.volume


def _double_seconds(algorithm: Any, slices: list[tuple[Any, Any, Any]]) -> float:
    """Seconds that setting and reading the double takes in those slices: crossings have their own price."""
    begin = time.thread_time()
    for now, data, bars in slices:
        _show(now, bars)
        _ = algorithm.time, data.bars.count
        for security, _bar in bars:
            _ = security.price, security.volume
    return time.thread_time() - begin


def call_micros(calls: int = 20_000) -> float:
    """Microseconds of one Python function call here, the smallest of three."""

    def nothing(value: int) -> int:
        return value

    best = float("inf")
    for _ in range(3):
        begin = time.thread_time()
        for number in range(calls):
            nothing(number)
        best = min(best, time.thread_time() - begin)
    return best / calls * 1e6


def estimate(crossings: Crossings, python: float) -> float:
    """Microseconds of a slice of main.py on an engine."""
    return STOCK_US + crossings.micros + python + ORDERS_PER_SLICE * ORDER_US + CHARTS_US


def compare(size: CrossingsSize) -> list[Comparison]:
    """Estimated time of a slice against the stock static carry."""
    with tempfile.TemporaryDirectory() as folder:
        root = write_folder(Path(folder))
        crossings = count_crossings(root)
        python = python_micros(root, size)
    return [
        Comparison(
            "lean-crossings",
            "us",
            "stock static carry a slice, as measured",
            Sample((STOCK_US,)),
            "main.py a slice, estimated",
            Sample(tuple(estimate(crossings, value) for value in python)),
            MOST_TIMES_STOCK,
            Direction.BELOW,
            f"a slice: {sum(crossings.counts.values()) / crossings.slices:.1f} reads and "
            f"{crossings.model_calls / crossings.slices:.2g} model call, {crossings.micros:.1f} us; "
            f"{min(python):.1f} us of Python at least, "
            f"{ORDERS_PER_SLICE * ORDER_US + CHARTS_US:.1f} us of orders and charts",
        )
    ]

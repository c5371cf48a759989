"""The adapter, driven by recorded slices, sends the same orders as the embedded engine on the same market."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto.ledger import Component
from crypto.market import Bars, InstrumentHistory, MarketHistory
from crypto.settings import Settings
from crypto.simulator.loop import run_python
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from data.lean_market import load_lean_market
from data.settings import load_settings
from tests.lean import engine
from tests.lean.conftest import CONFIG, parameters
from tests.lean.folder import SPOT, columns

KINDS = ("Crypto", "CryptoFuture")
Missing = tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]  # legs, and hours of the run, without a bar


def settings_of(given: dict[str, str]) -> Settings:
    return load_settings(CONFIG, [f"{name}={value}" for name, value in given.items() if name != "config"])


def history_with_bars(lean_folder: Path, settings: Settings, missing: Missing) -> MarketHistory:
    """The adapter's history with the bars that Lean delivered, for the embedded engine."""
    market = load_lean_market(lean_folder, settings)
    instruments = []
    for history in market.instruments:
        name = "spot" if history.key == SPOT else "perp"
        rows = columns(name)
        places = np.searchsorted(rows["time_ms"], market.open_ms)
        values = [rows[column][places].astype(float) for column in ("open", "high", "low", "close", "volume")]
        for legs, hours in missing:
            for value in values:
                value[list(hours)] = np.nan if name in legs else value[list(hours)]
        instruments.append(InstrumentHistory(history.key, Bars(*values), history.mark, history.settlements))
    return MarketHistory(market.bar_ms, market.open_ms, tuple(instruments))


def embedded_run(lean_folder: Path, given: dict[str, str], missing: Missing = ()) -> Any:
    settings = settings_of(given)
    setup = build(settings, history_with_bars(lean_folder, settings, missing))
    return run_python(setup.world, PythonPipeline())


def embedded_orders(world: Any) -> list[tuple[int, str, int]]:
    rows = world.orders[: world.run[0].order_rows]
    return [(int(row.placed_ms), KINDS[row.leg % 2], int(row.lots)) for row in rows]


def adapter_orders(algorithm: Any) -> list[tuple[int, str, int]]:
    return [(row.placed_ms, KINDS[row.leg % 2], row.lots) for row in algorithm.exchange.world.orders]


def adapter_run(lean_folder: Path, given: dict[str, str], missing: Missing = ()) -> Any:
    algorithm = engine.new_algorithm(lean_folder, given)
    spot, perp = algorithm.double_securities
    engine.run(algorithm, without(engine.recorded_slices(), missing), {"spot": spot, "perp": perp})
    return algorithm


def without(slices: list[dict[str, Any]], missing: Missing) -> list[dict[str, Any]]:
    """The slices without the missing bars; a slice without any bar is never delivered."""
    for legs, hours in missing:
        for hour in hours:
            bars = slices[hour + 1]["bars"]  # the first slice is the bar before the run
            for leg in legs:
                bars.pop(leg)
    return [found for found in slices if found["bars"]]


CASES: dict[str, dict[str, str]] = {
    "taker": {},
    "perp first": {"execution__first_leg": "perp"},
    "on last price": {"funding__price": "last", "data__valuation_price": "last"},
    "with slippage": {"slippage__spot_half_spread_bps": "1.0", "slippage__impact_bps": "20.0"},
    "short of volume": {"slippage__max_participation": "0.002", "execution__leg_timeout_bars": "4"},
    "maker first": {"execution__style": "maker_first", "execution__leg_timeout_bars": "2"},
}


GAPS: dict[str, Missing] = {
    "no gap": (),
    "an hour without any bar": ((("spot", "perp"), (20, 40, 41, 42, 66)),),
    "spot alone misses while held": ((("spot",), (34, 50, 51, 63)),),
    "perp alone misses": ((("perp",), (29, 30, 62, 63, 64)),),
}


def assert_same(algorithm: Any, world: Any) -> None:
    """Same orders at the same times, same ledger, same equity."""
    expected = embedded_orders(world)
    assert len(expected) >= 4  # a market on which nothing happens would prove nothing
    assert adapter_orders(algorithm) == expected
    ledger = algorithm.exchange.world.ledger
    theirs = world.ledger[: world.run[0].ledger_rows]
    assert [(row.time_ms, row.flow, row.leg) for row in ledger] == [(r.time_ms, r.flow, r.leg) for r in theirs]
    assert [row.amount for row in ledger] == pytest.approx([float(r.amount) for r in theirs], rel=1e-9)
    assert algorithm.exchange.run.equity == pytest.approx(float(world.run[0].equity), rel=1e-12)
    sums = world.attribution.sum(axis=(0, 1))
    for component in Component:
        assert algorithm.post_trade.total(component) == pytest.approx(float(sums[component]), abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_adapter_sends_the_orders_of_the_embedded_engine(lean_folder: Path, case: str) -> None:
    given = parameters(**CASES[case])
    assert_same(adapter_run(lean_folder, given), embedded_run(lean_folder, given))


@pytest.mark.parametrize("gap", GAPS)
def test_hours_without_a_bar_change_nothing_between_the_engines(lean_folder: Path, gap: str) -> None:
    given = parameters()
    algorithm = adapter_run(lean_folder, given, GAPS[gap])
    assert_same(algorithm, embedded_run(lean_folder, given, GAPS[gap]))


def test_lean_received_every_order_of_the_book_whole(lean_folder: Path) -> None:
    algorithm = adapter_run(lean_folder, parameters())
    assert engine.filled(algorithm) == adapter_orders(algorithm)

"""The adapter, driven by recorded slices, sends the same orders as the embedded engine on the same market."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto.instruments import Kind
from crypto.market import Bars, InstrumentHistory, MarketHistory
from crypto.settings import Settings
from crypto.simulator.loop import run_python
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from data.lean_market import load_lean_market
from data.settings import load_settings
from tests.lean import engine
from tests.lean.folder import PERP, SPOT, columns, write_folder

CONFIG = Path(__file__).parent / "market.toml"
PARAMETERS = {"run.start": "2020-03-10", "run.end": "2020-03-18"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("lean"))


def parameters(**changes: str) -> dict[str, str]:
    return {"config": str(CONFIG), **PARAMETERS, **{name.replace("__", "."): value for name, value in changes.items()}}


def settings_of(given: dict[str, str]) -> Settings:
    return load_settings(CONFIG, [f"{name}={value}" for name, value in given.items() if name != "config"])


def history_with_bars(folder: Path, settings: Settings) -> MarketHistory:
    """The adapter's history with the bars that Lean would deliver, for the embedded engine."""
    market = load_lean_market(folder, settings)
    instruments = []
    for history in market.instruments:
        rows = columns("spot" if history.key == SPOT else "perp")
        places = np.searchsorted(rows["time_ms"], market.open_ms)
        bars = Bars(*(rows[name][places] for name in ("open", "high", "low", "close", "volume")))
        instruments.append(InstrumentHistory(history.key, bars, history.mark, history.settlements))
    return MarketHistory(market.bar_ms, market.open_ms, tuple(instruments))


def embedded_run(folder: Path, given: dict[str, str]) -> Any:
    settings = settings_of(given)
    setup = build(settings, history_with_bars(folder, settings))
    return run_python(setup.world, PythonPipeline())


def embedded_orders(world: Any) -> list[tuple[int, str, int]]:
    kinds = ("Crypto", "CryptoFuture")
    rows = world.orders[: world.run[0].order_rows]
    return [(int(row.placed_ms), kinds[row.leg % 2], int(row.lots)) for row in rows]


def adapter_run(folder: Path, given: dict[str, str]) -> Any:
    algorithm = engine.new_algorithm(folder, given)
    spot, perp = algorithm.double_securities
    engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp})
    return algorithm


CASES = {
    "taker": {},
    "perp first": {"execution__first_leg": "perp"},
    "on last price": {"funding__price": "last", "data__valuation_price": "last"},
    "with slippage": {"slippage__spot_half_spread_bps": "1.0", "slippage__impact_bps": "20.0"},
    "short of volume": {"slippage__max_participation": "0.002", "execution__leg_timeout_bars": "4"},
    "maker first": {"execution__style": "maker_first", "execution__leg_timeout_bars": "2"},
}


@pytest.mark.parametrize("case", CASES)
def test_the_adapter_sends_the_orders_of_the_embedded_engine(folder: Path, case: str) -> None:
    given = parameters(**CASES[case])
    world = embedded_run(folder, given)
    algorithm = adapter_run(folder, given)
    expected = embedded_orders(world)
    assert len(expected) >= 4  # a market on which nothing happens would prove nothing
    rows = algorithm.exchange.world.orders
    assert [(row.placed_ms, ("Crypto", "CryptoFuture")[row.leg % 2], row.lots) for row in rows] == expected
    ledger = algorithm.exchange.world.ledger
    theirs = world.ledger[: world.run[0].ledger_rows]
    assert [(row.time_ms, row.flow, row.leg) for row in ledger] == [(r.time_ms, r.flow, r.leg) for r in theirs]
    assert [row.amount for row in ledger] == pytest.approx([float(r.amount) for r in theirs], rel=1e-9)
    assert algorithm.exchange.run.equity == pytest.approx(float(world.run[0].equity), rel=1e-12)


def test_lean_received_every_order_of_the_book_whole(folder: Path) -> None:
    algorithm = adapter_run(folder, parameters())
    book = [(row.placed_ms, ("Crypto", "CryptoFuture")[row.leg % 2], row.lots) for row in algorithm.exchange.world.orders]
    assert engine.filled(algorithm) == book



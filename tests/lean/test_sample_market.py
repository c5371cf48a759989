"""From the bundled sample lake through the export to the adapter: the orders of the embedded engine, for three pairs.

One of them is a 1000-fold contract; transfers, grace seconds, reverse carry with borrowed coins and orders short of
volume are in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crypto.market import MarketHistory
from crypto.settings import Settings
from crypto.simulator.loop import run_python
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from data.lean_folder.export import ExportOptions, export
from data.market import load_market
from data.settings import load_settings
from data.store.lake import Lake
from tests.lean import engine
from tests.lean.test_same_orders import assert_same

from models.convert import moment  # isort: skip

LAKE = engine.ROOT / "data" / "sample" / "lake"
CONFIG = "config/carry.toml"
LEAN = {"execution.latency_ms": "0", "execution.fill_price": "last_close", "run.end": "2024-06-28"}
CASES = {
    "as shipped": {},
    "maker first": {"execution.style": "maker_first"},
    "fees in quote": {"fees.spot_buy_fee_in_base": "false"},
    "reverse carry": {"borrow.enabled": "true"},
    "short of volume": {
        "borrow.enabled": "true",
        "execution.first_leg": "perp",
        "signal.flip_annual": "0.05",
        "slippage.max_participation": "0.0005",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exported") / "lean"
    export(Lake(LAKE), root, ExportOptions())
    return root


def sample_market(settings: Settings) -> MarketHistory:
    keys = [key for pair in settings.pairs for key in (pair.spot, pair.perp)]
    assets = [("binance", name) for name in ("BTC", "ETH", "PEPE")] if settings.borrow.enabled else []
    run = settings.run
    return load_market(Lake(LAKE), keys, run.timeframe, run.start, run.end, tolerance_ms=60_000, borrow_assets=assets)


def drive(algorithm: Any, market: MarketHistory) -> None:
    """Every bar of the market, as Lean delivers them: none where nothing printed."""
    securities = {leg.instrument.key: leg.security for leg in algorithm.legs.legs}
    columns = [
        (securities[history.key], [values.tolist() for values in (history.bars.open, history.bars.high,
                                                                  history.bars.low, history.bars.close,
                                                                  history.bars.volume)])
        for history in market.instruments
    ]  # fmt: skip
    for index, open_ms in enumerate(market.open_ms.tolist()):
        bars = {}
        for security, prices in columns:
            values = [column[index] for column in prices]
            if values[3] == values[3]:
                names = ("open", "high", "low", "close", "volume")
                bars[security] = engine.lean.TradeBar(**dict(zip(names, values, strict=True)))
        if bars:
            engine.step(algorithm, moment(open_ms + market.bar_ms), bars, index == 0)
    algorithm.on_end_of_algorithm()


@pytest.mark.parametrize("case", CASES)
def test_three_pairs_of_the_sample_trade_alike_on_both_engines(exported: Path, case: str) -> None:
    given = LEAN | CASES[case]
    settings = load_settings(engine.ROOT / CONFIG, [f"{name}={value}" for name, value in given.items()])
    market = sample_market(settings)
    world = run_python(build(settings, market).world, PythonPipeline())
    algorithm = engine.new_algorithm(exported, {"config": CONFIG, **given})
    drive(algorithm, market)
    assert len(algorithm.exchange.world.orders) > 50
    assert_same(algorithm, world, opens_at_last_close=False)

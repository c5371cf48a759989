"""With coins in the wallets from the start, and with coin-margined perpetuals, both engines do the same to the cent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto.ledger import Flow
from crypto.simulator.loop import run_python
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from data.lean_market import load_lean_market
from data.settings import load_settings
from data.store.rows import Columns
from data.tiers import tiers_of
from tests.lean import engine
from tests.lean.folder import PERP, columns, write_folder
from tests.lean.run_parameters import CONFIG, PERIOD
from tests.lean.test_same_orders import adapter_orders, assert_same, history_with_bars

lean = engine.lean
INVERSE = "binance:inverse:BTCUSD"
WALLETS = '[wallets."binance:spot"]\nUSDT = 70000\n\n[wallets."binance:linear"]\nUSDT = 30000\n'
Ran = Callable[..., tuple[Any, Any]]


TIERS = [
    {"minNotional": 0, "maxNotional": 5, "maintenanceMarginRate": 0.004, "maxLeverage": 125},
    {"minNotional": 5, "maxNotional": 500, "maintenanceMarginRate": 0.005, "maxLeverage": 100},
]  # coins, as Binance counts them


def coin_margined(text: str, tiers: Path) -> str:
    """The settings with the coin-margined contract, its margin in coins, and a file of its leverage tiers."""
    tiers.write_text(json.dumps({"BTC/USD:BTC": TIERS}))
    text = text.replace('"binance:linear:BTCUSDT"', f'"{INVERSE}"')
    text = text.replace('[wallets."binance:linear"]\nUSDT = 30000', '[wallets."binance:inverse"]\nBTC = 4.0')
    return f'{text}\n[[margin.tier_files]]\nvenue = "binance"\npath = "{tiers}"\neffective = "2019-01-01"\n'


def market(perp_key: str) -> dict[str, Columns]:
    """The recorded market; a contract of 100 dollars has its volume counted in those."""
    rows = {name: columns(name) for name in ("spot", "perp", "mark", "funding")}
    if perp_key == INVERSE:
        perp = rows["perp"]
        rows["perp"] = perp | {"volume": np.round(perp["volume"] * perp["close"] / 100.0)}
    return rows


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    """Both engines on one market: the adapter and the embedded engine's world."""

    def run(text: str, perp_key: str = PERP, **changes: str) -> tuple[Any, Any]:
        config = tmp_path / "market.toml"
        config.write_text(text)
        given = PERIOD | {name.replace("__", "."): value for name, value in changes.items()}
        settings = load_settings(config, [f"{name}={value}" for name, value in given.items()])
        rows = market(perp_key)
        folder = write_folder(tmp_path / "lean", rows, perp_key=perp_key)
        setup = build(settings, history_with_bars(folder, settings, (), rows), tiers_of(settings))
        world = run_python(setup.world, PythonPipeline())
        algorithm = engine.new_algorithm(folder, {"config": str(config), **given})
        spot, perp = algorithm.double_securities
        engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp})
        assert_same(algorithm, world)
        return algorithm, world

    return run


@pytest.mark.parametrize("wallet", ["spot", "linear"])
def test_coins_at_the_start_are_held_and_valued_on_both_engines(ran: Ran, wallet: str) -> None:
    held = WALLETS.replace(f'"binance:{wallet}"]\n', f'"binance:{wallet}"]\nBTC = 1.5\n')
    algorithm, world = ran(CONFIG.read_text().replace(WALLETS, held))
    opening = [row for row in algorithm.exchange.world.ledger if row.flow == Flow.OPENING and row.amount == 1.5]
    first = float(columns("spot")["open"][columns("spot")["time_ms"] == opening[0].time_ms][0])
    assert [(row.price, row.value) for row in opening] == [(first, 1.5 * first)]
    # Without that price Lean would count the coins as nothing until their market prints.
    assert algorithm.double_cash["BTC"] == (1.5, first)
    assert world.run[0].ledger_rows > 10


@pytest.mark.parametrize("style", ["taker", "maker_first"])
@pytest.mark.parametrize("first_leg", ["spot", "perp"])
def test_a_coin_margined_pair_trades_and_is_paid_in_coins(ran: Ran, tmp_path: Path, style: str, first_leg: str) -> None:
    changes = {"execution__style": style, "execution__first_leg": first_leg, "execution__leg_timeout_bars": "2"}
    algorithm, _ = ran(coin_margined(CONFIG.read_text(), tmp_path / "tiers.json"), INVERSE, **changes)
    perp = algorithm.double_securities[1]
    assert perp.is_crypto_coin_future()
    coin = algorithm.exchange.names.assets.index("BTC")
    paid = [row for row in algorithm.exchange.world.ledger if row.flow == Flow.FUNDING]
    assert paid
    assert {row.asset for row in paid} == {coin}
    # Lots of a contract of 100 dollars: as many as the spot leg is worth.
    sold = next(lots for _, kind, lots in adapter_orders(algorithm) if kind == "CryptoFuture" and lots < 0)
    bought = next(lots for _, kind, lots in adapter_orders(algorithm) if kind == "Crypto" and lots > 0)
    price = float(np.mean(columns("spot")["close"]))
    assert -sold * 100.0 == pytest.approx(bought * 1e-5 * price, rel=0.2)


def test_a_coin_margined_perp_is_liquidated_where_its_coins_are_not_enough(ran: Ran, tmp_path: Path) -> None:
    """Long in coins is short of dollars: with few coins the venue ends a short when the mark spikes."""
    text = coin_margined(CONFIG.read_text(), tmp_path / "tiers.json").replace("BTC = 4.0", "BTC = 1.0")
    algorithm, world = ran(text, INVERSE, portfolio__min_collateral_ratio="0.01", risk__max_drawdown="1.0")
    assert algorithm.exchange.run.liquidations == int(world.run[0].liquidations)


def test_maintenance_margin_of_a_coin_margined_perp_is_in_account_currency(tmp_path: Path) -> None:
    config = tmp_path / "market.toml"
    config.write_text(coin_margined(CONFIG.read_text(), tmp_path / "tiers.json"))
    folder = write_folder(tmp_path / "lean", market(INVERSE), perp_key=INVERSE)
    algorithm = engine.new_algorithm(folder, {"config": str(config), **PERIOD})
    _, perp = algorithm.double_securities
    algorithm.exchange.see(0, (10_000.0, 1e6), (10_000.0, 1e6), 10_000.0, (10_000.0, 10_000.0))
    algorithm.exchange.close_bar(algorithm.feed.start_ms + 3_600_000)
    asked = lean.MaintenanceMarginParameters(perp, -100.0)  # 10,000 dollars, 1 BTC
    closing = algorithm.exchange.world.legs[1].closing_fee
    found = perp.buying_power_model.get_maintenance_margin(asked).value
    assert found == pytest.approx(10_000.0 * (0.004 + closing))


def test_tier_files_are_looked_for_below_the_project_wherever_lean_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, config, elsewhere = tmp_path / "project", tmp_path / "market.toml", tmp_path / "launcher"
    for folder in (project, elsewhere):
        folder.mkdir()
    text = coin_margined(CONFIG.read_text(), project / "tiers.json").replace(str(project / "tiers.json"), "tiers.json")
    config.write_text(text)
    folder = write_folder(tmp_path / "lean", market(INVERSE), perp_key=INVERSE)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr("main.ROOT", project)
    algorithm = engine.new_algorithm(folder, {"config": str(config), **PERIOD})
    assert algorithm.exchange.world.tiers[1, algorithm.exchange.world.legs[1].tier_first] == 0.004


def test_a_spot_market_without_a_first_bar_cannot_price_coins(tmp_path: Path) -> None:
    rows = market(PERP)
    start = rows["spot"]["time_ms"] != 1_583_798_400_000  # 2020-03-10T00:00:00Z
    rows["spot"] = {name: values[start] for name, values in rows["spot"].items()}
    folder = write_folder(tmp_path / "lean", rows)
    config = tmp_path / "market.toml"
    config.write_text(CONFIG.read_text().replace(WALLETS, WALLETS.replace("USDT = 70000", "USDT = 70000\nBTC = 1.5")))
    with pytest.raises(RuntimeError, match="BTC is held at the start, but its spot market has no first bar"):
        engine.new_algorithm(folder, {"config": str(config), **PERIOD})


def test_the_first_bar_is_read_for_coins_only(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "lean")
    settings = load_settings(CONFIG, [f"{name}={value}" for name, value in PERIOD.items()])
    assert np.isnan(load_lean_market(folder, settings).instrument("binance:spot:BTCUSDT").bars.open).all()

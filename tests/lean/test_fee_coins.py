"""Fees in a venue's own coin on Lean: the fill carries an amount of the coin, both engines pay and keep the same."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto.errors import DataError
from crypto.ledger import Flow
from crypto.market import MarketHistory
from crypto.simulator.loop import run_python
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from crypto.units import HOUR_MS
from crypto.venues.registry import instrument
from data.lean_folder import layout
from data.lean_folder.properties import price_row, properties_text
from data.lean_market import load_lean_market
from tests.lean import engine
from tests.lean.folder import MARK_PLACE, PERP, SPOT, columns, write, write_bars
from tests.lean.run_parameters import parameters
from tests.lean.test_same_orders import MAKER_IN_PARTS, assert_same, history_with_bars, settings_of

from models.convert import milliseconds  # isort: skip

COIN = "binance:spot:BNBUSDT"
COIN_PLACE = layout.Place(layout.CRYPTO, "binance", "BNBUSDT", "hour")
ON = {"fees__discount__binance__enabled": "true"}


def coin_columns() -> dict[str, Any]:
    """Bars of the coin over the recorded hours, on a path of its own, a few of them missing."""
    times = columns("spot")["time_ms"]
    closes = 15.0 + np.round(3.0 * np.sin(np.arange(times.size) / 9.0), 4)
    opens = np.concatenate([closes[:1], closes[:-1]])
    rows = {
        "time_ms": times, "open": opens, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes),
        "close": closes, "volume": np.full(times.size, 1_000.0),
    }  # fmt: skip
    kept = np.ones(times.size, dtype=bool)
    kept[[times.size // 2, times.size // 2 + 1]] = False
    return {name: values[kept] for name, values in rows.items()}


@pytest.fixture(scope="module")
def coin_folder(lean_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lean's data folder of the recorded market, and the coin's market in it."""
    root = tmp_path_factory.mktemp("coin") / "lean"
    shutil.copytree(lean_folder, root)
    write_bars(root, COIN_PLACE, coin_columns())
    listed = [instrument(key, {}) for key in (SPOT, PERP, COIN)]
    text = properties_text(listed, [price_row(MARK_PLACE, "USDT", "mark prices")])
    write(root / layout.SYMBOL_PROPERTIES, text.encode())
    return root


def given(spot_coins: str, perp_coins: str, **changes: str) -> dict[str, str]:
    """Parameters of a run whose wallets hold coins; wallet names have a colon, so they are set on their own."""
    coins = {"wallets.binance:spot.BNB": spot_coins, "wallets.binance:linear.BNB": perp_coins}
    return parameters(**ON, **changes) | {name: amount for name, amount in coins.items() if amount != "0"}


def slices_with_coin() -> list[dict[str, Any]]:
    rows = coin_columns()
    closing = {int(time) + HOUR_MS: place for place, time in enumerate(rows["time_ms"])}
    found = []
    for recorded in engine.recorded_slices():
        place = closing.get(milliseconds(engine.at(recorded["time"])))
        bars = dict(recorded["bars"])
        if place is not None:
            bars["coin"] = {name: float(rows[name][place]) for name in ("open", "high", "low", "close", "volume")}
        found.append({**recorded, "bars": bars})
    return found


def adapter_run(folder: Path, settings: Mapping[str, str]) -> Any:
    algorithm = engine.new_algorithm(folder, dict(settings))
    coin, spot, perp = algorithm.double_securities
    engine.run(algorithm, slices_with_coin(), {"coin": coin, "spot": spot, "perp": perp})
    return algorithm


def history_of(folder: Path, settings: Mapping[str, str]) -> MarketHistory:
    chosen = settings_of(dict(settings))
    loaded = load_lean_market(folder, chosen)
    pair = MarketHistory(loaded.bar_ms, loaded.open_ms, loaded.instruments[:2])
    bars = history_with_bars(folder, replace(chosen, fees=replace(chosen.fees, discount={})), ())
    assert [one.key for one in bars.instruments] == [one.key for one in pair.instruments]
    return replace(bars, instruments=(*bars.instruments, loaded.instruments[2]))


def embedded_run(folder: Path, settings: Mapping[str, str]) -> Any:
    return run_python(build(settings_of(dict(settings)), history_of(folder, settings)).world, PythonPipeline())


IN_PARTS = MAKER_IN_PARTS | {"slippage__max_participation": "0.002"}  # a resting order takes several bars
REBATE = '{"binance:spot:BTCUSDT" = {maker = -0.0001}, "binance:linear:BTCUSDT" = {maker = -0.00005}}'
CASES: dict[str, tuple[str, str, dict[str, str]]] = {
    "enough": ("20", "10", {}),
    "spot alone": ("20", "0", {}),
    "running short": ("3.5", "1.5", {}),
    "fee in quote": ("3.5", "1.5", {"fees__spot_buy_fee_in_base": "false"}),
    "maker first": ("20", "10", {"execution__style": "maker_first", "execution__leg_timeout_bars": "2"}),
    "perp makes": ("20", "10", {
        "execution__style": "maker_first", "execution__first_leg": "perp", "execution__leg_timeout_bars": "2",
    }),
    "maker first in parts": ("20", "10", IN_PARTS),
    "perp makes in parts": ("20", "10", IN_PARTS | {"execution__first_leg": "perp"}),
    "maker first in parts, running short": ("1.5", "0.5", IN_PARTS),
    "maker first in parts, running short, fee in quote": (
        "1.5", "0.5", IN_PARTS | {"fees__spot_buy_fee_in_base": "false"},
    ),
    "taker, short of volume": ("20", "10", {"slippage__max_participation": "0.002"}),
    "rebate in parts": ("20", "10", IN_PARTS | {"fees__override": REBATE}),
    "with slippage": ("20", "10", {"slippage__spot_half_spread_bps": "1.0", "slippage__impact_bps": "20.0"}),
}  # fmt: skip


def fee_assets(algorithm: Any) -> list[str]:
    names = algorithm.exchange.names.assets
    return [names[row.asset] for row in algorithm.exchange.world.ledger if row.flow == Flow.FEE]


@pytest.mark.parametrize("case", CASES)
def test_both_engines_pay_the_same_fees_and_hold_the_same(coin_folder: Path, case: str) -> None:
    spot_coins, perp_coins, changes = CASES[case]
    settings = given(spot_coins, perp_coins, **changes)
    algorithm = adapter_run(coin_folder, settings)
    world = embedded_run(coin_folder, settings)
    assert_same(algorithm, world, opens_at_last_close="perp" not in case)
    assets = set(fee_assets(algorithm))
    assert "BNB" in assets
    assert (assets == {"BNB"}) == ((spot_coins, perp_coins) == ("20", "10") and not case.startswith("rebate"))
    book = algorithm.portfolio.cash_book
    for asset, amount in algorithm.exchange.balances().items():  # what Lean holds, to a rounding of its own
        assert book[asset].amount == pytest.approx(amount, rel=1e-9, abs=1e-7)
    assert sorted(entry["event"] for entry in journal_of(world)) == sorted(
        entry["event"] for entry in journal_of(algorithm.exchange.world)
    )


def parts_of(algorithm: Any) -> dict[int, list[tuple[Any, Any]]]:
    """Fills of every resting order, in order of time."""
    found: dict[int, list[tuple[Any, Any]]] = {}
    for event, order in algorithm.double_events:
        if event.fill_quantity and type(order).__name__ == "LimitOrder":
            found.setdefault(order.id, []).append((event, order))
    return found


def test_each_part_of_a_resting_order_pays_in_the_coin_until_it_runs_out(coin_folder: Path) -> None:
    """The maker's 0.07 % less a quarter, as coins of the moment; the part that they do not cover pays in base."""
    algorithm = adapter_run(coin_folder, given("1.5", "0.5", **IN_PARTS))
    bought = [fills for fills in parts_of(algorithm).values() if len(fills) > 1 and fills[0][1].quantity > 0]
    assets = [[event.order_fee.value.currency for event, _ in fills] for fills in bought]
    assert any({"BNB", "BTC"} == set(found) for found in assets)  # it ran out within one order
    times, closes = (coin_columns()[name] for name in ("time_ms", "close"))
    held = Fraction(3, 2)
    for fills in bought[:1]:
        for event, _ in fills:
            now_ms = milliseconds(event.utc_time)
            known = Fraction(closes[np.searchsorted(times + HOUR_MS, now_ms, side="right") - 1])
            fee, paid = event.order_fee.value, Fraction(event.order_fee.value.amount)
            gross = Fraction(event.fill_quantity) + (paid if fee.currency == "BTC" else 0)
            coins = gross * Fraction(event.fill_price) * Fraction(7, 10_000) * Fraction(75, 100) / known
            assert (fee.currency == "BNB") == (coins <= held)
            if fee.currency == "BNB":
                held -= coins
            wanted = coins if fee.currency == "BNB" else gross * Fraction(7, 10_000)
            assert float(paid) == pytest.approx(float(wanted), rel=1e-5)


def journal_of(world: Any) -> list[dict[str, int]]:
    return [{"event": int(row.event)} for row in list(world.journal)[: int(world.run[0].journal_rows)]]


def test_the_fill_carries_a_fee_in_the_coin_by_hand(coin_folder: Path) -> None:
    algorithm = adapter_run(coin_folder, given("20", "10"))
    times, closes = (coin_columns()[name] for name in ("time_ms", "close"))
    seen = 0
    for event, order in algorithm.double_events:
        if not event.fill_quantity:
            continue
        now_ms = milliseconds(event.utc_time)
        known = closes[np.searchsorted(times + HOUR_MS, now_ms, side="right") - 1]  # last close at or before the fill
        is_spot = type(order.security).__name__ == "Crypto"
        share = Fraction(75, 100) * Fraction(1, 1000) if is_spot else Fraction(90, 100) * Fraction(5, 10_000)
        value = abs(Fraction(order.quantity)) * Fraction(event.fill_price)
        assert event.order_fee.value.currency == "BNB"
        assert event.order_fee.value.amount == pytest.approx(float(value * share / Fraction(known)), rel=1e-9)
        assert event.fill_quantity == order.quantity  # a spot buy keeps all of it
        seen += 1
    assert seen >= 4


def test_lean_converts_the_coin_at_a_market_of_its_own_and_begins_with_what_the_wallets_hold(coin_folder: Path) -> None:
    algorithm = engine.new_algorithm(coin_folder, given("20", "10"))
    assert [item.symbol.value for item in algorithm.double_securities] == ["BNBUSDT", "BTCUSDT", "BTCUSDT"]
    assert algorithm.portfolio.cash_book["BNB"].amount == 30.0
    assert algorithm.exchange.run.equity == pytest.approx(100_000.0 + 30.0 * float(coin_columns_open(algorithm)))


def coin_columns_open(algorithm: Any) -> float:
    rows = coin_columns()
    return float(rows["open"][np.searchsorted(rows["time_ms"], algorithm.feed.start_ms)])


def test_what_the_coin_gains_is_shown_so_that_the_parts_add_up(coin_folder: Path) -> None:
    algorithm = adapter_run(coin_folder, given("20", "10"))
    summary = algorithm.double_summary
    parts = sum(float(value) for name, value in summary.items() if name.removeprefix("Carry ") in (
        "basis", "delta", "funding", "borrow", "fees", "slippage", "collateral",
    ))  # fmt: skip
    start = 100_000.0 + 30.0 * coin_columns_open(algorithm)
    assert float(summary["Carry equity"]) - start == pytest.approx(parts, abs=1e-6)
    assert "Carry collateral" not in adapter_run_without(coin_folder).double_summary


def adapter_run_without(folder: Path) -> Any:
    algorithm = engine.new_algorithm(folder, parameters())
    spot, perp = algorithm.double_securities
    engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp})
    return algorithm


def test_a_folder_without_the_coin_is_refused(lean_folder: Path) -> None:
    with pytest.raises(DataError, match="BNBUSDT"):
        load_lean_market(lean_folder, settings_of(given("20", "10")))

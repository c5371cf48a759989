"""A whole run on the double: start-up, hooks, what is refused, and what Lean's result files get."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crypto.errors import DataError, RefusedError
from crypto.ledger import Component
from data.lean_folder import layout
from tests.lean import engine
from tests.lean.folder import MARK_PLACE, PERP_PLACE, SPOT_PLACE, columns, write_rates
from tests.lean.run_parameters import CONFIG, parameters

lean = engine.lean
Started = Callable[..., Any]

# -- what initialize sets -----------------------------------------------------------------------------------------


def test_the_warm_up_lies_inside_the_run_so_that_both_engines_decide_from_one_bar_on(started: Started) -> None:
    # 30 hours from 2020-03-10 end on the 11th: Lean's own period starts there, and a day of bars comes before.
    algorithm = started()
    assert algorithm.double_start == datetime(2020, 3, 11)
    assert algorithm.double_warm_up == timedelta(days=1)
    assert algorithm.double_end == datetime(2020, 3, 18)  # bars that end at this midnight are delivered


def test_a_short_warm_up_needs_none_of_leans(started: Started) -> None:
    algorithm = started(signal__warmup_hours="5.0")
    assert (algorithm.double_start, algorithm.double_warm_up) == (datetime(2020, 3, 10), timedelta(0))


def test_leans_settings_are_put_right(started: Started) -> None:
    algorithm = started()
    assert algorithm.settings.trading_days_per_year == 365  # 252 for every Python brokerage model
    assert algorithm.settings.minimum_order_margin_portfolio_percentage == 0  # small hedges would be dropped
    assert algorithm.portfolio.margin_call_model is lean.MarginCallModel.NULL
    assert algorithm.portfolio.cash_book["USDT"].amount == 100_000.0  # both wallets: Lean has one cash book


def test_spot_is_added_before_the_perp_so_that_it_prices_the_coin(started: Started) -> None:
    assert [type(item).__name__ for item in started().double_securities] == ["Crypto", "CryptoFuture"]


def test_the_period_comes_from_the_data_where_the_settings_have_none(lean_folder: Path) -> None:
    given = {name: value for name, value in parameters().items() if not name.startswith("run.")}
    algorithm = engine.new_algorithm(lean_folder, given)
    marks = columns("mark")["time_ms"]
    assert algorithm.feed.start_ms == marks[0]
    assert algorithm.feed.end_ms == marks[-1] + 3_600_000


# -- what is refused at the start ---------------------------------------------------------------------------------


def refused(folder: Path, **changes: str) -> str:
    with pytest.raises(RuntimeError) as caught:
        engine.new_algorithm(folder, parameters(**changes))
    return str(caught.value)


@pytest.fixture
def own_folder(lean_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lean_folder, tmp_path / "own"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"signal__holding_huors": "24"}, "holding_hours"),
        ({"signal__holding_hours": "-1"}, "signal.holding_hours"),
        ({"portfolio__deploy": "many"}, "portfolio.deploy"),
        ({"ema-fast": "10"}, "ema-fast"),
        ({"series": "funding volume"}, "volume"),
        ({"config": "config/none.toml"}, "none.toml"),
        ({"run__timeframe": "4h"}, "1h"),
        ({"run__account": "lean"}, "imitate stock Lean"),
        ({"funding__clock": "lean"}, "imitate stock Lean"),
        ({"run__start": "2020-01-01"}, "the run is 2020-01-01"),
        ({"run__end": "2021-01-01"}, "the run is 2020-03-10"),
    ],
)
def test_wrong_parameters_are_refused_with_a_remedy(lean_folder: Path, changes: dict[str, str], words: str) -> None:
    message = refused(lean_folder, **changes)
    assert words in message
    assert message.partition("Remedy: ")[2]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (PERP_PLACE.rate_path, "no funding"),
        (MARK_PLACE.bars_path(), "no mark prices"),
        (SPOT_PLACE.bars_path(), "no bars of binance:spot:BTCUSDT"),
        (PERP_PLACE.bars_path(), "no bars of binance:linear:BTCUSDT"),
        (layout.SYMBOL_PROPERTIES, "does not exist"),
    ],
)
def test_missing_files_are_named(own_folder: Path, path: str, words: str) -> None:
    (own_folder / path).unlink()
    message = refused(own_folder)
    assert words in message
    assert "carry lean export" in message


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none")


def test_a_symbol_without_properties_is_named(own_folder: Path) -> None:
    path = own_folder / layout.SYMBOL_PROPERTIES
    rows = [line for line in path.read_text().splitlines() if not line.startswith("binance,BTCUSDT,cryptofuture")]
    path.write_text("\n".join(rows) + "\n")
    assert "has no binance,BTCUSDT,cryptofuture" in refused(own_folder)


def test_contracts_that_lean_takes_for_inverse_are_refused(own_folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    key = "binance:linear:BTCUSD1"
    text = CONFIG.read_text().replace("binance:linear:BTCUSDT", key)
    filters = 'tick = 0.1\nlot = 0.001\nmin_quantity = 0.001\nmin_notional = 5\nbase = "BTC"\nquote = "USD1"\n'
    config.write_text(f'{text}\n[instruments."{key}"]\n{filters}')
    assert "takes a perpetual quoted in USD1 for an inverse contract" in refused(own_folder, config=str(config))


def test_marks_are_not_needed_where_nothing_is_paid_or_valued_on_them(own_folder: Path) -> None:
    (own_folder / MARK_PLACE.bars_path()).unlink()
    engine.new_algorithm(own_folder, parameters(funding__price="last", data__valuation_price="last"))


@pytest.mark.parametrize("text", ["8.4e-7", "1e-05", "nan", "+0.0001"])
def test_rates_that_lean_would_misread_are_refused(own_folder: Path, text: str) -> None:
    path = own_folder / PERP_PLACE.rate_path
    path.write_text(path.read_text().replace("0.00062", text, 1) + f"20200325 00:00:00,{text}\n")
    assert text in refused(own_folder)


def test_live_trading_is_refused(lean_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init = lean.QCAlgorithm.__init__

    def live(self: Any) -> None:
        init(self)
        self.live_mode = True

    monkeypatch.setattr(lean.QCAlgorithm, "__init__", live)
    assert "only runs backtests" in refused(lean_folder)


# -- settlements off Lean's clock ---------------------------------------------------------------------------------


def test_contracts_that_settle_every_four_hours_are_paid_every_four_hours(own_folder: Path) -> None:
    rates = columns("funding")
    first, last = int(rates["time_ms"][0]), int(rates["time_ms"][-1])
    stamps = list(range(first, last + 1, 4 * 3_600_000))
    often = {"time_ms": np.array(stamps), "funding_rate": np.full(len(stamps), 0.0002)}
    write_rates(own_folder, PERP_PLACE, often, "funding_rate")
    algorithm = engine.new_algorithm(own_folder, parameters())
    spot, perp = algorithm.double_securities
    engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp})
    paid = [row.time_ms // 3_600_000 % 24 for row in algorithm.exchange.world.ledger if row.flow == 4]
    assert {0, 4, 8, 12, 16, 20} == set(paid)


def test_a_missing_settlement_is_not_paid_with_a_stale_rate(own_folder: Path) -> None:
    path = own_folder / PERP_PLACE.rate_path
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("20200312 00")) + "\n")
    algorithm = engine.new_algorithm(own_folder, parameters(funding__missing_rate="skip"))
    spot, perp = algorithm.double_securities
    engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp})
    when = 1_583_971_200_000  # 2020-03-12 00:00 UTC
    times = [row.time_ms for row in algorithm.exchange.world.ledger if row.flow == 4]
    assert when not in times
    assert algorithm.exchange.run.rate_skipped == 1


def test_the_policy_to_fail_stops_the_run_by_name(own_folder: Path) -> None:
    path = own_folder / PERP_PLACE.rate_path
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("20200312 00")) + "\n")
    algorithm = engine.new_algorithm(own_folder, parameters())
    spot, perp = algorithm.double_securities
    with pytest.raises(DataError, match="binance:linear:BTCUSDT: no funding rate for the settlement of 2020-03-12"):
        engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp})


# -- hooks --------------------------------------------------------------------------------------------------------


def test_the_kill_command_closes_everything_and_stays_off(started: Started) -> None:
    algorithm = started()
    spot, perp = algorithm.double_securities
    killed = False

    def kill_when_held(found: Any, _: datetime) -> None:
        nonlocal killed
        if not killed and perp.holdings.quantity != 0:
            killed = found.on_command(SimpleNamespace(kill=True))

    engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp}, kill_when_held)
    assert killed is True
    assert perp.holdings.quantity == 0
    assert spot.holdings.quantity == pytest.approx(0.0, abs=1e-5)
    assert len(engine.filled(algorithm)) == 4  # in and out, and never again
    assert algorithm.double_summary["Carry kill switch"] == "on"


def test_an_unknown_command_does_nothing(started: Started) -> None:
    algorithm = started()
    assert algorithm.on_command(SimpleNamespace(sell="all")) is False
    assert "unknown command" in algorithm.double_log[-1]


def test_an_order_that_lean_leaves_hanging_stops_the_run(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fill model that raises leaves an order SUBMITTED for ever, and Lean ends with exit code 0."""
    algorithm = started()
    spot, perp = algorithm.double_securities
    monkeypatch.setattr(lean.QCAlgorithm, "double_fill", lambda *_: None)
    with pytest.raises(RefusedError, match="in state"):
        engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp})


def test_a_refusal_of_lean_is_an_ended_order_and_not_a_position(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = started()
    spot, perp = algorithm.double_securities
    poor = lean.HasSufficientBuyingPowerForOrderResult(False, "none left")
    monkeypatch.setattr(
        type(perp.buying_power_model), "has_sufficient_buying_power_for_order", lambda *_: poor, raising=True
    )
    engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp})
    # Every entry buys spot, is refused the hedge, and takes the spot back: no leg stays alone.
    assert perp.holdings.quantity == 0
    assert spot.holdings.quantity == pytest.approx(0.0, abs=2e-5)
    assert {row.reason for row in algorithm.exchange.world.orders if row.leg == 1} == {3}  # no margin


def test_money_that_moved_outside_the_ledger_is_noticed(started: Started) -> None:
    algorithm = started()
    algorithm.portfolio.cash_book["USDT"].add_amount(5.0)
    with pytest.raises(RefusedError, match="USDT in the cash book"):
        algorithm.on_end_of_algorithm()


def test_a_position_that_moved_outside_the_ledger_is_noticed(started: Started) -> None:
    algorithm = started()
    algorithm.double_securities[1].holdings.quantity = 0.5
    with pytest.raises(RefusedError, match="binance:linear:BTCUSDT"):
        algorithm.on_end_of_algorithm()


# -- what Lean's result gets --------------------------------------------------------------------------------------


def test_statistics_say_what_the_trade_lived_on(finished: Started) -> None:
    algorithm = finished()
    start = 100_000.0
    parts = sum(algorithm.post_trade.total(component) for component in Component)
    assert algorithm.exchange.run.equity - start == pytest.approx(parts, abs=1e-6)
    shown = algorithm.double_summary
    assert float(shown["Carry funding"]) == pytest.approx(algorithm.post_trade.total(Component.FUNDING), abs=1e-8)
    assert set(shown) >= {"Carry basis", "Carry borrow", "Carry fees", "Carry equity", "Carry settlements paid"}
    names = {(chart, series) for chart, series, _ in algorithm.double_charts}
    assert {("Carry", name) for name in ("basis", "delta", "funding", "borrow", "fees", "slippage")} <= names
    assert ("Liquidation distance", "percent") in names
    assert "Funding" in algorithm.double_runtime


def test_equity_is_leans_portfolio_value_on_mark(finished: Started) -> None:
    """Lean's own figure is cash and perp profit on last prices; with the mark in their place it is the ledger's."""
    algorithm = finished()
    spot, perp = algorithm.double_securities
    book, leg = algorithm.portfolio.cash_book, algorithm.exchange.world.legs[1]
    value = book["USDT"].amount + book["BTC"].amount * spot.price
    value += perp.holdings.quantity * (leg.value_price - perp.holdings.average_price)
    assert algorithm.exchange.run.equity == pytest.approx(value, rel=1e-12)


def test_every_payment_is_in_the_ledger_of_the_object_store(finished: Started) -> None:
    algorithm = finished()
    rows = list(csv.DictReader(io.StringIO(algorithm.object_store.files["recorded/ledger.csv"])))
    assert len(rows) == len(algorithm.exchange.world.ledger)
    assert {row["flow"] for row in rows} >= {"opening", "trade", "fee", "funding", "realised"}
    funding = [row for row in rows if row["flow"] == "funding"]
    assert all(row["leg"] == "binance:linear:BTCUSDT" and row["wallet"] == "binance:linear" for row in funding)


def test_a_name_that_the_object_store_would_refuse_is_written_otherwise(finished: Started) -> None:
    algorithm = finished(run__name="v1.2 + hourly")
    assert set(algorithm.object_store.files) == {"v1-2-hourly/ledger.csv"}


def test_a_ledger_that_the_object_store_does_not_take_is_reported(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = started()
    monkeypatch.setattr(algorithm.object_store, "double_limit", 10)
    algorithm.on_end_of_algorithm()
    assert algorithm.double_errors == [
        "the object store did not take recorded/ledger.csv: raise storage-limit in Lean's configuration"
    ]


def test_points_of_the_charts_are_few(finished: Started) -> None:
    algorithm = finished()
    assert len([1 for chart, series, _ in algorithm.double_charts if (chart, series) == ("Carry", "funding")]) <= 9
    assert algorithm.double_log[0].startswith("2020-03-10T01:00:00Z: equity 100,000.00")  # progress, for the runner


BORROW_PLACE = layout.Place(layout.CRYPTO_FUTURE, "binanceborrow", "BTCUSDT")


@pytest.mark.parametrize("series", ["index", "oracle", "venue_oracle", "borrow"])
def test_a_series_that_the_folder_does_not_have_is_refused(lean_folder: Path, series: str) -> None:
    """Lean would deliver nothing and say nothing."""
    message = refused(lean_folder, series=f"funding mark {series}")
    assert f"no {series} series of binance:linear:BTCUSDT" in message or "mark" in message
    assert "carry lean export" in message


def test_series_that_a_stage_asks_for_are_subscribed(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[tuple[str, str, Any, Any]] = []

    def add_data(_: Any, cls: Any, ticker: str, resolution: Any, zone: Any) -> Any:
        added.append((cls.__name__, ticker, resolution, zone))
        return SimpleNamespace(symbol=(cls.__name__, ticker))

    monkeypatch.setattr(lean.QCAlgorithm, "add_data", add_data, raising=False)
    write_rates(own_folder, BORROW_PLACE, {"time_ms": np.array([0]), "rate": np.array([1e-5])}, "rate")
    algorithm = engine.new_algorithm(own_folder, parameters(series="funding borrow"))
    assert added == [
        ("FundingRate", "binance.BTCUSDT", lean.Resolution.TICK, "UTC"),  # New York is Lean's default
        ("BorrowRate", "binance.BTCUSDT", lean.Resolution.TICK, "UTC"),
    ]
    found = {("FundingRate", "binance.BTCUSDT"): SimpleNamespace(value=0.0003)}

    class Given(dict[Any, Any]):
        contains_key = dict.__contains__

    algorithm.series.take(Given(found))
    assert algorithm.series.latest == {("binance:linear:BTCUSDT", "funding"): 0.0003}


# -- Lean's container ---------------------------------------------------------------------------------------------

BLOCKED = ("ccxt", "websockets", "msgspec", "typer", "rich", "aiohttp", "requests", "IPython", "hypothesis")
PROBE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError("not in Lean's container: " + name)

sys.meta_path.insert(0, Blocked())
sys.path[:0] = [{root!r}, {double!r}]
import main
import models.custom_data, crypto.attribution, crypto.adl
assert main.CarryAlgorithm
loaded = sorted(name.partition(".")[0] for name in sys.modules)
assert not set(loaded) & set({blocked!r}), loaded
"""


CONTAINER = {"numpy": "1.26.4", "pandas": "2.3.3", "numba": "0.61.2", "pyarrow": "19.0.1"}


def test_main_and_models_import_with_what_leans_container_has() -> None:
    assert sys.version_info[:2] == (3, 11)
    assert {name: metadata.version(name) for name in CONTAINER} == CONTAINER
    code = PROBE.format(blocked=BLOCKED, root=str(engine.ROOT), double=str(engine.DOUBLE))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


COMPILES = """
import gc, sys, tempfile
from pathlib import Path
sys.path.insert(0, {root!r})
from numba.core.dispatcher import Dispatcher
from tests.lean import engine
from tests.lean.run_parameters import parameters
from tests.lean.folder import write_folder
with tempfile.TemporaryDirectory() as folder:
    algorithm = engine.new_algorithm(write_folder(Path(folder)), parameters())
    spot, perp = algorithm.double_securities
    engine.run(algorithm, engine.recorded_slices(), {{"spot": spot, "perp": perp}})
assert len(engine.filled(algorithm)) >= 4
compiled = [found.py_func.__name__ for found in gc.get_objects() if isinstance(found, Dispatcher) and found.signatures]
assert compiled == [], compiled
"""


def test_a_run_compiles_nothing() -> None:
    """Compiling the simulator takes half a minute, which no backtest in a fresh container should wait for."""
    code = COMPILES.format(root=str(engine.ROOT))
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert found.returncode == 0, found.stderr


def test_main_is_short_and_defines_one_algorithm() -> None:
    text = (engine.ROOT / "main.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert text.count("(QCAlgorithm)") == 1


# -- order of calls -----------------------------------------------------------------------------------------------


def test_the_double_calls_models_and_algorithm_in_the_recorded_order(started: Started) -> None:
    """Margin interest of spot, then of the perp, then on_data: in every hour of the recording, and of the double."""
    wanted = ("margin_interest_rate_model.apply_margin_interest_rate", "on_data")
    rows = [json.loads(line) for line in (engine.SYNTHETIC / "model-calls.jsonl").read_text().splitlines()]
    hours: dict[str, list[str]] = {}
    for row in rows:
        if row["call"] in wanted:
            name = row["parameters"]["security"]["name"] if "parameters" in row else "on_data"
            hours.setdefault(row["utc_time"], []).append(name)
    assert len(hours) > 20
    recorded_order = {tuple(order) for order in hours.values()}
    assert recorded_order == {("spot", "perp", "on_data")}

    algorithm, seen = started(), []
    spot, perp = algorithm.double_securities
    for name, security in (("spot", spot), ("perp", perp)):
        security.margin_interest_rate_model = SimpleNamespace(
            apply_margin_interest_rate=lambda _, name=name: seen.append(name)
        )
    algorithm.on_data = lambda _: seen.append("on_data")
    engine.step(algorithm, engine.at("2020-03-10T01:00:00Z"), {})
    assert tuple(seen) in recorded_order

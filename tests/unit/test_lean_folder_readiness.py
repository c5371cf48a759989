"""Before Lean starts: whether the data folder serves the run, and the configuration that the run gets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crypto.errors import DataError, RefusedError, UsageError
from crypto.settings import (
    BorrowSettings,
    DataSettings,
    DiscountSettings,
    FeeSettings,
    FundingSettings,
    PairSettings,
    PriceSource,
    RunSettings,
    Settings,
)
from data.lean_config import command_line_config, launcher_config, make_job, parameters_from
from data.lean_folder.export import ExportOptions, export
from data.lean_folder.readiness import Period, check_ready
from data.settings import load_settings
from data.store.lake import Lake
from data.store.series import Provenance, SeriesKey

T0 = 1_704_067_200_000  # 2024-01-01 00:00 UTC
HOUR = 3_600_000
DAY = 24 * HOUR
SETTINGS = Settings(
    run=RunSettings(name="my run", seed=7), pairs=(PairSettings("binance:spot:BTCUSDT", "binance:linear:BTCUSDT"),)
)


def key(kind: str, series: str, timeframe: str = "", symbol: str = "BTCUSDT") -> SeriesKey:
    return SeriesKey("binance", kind, symbol, series, timeframe)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake, times = Lake(tmp_path / "lake"), T0 + np.arange(72, dtype=np.int64) * HOUR
    prices = {name: np.full(72, 100.0) for name in ("open", "high", "low", "close")}
    made = Provenance("made up", synthetic=True)
    for kind in ("spot", "linear"):
        lake.write(key(kind, "bars", "1h"), {"time_ms": times, **prices, "volume": prices["open"]}, made)
    lake.write(key("linear", "mark", "1h"), {"time_ms": times, **prices}, made)
    lake.write(key("linear", "funding"), {"time_ms": times[::8], "funding_rate": np.full(9, 1e-4)}, made)
    return lake


@pytest.fixture
def root(lake: Lake, tmp_path: Path) -> Path:
    export(lake, tmp_path / "lean", ExportOptions())
    return tmp_path / "lean"


def test_the_period_is_what_all_legs_hold_or_what_is_asked_for(root: Path) -> None:
    assert check_ready(root, SETTINGS) == Period(T0, T0 + 3 * DAY)
    asked = replace(SETTINGS, run=RunSettings(start="2024-01-02", end="2024-01-03T12:00Z"))
    assert check_ready(root, asked) == Period(T0 + DAY, T0 + 2 * DAY + 12 * HOUR)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2023-12-31", "", "binance:spot:BTCUSDT bars 1h in the data folder reaches from 2024-01-01T00:00:00Z"),
        ("", "2024-01-05", "reaches from 2024-01-01T00:00:00Z to 2024-01-04T00:00:00Z, the run from"),
        ("2024-01-03", "2024-01-02", "no period is left"),
    ],
)
def test_a_period_that_is_not_held_is_refused(root: Path, start: str, end: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        check_ready(root, replace(SETTINGS, run=RunSettings(start=start, end=end)))
    assert message in caught.value.message


def exported_without(lake: Lake, root: Path, gone: SeriesKey) -> None:
    lake.path(gone).unlink()
    export(lake, root, ExportOptions())


def test_missing_series_are_named(lake: Lake, root: Path) -> None:
    exported_without(lake, root, key("linear", "mark", "1h"))
    with pytest.raises(DataError, match="the data folder has no binance:linear:BTCUSDT mark 1h"):
        check_ready(root, SETTINGS)
    on_last = replace(
        SETTINGS, data=DataSettings(valuation_price=PriceSource.LAST), funding=FundingSettings(price=PriceSource.LAST)
    )
    assert check_ready(root, on_last) == Period(T0, T0 + 3 * DAY)
    exported_without(lake, root, key("linear", "funding"))
    with pytest.raises(DataError, match="has no binance:linear:BTCUSDT funding"):
        check_ready(root, on_last)
    exported_without(lake, root, key("linear", "bars", "1h"))
    with pytest.raises(DataError, match="has no binance:linear:BTCUSDT bars 1h"):
        check_ready(root, on_last)


def test_a_coin_that_pays_fees_needs_its_bars(lake: Lake, root: Path) -> None:
    paying = replace(
        SETTINGS,
        wallets={"binance:spot": {"USDT": 1_000.0, "BNB": 1.0}},
        fees=FeeSettings(discount={"binance": DiscountSettings(enabled=True)}),
    )
    with pytest.raises(DataError, match="the data folder has no binance:spot:BNBUSDT bars 1h"):
        check_ready(root, paying)
    times = T0 + np.arange(48, dtype=np.int64) * HOUR
    prices = {name: np.full(48, 300.0) for name in ("open", "high", "low", "close", "volume")}
    lake.write(key("spot", "bars", "1h", "BNBUSDT"), {"time_ms": times, **prices}, Provenance("made up"))
    export(lake, root, ExportOptions())
    assert check_ready(root, paying) == Period(T0, T0 + 2 * DAY)  # what the coin's bars leave of the run


def test_funding_has_to_reach_the_end(lake: Lake, root: Path) -> None:
    lake.write(key("linear", "funding"), {"time_ms": np.array([T0, T0 + 8 * HOUR]), "funding_rate": np.zeros(2)},
               Provenance("made up", synthetic=True))  # fmt: skip
    export(lake, root, ExportOptions())
    with pytest.raises(DataError, match="binance:linear:BTCUSDT funding in the data folder reaches"):
        check_ready(root, SETTINGS)


def test_borrow_rates_are_needed_where_spot_is_borrowed(lake: Lake, root: Path) -> None:
    borrowing = replace(SETTINGS, borrow=BorrowSettings(enabled=True))
    with pytest.raises(DataError, match="has no binance:asset:BTC borrow, and settings give no rate"):
        check_ready(root, borrowing)
    given = replace(SETTINGS, borrow=BorrowSettings(enabled=True, hourly_rate={"binance": {"BTC": 1e-6}}))
    assert check_ready(root, given).start_ms == T0
    rates = {"time_ms": np.array([T0]), "hourly_rate": np.array([1e-6])}
    lake.write(SeriesKey("binance", "asset", "BTC", "borrow"), rates, Provenance("made up", synthetic=True))
    export(lake, root, ExportOptions())
    assert check_ready(root, borrowing).end_ms == T0 + 3 * DAY


def test_bars_that_lean_lacks_are_refused(root: Path) -> None:
    with pytest.raises(DataError, match="Lean has no 4h bars"):
        check_ready(root, replace(SETTINGS, run=RunSettings(timeframe="4h")))


def test_a_missing_foreign_or_changed_folder_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        check_ready(tmp_path / "absent", SETTINGS)
    with pytest.raises(RefusedError, match="was not written by carry lean export"):
        check_ready(tmp_path / "lake", SETTINGS)
    (root / "cryptofuture/binance/margin_interest/btcusdt.csv").write_text("20240101 00:00:00,8.4e-7\n")
    with pytest.raises(RefusedError, match="files of binance:linear:BTCUSDT funding in .* are not those"):
        check_ready(root, SETTINGS)


def test_a_symbol_without_properties_is_named(root: Path) -> None:
    path = root / "symbol-properties/symbol-properties-database.csv"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("binance,BTCUSDT,cryptofuture")]
    path.write_text("\n".join(kept) + "\n")
    with pytest.raises(DataError, match="no symbol properties of binance:linear:BTCUSDT"):
        check_ready(root, SETTINGS)
    path.unlink()
    with pytest.raises(DataError, match=r"symbol-properties-database.csv does not exist"):
        check_ready(root, SETTINGS)


# --- the configuration --------------------------------------------------------------------------------------------


def test_parameters_are_a_flat_map_of_texts() -> None:
    parameters = parameters_from("config/a.toml", ["signal.holding_hours = 240", "run.seed=1", "run.seed=2"])
    assert parameters == {"config": "config/a.toml", "signal.holding_hours": "240", "run.seed": "2"}
    with pytest.raises(UsageError, match="section.key=value"):
        parameters_from("a", ["signal"])


def test_one_configuration_per_run(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    period = Period(T0, T0 + DAY)
    job = make_job(
        tmp_path, tmp_path / "config/a.toml", ["run.start=2020", "run.seed=7"], SETTINGS, tmp_path / "lean", period
    )
    config = launcher_config(job, tmp_path / "out", tmp_path / "launcher", tmp_path / "venv")
    assert config["algorithm-id"] == "my-run-7"
    assert config["parameters"] == {
        "config": "config/a.toml",
        "run.start": "2024-01-01T00:00:00Z",
        "run.seed": "7",
        "run.end": "2024-01-02T00:00:00Z",
    }
    assert all(isinstance(value, str) for value in config["parameters"].values())  # a nested value aborts Lean
    assert config["environment"] == "backtesting"
    assert config["environments"]["backtesting"]["live-mode"] is False
    assert config["algorithm-language"] == "Python"
    assert config["algorithm-location"] == str(tmp_path / "main.py")
    assert config["data-folder"] == f"{tmp_path / 'lean'}/"
    assert config["results-destination-folder"] == str(tmp_path / "out")
    assert config["python-additional-paths"] == [str(tmp_path), str(tmp_path / "launcher")]
    assert config["composer-dll-directory"] == str(tmp_path / "launcher")
    assert config["python-venv"] == str(tmp_path / "venv")
    assert "python-venv" not in launcher_config(job, tmp_path / "out")
    with pytest.raises(UsageError, match="is not below"):
        make_job(tmp_path / "config", tmp_path / "a.toml", [], SETTINGS, tmp_path, period)


def test_the_repository_can_be_run_by_leans_command_line(repository: Path) -> None:
    assert json.loads((repository / "lean.json").read_text()) == command_line_config()
    project = json.loads((repository / "config.json").read_text())
    assert project["algorithm-language"] == "Python"
    assert load_settings(repository / project["parameters"]["config"]).pairs

"""Whole backtests on real market data, from files through the product's own commands to results and report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cli import app
from crypto.ledger import Flow
from crypto.pipeline.features import Features
from crypto.pipeline.portfolio import Account, Action, Filters, Target
from crypto.pipeline.reasons import Reason
from crypto.pipeline.signal import Position, Signal
from crypto.result import BacktestResult
from crypto.settings import DataSettings, FundingSettings, GracePolicy, PairSettings, PriceSource, RunSettings, Settings
from crypto.simulator.python_strategy import PythonPipeline
from data.settings import load_settings
from research.backtest import load, run_backtest

CONFIG = Path(__file__).parents[2] / "config"
FOLDERS = (
    ("binance-usdm-1h-roshan7869", "binance"),
    ("bybit-linear-1h-mohsenjfar", "bybit"),
    ("binance-5m-2025-10-harthor", "binance"),
)
RUNS = ("binance-six-years", "bybit", "two-venues", "2025-10-10")


@pytest.fixture(scope="module")
def lake(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the real files, filled by the command line."""
    root = tmp_path_factory.mktemp("backtests") / "lake"
    spot = shared_data / "bybit-spot-misc" / "alejop27_BTC_USDT-1h_2024-11.feather"
    commands = [["ingest", "freqtrade", str(shared_data / folder), "--venue", venue] for folder, venue in FOLDERS]
    commands += [
        [
            *[
                "ingest",
                "freqtrade",
                "--venue",
                "bybit",
                "--kind",
                "spot",
                "--symbol",
                "BTCUSDT",
                "--timeframe",
                "1h",
                "--file",
            ],
            str(spot),
        ],
        [
            "ingest",
            "freqtrade",
            str(shared_data / "bybit-spot-perp-5m-2025h1-logashan"),
            *["--venue", "bybit", "--resample", "1h"],
        ],
    ]
    for command in commands:
        assert app.run([*command, "--lake", str(root), "--json"]) == 0
    return root


@pytest.fixture(scope="module")
def results(lake: Path) -> Callable[[str], BacktestResult]:
    """Result of one of the shipped configurations, run once."""
    done: dict[str, BacktestResult] = {}

    def result(name: str) -> BacktestResult:
        if name not in done:
            settings = load_settings(CONFIG / f"{name}.toml", [f"data.lake={lake}"])
            done[name] = run_backtest(settings, load(settings))
        return done[name]

    return result


@pytest.mark.parametrize("name", RUNS)
def test_the_shipped_configurations_run_to_the_end(results: Callable[[str], BacktestResult], name: str) -> None:
    result = results(name)
    assert result.status == "completed"
    assert not result.provenance["synthetic"]
    assert result.summary["rejected"] == 0
    assert len(result.trips) >= len(result.pair_names)


@pytest.mark.parametrize("name", RUNS)
def test_attribution_sums_to_the_change_of_equity(results: Callable[[str], BacktestResult], name: str) -> None:
    result = results(name)
    tolerance = 1e-9 * result.equity.max()
    np.testing.assert_allclose(np.diff(result.equity), result.attribution[1:].sum(axis=(1, 2)), rtol=0, atol=tolerance)
    by_wallet = result.wallet_attribution[1:].sum(axis=2)
    np.testing.assert_allclose(np.diff(result.wallet_equity, axis=0), by_wallet, rtol=0, atol=tolerance)
    by_pair = result.attribution[1:, :-1].sum(axis=2)
    np.testing.assert_allclose(np.diff(result.pair_pnl, axis=0), by_pair, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", RUNS)
def test_a_hedged_book_earns_nothing_from_the_direction_of_prices(
    results: Callable[[str], BacktestResult], name: str
) -> None:
    # Bitcoin went from 7,200 to 79,000 in the long run: one unhedged per cent of the book would show as thousands.
    result = results(name)
    assert abs(result.summary["components"]["delta"]) < 1e-4 * result.summary["start_equity"]


def test_funding_of_the_portfolio_is_what_its_positions_earned(results: Callable[[str], BacktestResult]) -> None:
    result = results("binance-six-years")
    rows = result.ledger[result.ledger["flow"] == int(Flow.FUNDING)]
    paid = -rows["quantity"] * rows["price"] * rows["rate"]
    np.testing.assert_allclose(rows["amount"], paid, rtol=1e-12)
    corrections = result.ledger[result.ledger["flow"] == int(Flow.FUNDING_GRACE)]["amount"].sum()
    total = float(paid.sum() + corrections)
    assert result.summary["components"]["funding"] == pytest.approx(total, rel=1e-12)
    keys = rows[["leg", "time_ms"]]
    assert np.unique(keys).size == keys.size  # once per settlement


def test_the_crash_of_2025_10_10_is_survived_hedged(results: Callable[[str], BacktestResult]) -> None:
    # Basis of BTC between -51 and +69 bp within 15 minutes: the book moves with it and with nothing else.
    result = results("2025-10-10")
    basis = result.basis_bps[:, 0]
    assert np.nanmin(basis) == pytest.approx(-51, abs=1.5)
    assert np.nanmax(basis) == pytest.approx(69, abs=1.5)
    assert result.summary["max_drawdown"] > -0.02


def test_files_and_report_hold_the_same_run(lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "backtest",
        "--config",
        str(CONFIG / "bybit.toml"),
        "--lake",
        str(lake),
        "--out",
        str(tmp_path),
        "--json",
    ]
    assert app.run(arguments) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    directory = Path(printed["directory"])
    ledger = pq.read_table(directory / "ledger.parquet").to_pandas()
    funding = ledger.loc[ledger["flow"].isin(["funding", "funding_grace"]), "value"].sum()
    assert funding == pytest.approx(printed["summary"]["components"]["funding"], rel=1e-12)
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert "BTC bybit" in page
    assert "SYNTHETIC MARKET" not in page


class HoldOneBitcoin:
    """Buy one bitcoin spot, sell one perp at the first instant, and hold."""

    def evaluate(self, seen: Features, held: Position) -> Signal:
        return Signal(1, math.nan, math.nan, math.nan, int(Reason.HOLD))

    def allocate(self, found: Signal, seen: Features, held: Position, account: Account, filters: Filters) -> Target:
        if held.direction != 0:
            return Target(int(Action.KEEP), 0, 0, 0, 0.0, int(Reason.HOLD))
        perp_lots = round(1.0 / filters.perp_base_per_lot)
        spot_lots = round(1.0 / filters.spot_base_per_lot)
        return Target(int(Action.OPEN), 1, spot_lots, -perp_lots, 0.0, int(Reason.ENTER_LONG_SPOT))


# Sums of rate x price over all 6,981 settlements in (start, end], worked out from the files alone.
STATIC = {PriceSource.MARK: 35_033.54, PriceSource.LAST: 35_035.49}


@pytest.mark.parametrize("source", STATIC)
def test_one_bitcoin_held_for_six_years_earns_the_funding_of_the_files(lake: Path, source: PriceSource) -> None:
    settings = Settings(
        run=RunSettings(name="static", start="2020-01-01", end="2026-05-16"),
        data=DataSettings(lake=str(lake)),
        wallets={"binance:spot": {"USDT": 100_000.0}, "binance:linear": {"USDT": 300_000.0}},
        pairs=(PairSettings("binance:spot:BTCUSDT", "binance:linear:BTCUSDT"),),
        funding=FundingSettings(price=source, grace=GracePolicy.INSTANT),
    )
    settings = replace(settings, risk=replace(settings.risk, max_drawdown=1.0))
    hold = HoldOneBitcoin()
    result = run_backtest(settings, load(settings), strategy=PythonPipeline(signal_model=hold, allocator=hold))
    rows = result.ledger[result.ledger["flow"] == int(Flow.FUNDING)]
    assert rows.size == 6_981
    assert rows["amount"].sum() == pytest.approx(STATIC[source], abs=0.005)

"""Funding research on real rates: yearly sums, venue spreads, interval switches, clamps, and 539 symbols at once.

Expected values stand in the notes that were made of the files when they were collected, or are recomputed here from
the files with pandas alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cli import app
from research.funding.history import FundingHistories
from research.scripts import funding

YEARLY = {  # sum of all settlements, per cent of notional
    ("binance", "BTCUSDT"): {2019: 2.31, 2020: 17.24, 2021: 30.61, 2022: 4.16, 2023: 7.87,
                             2024: 11.96, 2025: 5.13, 2026: 0.12},
    ("binance", "ETHUSDT"): {2020: 27.49, 2021: 37.54, 2022: 0.79, 2023: 8.26, 2024: 13.00, 2025: 4.93, 2026: -0.06},
    ("binance", "XRPUSDT"): {2020: 24.30, 2021: 48.14, 2022: 0.01, 2023: 8.20, 2024: 14.23, 2025: 3.53, 2026: -0.69},
    ("binance", "SOLUSDT"): {2024: 13.66, 2025: 0.35, 2026: -1.37},
    ("bybit", "BTCUSDT"): {2024: 12.02, 2025: 5.12, 2026: 0.29},
    ("bybit", "ETHUSDT"): {2024: 12.50, 2025: 4.83, 2026: 0.31},
    ("bybit", "SOLUSDT"): {2024: 14.05, 2025: 1.94, 2026: -0.15},
}  # fmt: skip


def ingest(*arguments: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "COMMAND_MODULES", ("cli.ingest",))
        assert app.run([str(argument) for argument in ("ingest", *arguments)]) == 0


@pytest.fixture(scope="module")
def histories(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> FundingHistories:
    """Funding of Binance, Bybit and Hyperliquid out of freqtrade files."""
    lake = tmp_path_factory.mktemp("histories") / "lake"
    for folder, venue in (
        ("binance-usdm-1h-roshan7869", "binance"),
        ("binance-usdm-1h-saam0", "binance"),
        ("bybit-linear-1h-mohsenjfar", "bybit"),
        ("hyperliquid-hippocritical", "hyperliquid"),
    ):
        for file in sorted((shared_data / folder / "futures").glob("*funding_rate.feather")) or sorted(
            (shared_data / folder).glob("*funding_rate.feather")
        ):
            parts = file.name.split("-")[0].split("_")
            of = ("--venue", venue, "--kind", "linear", "--symbol", f"{parts[0]}{parts[1]}", "--series", "funding")
            ingest("freqtrade", "--file", file, *of, "--lake", lake)
    return funding.load(lake, tolerance_ms=1_500_000)


@pytest.fixture(scope="module")
def universe_table(shared_data: Path) -> Path:
    """A long table of 539 Binance symbols."""
    return shared_data / "binance-usdm-539sym-gravestone" / "funding_all_symbols.csv.gz"


@pytest.fixture(scope="module")
def universe(universe_table: Path, tmp_path_factory: pytest.TempPathFactory) -> FundingHistories:
    lake = tmp_path_factory.mktemp("universe") / "lake"
    ingest("funding-table", universe_table, "--venue", "binance", "--lake", lake)
    return funding.load(lake)


def test_sums_by_year_are_those_of_the_record(histories: FundingHistories) -> None:
    found = funding.by_year(histories).set_index(["venue", "symbol", "year"])["funding_percent"]
    for contract, years in YEARLY.items():
        for year, expected in years.items():
            assert round(found[(*contract, year)], 2) == expected, (contract, year)


def test_binance_against_bybit(histories: FundingHistories) -> None:
    """Correlation 0.83, mean 0.00 bp, deviation 0.62 bp per 8 h: the record's figures for December 2023 on."""
    found = funding.spreads(histories).set_index(["left", "right"]).loc["binance BTCUSDT", "bybit BTCUSDT"]
    assert found["windows"] == 2349
    assert round(found["correlation"], 2) == 0.83
    assert round(found["mean_spread_bps"], 2) == 0.00
    assert round(found["spread_deviation_bps"], 2) == 0.62
    assert found["mean_spread_low95_bps"] < 0.0 < found["mean_spread_high95_bps"]
    assert found["correlation_low95"] < 0.83 < found["correlation_high95"]


def test_hourly_and_eight_hourly_funding_meet_on_a_common_clock(histories: FundingHistories) -> None:
    """The spread of Binance and Hyperliquid, recomputed from the rows by pandas alone."""
    by_name = {contract.name: contract for contract in histories.contracts}
    left, right = by_name["binance BTCUSDT"], by_name["hyperliquid BTCUSDC"]
    hourly = pd.Series(right.rate, index=(right.time_ms - 1) // (8 * 3_600_000))
    whole = hourly.groupby(level=0).agg(["sum", "count"])
    whole = whole[whole["count"] == 8]["sum"]
    eight = pd.Series(left.rate, index=(left.time_ms - 1) // (8 * 3_600_000))
    start = 1_690_848_000_000 // (8 * 3_600_000)  # 2023-08-01: Hyperliquid's rows are hourly without a hole from here
    expected = (eight - whole).dropna().loc[start:]
    cut = FundingHistories((left.last(4000, left.time_ms[-1]), right))
    found = funding.spreads(cut).iloc[0]
    assert found["windows"] >= len(expected)
    own = funding.rates(cut)
    assert (own["interval_hours"].isin((1.0, 8.0))).mean() > 0.999
    assert found["mean_spread_percent_a_year"] < -5.0  # Hyperliquid paid shorts more, by far
    assert expected.mean() * 1e4 == pytest.approx(found["mean_spread_bps"], abs=0.1)


def test_intervals_and_switches_of_539_symbols(universe: FundingHistories, universe_table: Path) -> None:
    assert len(universe.contracts) == 539
    assert universe.skipped == ()
    assert sum(len(contract.rate) for contract in universe.contracts) == 107_311
    modal = [float(pd.Series(contract.interval_hours).mode()[0]) for contract in universe.contracts]
    assert {hours: modal.count(hours) for hours in (1.0, 4.0, 8.0)} == {4.0: 403, 8.0: 128, 1.0: 8}
    assert sum(len(contract.segments) > 1 for contract in universe.contracts) == 26
    assert sum(contract.missing for contract in universe.contracts) == 0
    table = pd.read_csv(universe_table)
    means = funding.summary(universe).set_index("symbol")
    plain = table.groupby("symbol")["funding_rate"].agg(["min", "max", "sum"])
    np.testing.assert_allclose(means["lowest_rate_percent"], plain["min"].reindex(means.index) * 100, rtol=1e-12)
    hours = pd.Series({contract.key.symbol: contract.hours for contract in universe.contracts})
    annual = plain["sum"] / hours.reindex(plain.index) * 8760 * 100
    np.testing.assert_allclose(means["mean_percent_a_year"], annual.reindex(means.index), rtol=1e-9, atol=1e-9)


def test_a_symbol_with_a_switch_has_a_half_life_per_interval(universe: FundingHistories) -> None:
    switched = next(
        contract
        for contract in universe.contracts
        if len(contract.segments) > 1 and all(segment.count > 10 for segment in contract.segments)
    )
    found = funding.persistence(FundingHistories((switched,)))
    assert len(found) > 1
    for row in found.itertuples():
        steady = np.diff(switched.time_ms) == row.interval_hours * 3_600_000
        assert 0 < row.pairs <= steady.sum()


def test_clamped_rates(universe: FundingHistories, histories: FundingHistories) -> None:
    found = funding.caps(universe).set_index("symbol")
    assert found.loc["ALICEUSDT", "limit_percent"] == -2.0
    real = funding.caps(histories).set_index(["venue", "symbol"])
    assert -0.5 in set(real.loc[[("bybit", "SOLUSDT")], "limit_percent"])
    assert -0.3 in set(real.loc[[("binance", "BTCUSDT")], "limit_percent"])


def test_screen_of_539_symbols_states_who_is_missing(universe: FundingHistories) -> None:
    found = funding.screen(universe)
    assert len(found) == 539
    assert found["net_percent_a_year"].is_monotonic_decreasing
    np.testing.assert_allclose(
        found["mean_percent_a_year"] - found["net_percent_a_year"], 0.0032 / 720 * 8760 * 100, rtol=1e-9
    )
    assert funding.survivorship(universe, found).startswith("Survivors only: all 539 contracts")
    ranking = funding.ranking_test(universe)
    assert ranking.contracts > 500
    assert -1.0 <= ranking.rank_correlation <= 1.0


def test_last_rates_forecast_the_next_and_means_the_month(histories: FundingHistories) -> None:
    """A fact of the market that the default half-life rests on: level persists, single rates do not."""
    table = funding.forecast_errors(histories)
    btc = table[(table["venue"] == "binance") & (table["symbol"] == "BTCUSDT")].set_index(["horizon", "method"])
    errors: Any = btc["mae_percent_a_year"]
    assert errors["next settlement", "last rate"] < errors["next settlement", "weighted mean, half-life 72 h"]
    assert errors["720 h", "weighted mean, half-life 72 h"] < errors["720 h", "last rate"]
    assert btc.loc[("720 h", "weighted mean, half-life 72 h"), "mae_less_low95_percent_a_year"] > 0


def test_report_of_539_symbols(universe: FundingHistories, tmp_path: Path) -> None:
    files = funding.report(universe, tmp_path / "study")
    assert files["report.html"].stat().st_size < 12_000_000
    assert len(pd.read_parquet(files["screen.parquet"])) == 539
    assert json.dumps("Survivors only")[1:-1] in files["report.html"].read_text()

"""Funding tables on small lakes made by hand: every figure is worked out beside it."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crypto.errors import DataError, OutputError, SettingsError, UsageError
from crypto.venues.registry import pair
from data.feed.rows import COLUMNS, RowWriter
from data.store.lake import Lake, Provenance, SeriesKey
from data.tables import write_table
from research.funding.figures import runs_figure
from research.funding.history import FundingHistories
from research.scripts import funding

T0 = 1_704_067_200_000  # 2024-01-01T00:00Z, a Monday
HOUR = 3_600_000
A_YEAR = 8760 * 100.0  # percent a year of a fraction per hour


def put(
    lake: Path, key: str, intervals: Sequence[float], rates: Sequence[float], *, start: int = 0, late_ms: int = 0
) -> None:
    """Settlements that follow each other at ``intervals`` hours, the first ``intervals[0]`` after ``start``."""
    venue, kind, symbol = key.split(":")
    times = T0 + ((start + np.cumsum(intervals)) * HOUR).astype(np.int64) + late_ms
    columns = {"time_ms": times, "funding_rate": np.array(rates, dtype=float)}
    Lake(lake).write(SeriesKey(venue, kind, symbol, "funding"), columns, Provenance("by hand"))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def one(lake: Path, intervals: Sequence[float], rates: Sequence[float]) -> FundingHistories:
    put(lake, "binance:linear:BTCUSDT", intervals, rates)
    return funding.load(lake)


# --- loading ------------------------------------------------------------------------------------------------------


def test_stamps_are_brought_to_their_hour_and_intervals_are_read_from_the_rows(lake: Path) -> None:
    put(lake, "binance:linear:WIFUSDT", [8, 8, 8, 4, 4, 4], [1e-4] * 6, late_ms=17)
    (contract,) = funding.load(lake).contracts
    assert list((contract.time_ms - T0) // HOUR) == [8, 16, 24, 28, 32, 36]
    assert list(contract.interval_hours) == [8, 8, 8, 4, 4, 4]
    assert (contract.base, contract.missing, contract.name) == ("WIF", 0, "binance WIFUSDT")


def test_what_is_chosen_and_what_is_refused(lake: Path) -> None:
    put(lake, "binance:linear:BTCUSDT", [8] * 6, [1e-4] * 6)
    put(lake, "bybit:linear:BTCUSDT", [8] * 6, [1e-4] * 6)
    put(lake, "bybit:linear:ETHUSDT", [8] * 6, [1e-4] * 6)
    names = [contract.name for contract in funding.load(lake, ["BTCUSDT"]).contracts]
    assert names == ["binance BTCUSDT", "bybit BTCUSDT"]
    assert [c.name for c in funding.load(lake, venues=["bybit"], symbols=["ETHUSDT"]).contracts] == ["bybit ETHUSDT"]
    cut = funding.load(lake, start="2024-01-01T16:00", end="2024-01-02T08:00").contracts[0]
    assert list((cut.time_ms - T0) // HOUR) == [16, 24]
    with pytest.raises(UsageError, match="--symbol DOGEUSDT is not in the lake"):
        funding.load(lake, ["DOGEUSDT"])
    with pytest.raises(UsageError, match="--venue okx has no funding here"):
        funding.load(lake, venues=["okx"])
    with pytest.raises(DataError, match="no funding history can be used"):
        funding.load(lake, start="2030-01-01")
    with pytest.raises(DataError, match="there is no lake"):
        funding.load(lake / "absent")


def test_a_contract_that_cannot_be_read_is_left_out_by_name(lake: Path) -> None:
    put(lake, "binance:linear:BTCUSDT", [8] * 6, [1e-4] * 6)
    put(lake, "dydx:linear:BTCUSD", [1] * 6, [1e-5] * 6, late_ms=1_200_000)
    put(lake, "okx:linear:BTCUSDT", [8], [1e-5])
    found = funding.load(lake)
    assert [contract.key.venue for contract in found.contracts] == ["binance"]
    reasons = dict(found.skipped)
    assert "stamps over 60000 ms" in reasons["dydx:linear:BTCUSD funding"]
    assert "1 settlements in the range" in reasons["okx:linear:BTCUSDT funding"]
    assert len(funding.load(lake, tolerance_ms=1_500_000).contracts) == 2


# --- levels -------------------------------------------------------------------------------------------------------


def test_means_and_quantiles_weigh_each_rate_by_its_hours(lake: Path) -> None:
    # Two days at 8 h and 0.0008, then one day at 4 h and -0.0002.
    found = funding.summary(one(lake, [8] * 6 + [4] * 6, [0.0008] * 6 + [-0.0002] * 6)).iloc[0]
    assert found["mean_percent_a_year"] == pytest.approx((6 * 0.0008 - 6 * 0.0002) / 72 * A_YEAR)
    assert found["positive_share_percent_of_hours"] == pytest.approx(100 * 48 / 72)
    assert found["median_percent_a_year"] == pytest.approx(0.0001 * A_YEAR)
    assert found["p05_percent_a_year"] == pytest.approx(-0.00005 * A_YEAR)
    mean = (48 * 0.0001 - 24 * 0.00005) / 72
    variance = (48 * (0.0001 - mean) ** 2 + 24 * (-0.00005 - mean) ** 2) / 72
    assert found["deviation_percent_a_year"] == pytest.approx(math.sqrt(variance) * A_YEAR)
    assert (found["lowest_rate_percent"], found["highest_rate_percent"]) == pytest.approx((-0.02, 0.08))
    assert (found["intervals_hours"], found["settlements"], found["missing"]) == ("8>4", 12, 0)
    # Daily sums 0.0024, 0.0024, -0.0012; floor(4 (3 / 100)^(2/9)) = 1 lag, which adds 2 x 1/2 x (d0 d1 + d1 d2).
    days = np.array([0.0024, 0.0024, -0.0012]) / 24 * A_YEAR
    deviations = days - days.mean()
    squares = (deviations**2).sum() + deviations[0] * deviations[1] + deviations[1] * deviations[2]
    half = 1.959964 * math.sqrt(max(squares, 0.0)) / 3
    assert found["mean_high95_percent_a_year"] - found["mean_percent_a_year"] == pytest.approx(half, rel=1e-6, abs=1e-9)


def test_a_missing_settlement_is_counted_and_covers_no_hours(lake: Path) -> None:
    histories = one(lake, [8, 8, 8, 16, 8, 8], [0.0001] * 6)
    found = funding.summary(histories).iloc[0]
    assert found["missing"] == 1
    assert found["mean_percent_a_year"] == pytest.approx(0.0001 / 8 * A_YEAR)
    assert histories.contracts[0].hours == 48.0


def test_sums_by_year(lake: Path) -> None:
    # From 2024-12-31 00:00: settlements at 08, 16, 24 (the last belongs to 2025), 32 h.
    put(lake, "binance:linear:BTCUSDT", [8] * 4, [0.001, 0.002, 0.004, 0.008], start=365 * 24)
    found = funding.by_year(funding.load(lake))
    assert list(found["year"]) == [2024, 2025]
    np.testing.assert_allclose(found["funding_percent"], [0.3, 1.2])
    np.testing.assert_allclose(found["funding_percent_a_year"], [0.003 / 16 * A_YEAR, 0.012 / 16 * A_YEAR])


def test_seasons(lake: Path) -> None:
    # Four weeks; rate k at hour 8 k of every day, doubled on settlements that pay for Saturday.
    hours = 8 * (1 + np.arange(3 * 28))
    weekday = ((hours - 1) // 24) % 7
    rates = np.where(hours % 24 == 0, 3e-4, np.where(hours % 24 == 8, 1e-4, 2e-4)) * np.where(weekday == 5, 2, 1)
    histories = one(lake, [8] * len(hours), list(rates))
    by_hour = funding.by_hour(histories).set_index("hour_utc")
    for hour, rate in ((8, 1e-4), (16, 2e-4), (0, 3e-4)):
        assert by_hour.loc[hour, "observations"] == 28
        assert by_hour.loc[hour, "mean_percent_a_year"] == pytest.approx(rate * (24 + 4 * 2) / 28 / 8 * A_YEAR)
    by_weekday = funding.by_weekday(histories).set_index("weekday")
    assert list(by_weekday["observations"]) == [4] * 7
    assert by_weekday.loc["Sat", "mean_percent_a_year"] == pytest.approx(12e-4 / 24 * A_YEAR)
    assert by_weekday.loc["Mon", "mean_percent_a_year"] == pytest.approx(6e-4 / 24 * A_YEAR)
    assert by_weekday.loc["Mon", "mean_low95_percent_a_year"] == pytest.approx(6e-4 / 24 * A_YEAR)  # never varied
    grid = funding.hour_by_weekday(histories.contracts[0])
    assert grid.shape == (7, 24)
    assert grid[0, 0] == grid[0, 7] == pytest.approx(1e-4 / 8 * A_YEAR)  # the hours that the 08:00 settlement pays for
    assert grid[5, 23] == pytest.approx(6e-4 / 8 * A_YEAR)


def test_persistence_never_mixes_intervals(lake: Path) -> None:
    # A steady decay by a half per settlement, at 8 h and then at 4 h: half-lives of 8 and of 4 hours.
    halves = 0.5 ** np.arange(8)
    rates = [*(0.001 * halves), *(0.0005 * halves)]
    found = funding.persistence(one(lake, [8] * 8 + [4] * 8, rates)).set_index("interval_hours")
    assert list(found["pairs"]) == [7, 7]
    assert found.loc[8.0, "half_life_hours"] == pytest.approx(8.0)
    assert found.loc[4.0, "half_life_hours"] == pytest.approx(4.0)


def test_autocorrelation_table(lake: Path) -> None:
    found = funding.autocorrelations(one(lake, [8] * 100, [1e-4, -1e-4] * 50), [8, 16, 5]).set_index("lag_hours")
    assert found.loc[8, "autocorrelation"] == pytest.approx(-1.0)
    assert found.loc[16, "autocorrelation"] == pytest.approx(1.0)
    assert found.loc[8, "no_correlation_band95"] == pytest.approx(1.959964 / math.sqrt(99), rel=1e-6)
    assert found.loc[5, "pairs"] == 0


def test_sign_flips(lake: Path) -> None:
    rates = [1e-4] * 3 + [-1e-4] * 2 + [1e-4] * 4 + [-1e-4]
    found = funding.sign_flips(one(lake, [8] * 10, rates)).iloc[0]
    assert found["flips"] == 3
    assert found["flips_a_year"] == pytest.approx(3 / 80 * 8760)
    assert (found["complete_positive_runs"], found["mean_positive_run_hours"]) == (1, 32.0)
    assert (found["complete_negative_runs"], found["mean_negative_run_hours"]) == (1, 16.0)
    assert (found["longest_positive_run_hours"], found["longest_negative_run_hours"]) == (32.0, 16.0)
    assert (found["current_sign"], found["current_run_hours_so_far"]) == (-1, 8.0)


def test_caps(lake: Path) -> None:
    found = funding.caps(one(lake, [8] * 10, [1e-4] * 5 + [0.003, 0.003, -0.0021] + [1e-4] * 2))
    assert list(found["limit_percent"]) == [0.3]  # -0.0021 was reached once and is no round figure
    assert found.iloc[0]["hits"] == 2
    assert found.iloc[0]["share_percent_of_settlements"] == 20.0
    assert f"{found.iloc[0]['first_utc']:%Y-%m-%dT%H}" == "2024-01-03T00"
    assert funding.caps(one(lake, [8] * 3, [1e-4] * 3)).empty


# --- between venues -----------------------------------------------------------------------------------------------


def test_spreads_are_on_a_common_clock(lake: Path) -> None:
    # 1 h on one venue, 8 h on the other: windows of 8 h that both cover whole.
    put(lake, "binance:linear:BTCUSDT", [8] * 6, [0.0010, 0.0020, 0.0030, 0.0010, 0.0020, 0.0030])
    put(lake, "hyperliquid:linear:BTCUSDC", [1] * 40, [0.0001] * 40, start=4)
    put(lake, "binance:linear:BTCUSDC", [8] * 6, [0.1] * 6)
    found = funding.spreads(funding.load(lake, ["BTCUSDT", "hyperliquid:linear:BTCUSDC"])).iloc[0]
    assert (found["base"], found["windows"]) == ("BTC", 4)  # ending at 16, 24, 32, 40
    assert found["mean_spread_bps"] == pytest.approx(np.mean([12.0, 22.0, 2.0, 12.0]))
    assert found["spread_deviation_bps"] == pytest.approx(np.std([12.0, 22.0, 2.0, 12.0], ddof=1))
    assert found["mean_spread_percent_a_year"] == pytest.approx(0.0012 / 8 * A_YEAR)
    daily = funding.spreads(funding.load(lake, ["BTCUSDT", "hyperliquid:linear:BTCUSDC"]), 24)
    assert daily.empty  # a single window is no series
    same_venue = funding.load(lake, ["binance:linear:BTCUSDT", "binance:linear:BTCUSDC"])
    assert funding.spreads(same_venue).empty


# --- forecasts ----------------------------------------------------------------------------------------------------


def test_the_forecast_is_that_of_the_signals_spec(lake: Path) -> None:
    # First r / h; then F += w (r / h - F). Half-life 8 h: w = 1/2 at 8 h and 1 - 2^-0.5 at 4 h.
    (contract,) = one(lake, [8, 8, 4, 4], [0.0008, 0.0016, 0.0004, 0.0004]).contracts
    first, second = 0.0001, 0.5 * (0.0001 + 0.0002)
    weight = 1 - 2**-0.5
    third = second + weight * (0.0001 - second)
    np.testing.assert_allclose(
        funding.strategy_forecast(contract, 8.0), [first, second, third, third + weight * (0.0001 - third)]
    )


def test_forecast_errors_by_hand(lake: Path) -> None:
    # Rates per hour in 1e-5: 1, 3, 2, 2. Next settlement: last rate errs by -2, 1, 0; zero by -3, -2, -2;
    # mean to date 1, 2, 2: -2, 0, 0. All in units of 0.00001 x 8760 x 100 = 8.76 % a year.
    histories = one(lake, [8] * 4, [8e-5, 24e-5, 16e-5, 16e-5])
    found = funding.forecast_errors(histories, [24.0], [8, 16]).set_index(["horizon", "method"])
    last = found.loc["next settlement", "last rate"]
    assert (last["forecasts"], last["sign_hits_percent"]) == (3, 100.0)
    assert last["mae_percent_a_year"] == pytest.approx(8.76)
    assert last["mean_error_percent_a_year"] == pytest.approx(-8.76 / 3)
    assert last["rmse_percent_a_year"] == pytest.approx(8.76 * math.sqrt(5 / 3))
    zero = found.loc["next settlement", "zero"]
    assert zero["mae_percent_a_year"] == pytest.approx(8.76 * 7 / 3)
    assert zero["mae_less_than_last_rate_percent_a_year"] == pytest.approx(8.76 * (1 - 7 / 3))
    assert math.isnan(zero["sign_hits_percent"])
    assert found.loc["next settlement", "mean to date"]["mae_percent_a_year"] == pytest.approx(8.76 * 2 / 3)
    # The mean of the 8 hours ahead is the next settlement; of 16 hours the mean of the next two: 2.5, 2 against 1, 3.
    assert found.loc["8 h", "last rate"]["mae_percent_a_year"] == pytest.approx(8.76)
    assert found.loc["16 h", "last rate"]["mae_percent_a_year"] == pytest.approx(8.76 * 1.25)
    assert found.loc["16 h", "last rate"]["forecasts"] == 2


def test_a_rate_of_zero_has_no_sign_to_hit(lake: Path) -> None:
    # Last rates 1, 1, 0, 0, -1 for what came: 1, 0, 0, -1, 1 bp. Of the three with a sign one was right.
    found = funding.forecast_errors(one(lake, [8] * 6, [1e-4, 1e-4, 0, 0, -1e-4, 1e-4]))
    found = found[found["horizon"] == "next settlement"].set_index("method")
    assert found.loc["last rate", "forecasts"] == 5
    assert found.loc["last rate", "sign_hits_percent"] == pytest.approx(100 / 3)
    still = funding.forecast_errors(one(lake, [8] * 6, [1e-4, 0, 0, 0, 0, 0]))
    assert still["sign_hits_percent"].isna().all()


def test_a_missing_settlement_is_not_forecast(lake: Path) -> None:
    histories = one(lake, [8, 8, 8, 16, 8, 8], [1e-4] * 6)  # the one at 32 h is missing
    found = funding.forecast_errors(histories, [24.0], [8]).set_index(["horizon", "method"])
    assert found.loc["next settlement", "last rate"]["forecasts"] == 4  # six rows, five steps, one over the hole
    assert found.loc["8 h", "last rate"]["forecasts"] == 4


def test_errors_of_a_predicted_rate_by_lead(lake: Path, tmp_path: Path) -> None:
    (contract,) = one(lake, [8] * 4, [1e-4, 2e-4, 3e-4, 4e-4]).contracts
    settled = T0 + 16 * HOUR
    frame = pd.DataFrame(
        {
            "time_ms": [settled - 30_000, settled - HOUR, settled - 7 * HOUR, settled - 20 * HOUR, settled + 1],
            "settlement_ms": [settled + 9, settled, settled, settled, settled],
            "predicted_rate": [2.1e-4, 1.5e-4, 3e-4, 9.0, 9.0],
        }
    )
    for name in ("predicted.csv", "predicted.parquet"):
        write_table(tmp_path / name, frame)
        read = funding.read_predictions(tmp_path / name, contract.key)
        found = funding.prediction_errors(contract, read, (0.25, 1.0, 8.0)).set_index("lead_up_to_hours")
        assert list(found["predictions"]) == [1, 1, 1]
        np.testing.assert_allclose(found["mean_error_bps"], [0.1, -0.5, 1.0])
    (tmp_path / "bad.csv").write_text("time_ms,settlement_ms\n1,2\n")
    with pytest.raises(DataError, match="no column 'predicted_rate'"):
        funding.read_predictions(tmp_path / "bad.csv", contract.key)
    (tmp_path / "bad.csv").write_text("time_ms,settlement_ms,predicted_rate\n1,2,x\n")
    with pytest.raises(DataError, match="'predicted_rate' has values that are no numbers"):
        funding.read_predictions(tmp_path / "bad.csv", contract.key)


def test_predictions_that_fit_no_settlement_are_named(lake: Path, tmp_path: Path) -> None:
    histories = one(lake, [8] * 3, [1e-4] * 3)
    (contract,) = histories.contracts
    path = tmp_path / "predicted.csv"
    # Seconds in place of milliseconds: years before the first settlement.
    path.write_text(f"time_ms,settlement_ms,predicted_rate\n{T0 // 1000},{T0 // 1000 + 28_800},0.0001\n")
    with pytest.raises(DataError, match="none of 1 predicted rates is for a settlement of binance BTCUSDT within 8 h"):
        funding.prediction_errors(contract, funding.read_predictions(path, contract.key))
    path.write_text(f"time_ms,settlement_ms,predicted_rate\n{T0},{T0 + 8 * HOUR},inf\n")
    with pytest.raises(DataError, match="'predicted_rate' has an infinite value"):
        funding.read_predictions(path, contract.key)


def test_predictions_come_out_of_the_rows_that_a_feed_wrote(lake: Path, tmp_path: Path) -> None:
    (contract,) = one(lake, [8] * 4, [1e-4, 2e-4, 3e-4, 4e-4]).contracts
    settled = T0 + 16 * HOUR
    writer = RowWriter(tmp_path / "rows", 1.0)
    for second, rate, stale in ((3600, 1.5e-4, 0), (1800, 9.9, 1), (1200, None, 0), (60, 2.1e-4, 0)):
        values: dict[str, float | int | None] = dict.fromkeys(COLUMNS)
        values |= {"predicted_rate": rate, "next_settlement_ms": settled, "stale": stale}
        writer.write("binance:linear:BTCUSDT", settled - second * 1000, values)
    path = writer.path("binance:linear:BTCUSDT", settled - 1)
    path.write_bytes(path.read_bytes() + b"17040")  # a row that is being written
    read = funding.read_predictions(tmp_path / "rows", contract.key)
    assert list(read["time_ms"]) == [settled - 3_600_000, settled - 60_000]
    found = funding.prediction_errors(contract, read, (0.25, 1.0)).set_index("lead_up_to_hours")
    np.testing.assert_allclose(found["mean_error_bps"], [0.1, -0.5])
    with pytest.raises(DataError, match="holds no rows of binance:linear:BTCUSDT"):
        funding.read_predictions(tmp_path, contract.key)


# --- carry, screen and pairs --------------------------------------------------------------------------------------


def test_round_trip_costs(lake: Path) -> None:
    # Binance VIP0: 2 (10 + 5 + 0.5 + 0.5) bps, as in the signal's spec. Bybit's perp taker is 5.5.
    assert funding.Costs().of("binance", "linear") == pytest.approx(0.0032)
    assert funding.Costs().of("bybit", "linear") == pytest.approx(0.0033)
    assert funding.Costs(tier="VIP1").of("binance", "linear") == pytest.approx(2 * (0.001 + 0.0004 + 0.0001))
    assert funding.Costs(round_trip_bps=7.0).of("nowhere", "linear") == 0.0007
    assert math.isnan(funding.Costs().of("nowhere", "linear"))
    with pytest.raises(UsageError, match="slippage_bps = -1"):
        funding.Costs(slippage_bps=-1)
    with pytest.raises(UsageError, match="holding_hours = 0"):
        funding.Costs(holding_hours=0)
    with pytest.raises(UsageError, match="fee tier 'VIP77': binance has none"):
        funding.Costs(tier="VIP77").of("binance", "linear")


def test_net_carry_by_hand(lake: Path) -> None:
    # 0.001 every 8 h for a day, then 0. Held for 24 h from each settlement: sums of the next three.
    histories = one(lake, [8] * 7, [0.001] * 3 + [0.0] * 4)
    found = funding.net_carry(histories, funding.Costs(holding_hours=24, round_trip_bps=5.0)).iloc[0]
    assert found["mean_percent_a_year"] == pytest.approx(0.003 / 56 * A_YEAR)
    assert found["break_even_days"] == pytest.approx(0.0005 / (0.003 / 56) / 24)
    assert found["net_percent_a_year"] == pytest.approx((0.003 / 56 * 24 - 0.0005) / 24 * A_YEAR)
    # Entered at 8, 16, 24, 32 h: 20, 10, 0, 0 bps less 5.
    assert found["holds"] == 4
    assert found["profitable_holds_percent"] == 50.0
    assert found["hold_net_median_bps"] == pytest.approx(0.0)
    assert found["holds_apart"] == pytest.approx(56 / 24)
    unknown = funding.net_carry(histories, funding.Costs(holding_hours=24))
    assert unknown.iloc[0]["round_trip_bps"] == pytest.approx(32.0)


def test_screen_ranks_by_net_carry_and_says_what_is_missing(lake: Path) -> None:
    put(lake, "binance:linear:BTCUSDT", [8] * 90, [1e-4] * 90)
    put(lake, "binance:linear:ETHUSDT", [8] * 90, [3e-4] * 90)
    put(lake, "binance:linear:1000PEPEUSDT", [4] * 180, [-1e-4] * 180)
    put(lake, "binance:linear:ALICEUSDT", [8] * 90, [9e-4] * 90)
    histories = funding.load(lake)
    found = funding.screen(histories, lookback_days=10)
    assert list(found["symbol"]) == ["ALICEUSDT", "ETHUSDT", "BTCUSDT", "1000PEPEUSDT"]
    eth = found.iloc[1]
    assert eth["mean_percent_a_year"] == pytest.approx(3e-4 / 8 * A_YEAR)
    assert eth["forecast_percent_a_year"] == pytest.approx(3e-4 / 8 * A_YEAR)
    assert eth["net_percent_a_year"] == pytest.approx((3e-4 / 8 * 720 - 0.0032) / 720 * A_YEAR)
    assert eth["days_covered"] == 10.0
    assert "Survivors only: all 4 contracts" in funding.survivorship(histories, found)
    single = funding.load(lake, ["ETHUSDT"])
    assert "A single contract" in funding.survivorship(single, funding.screen(single))
    put(lake, "binance:linear:LUNAUSDT", [8] * 60, [9e-4] * 60)
    later = funding.load(lake)
    screened = funding.screen(later, lookback_days=20)
    assert list(screened.loc[screened["ended"], "symbol"]) == ["LUNAUSDT"]
    assert "1 of 5 contracts end before the others" in funding.survivorship(later, screened)


def test_a_venue_whose_data_end_is_not_called_delisted(lake: Path) -> None:
    put(lake, "binance:linear:BTCUSDT", [8] * 90, [1e-4] * 90)
    put(lake, "binance:linear:LUNAUSDT", [8] * 60, [1e-4] * 60)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        put(lake, f"bybit:linear:{symbol}", [8] * 30, [5e-4] * 30)
    histories = funding.load(lake)
    found = funding.screen(histories, lookback_days=10).set_index(["venue", "symbol"])
    assert list(found.index[found["ended"]]) == [("binance", "LUNAUSDT"), ("bybit", "BTCUSDT"), ("bybit", "ETHUSDT")]
    assert f"{found.loc[('bybit', 'ETHUSDT'), 'to_utc']:%Y-%m-%d %H}" == "2024-01-11 00"
    # There is no forecast for now out of rates of weeks ago.
    assert list(found["forecast_percent_a_year"].notna()) == [True, False, False, False]
    word = funding.survivorship(histories, found.reset_index())
    assert "3 of 4 contracts end before the others (delisted, or not brought up to date)" in word
    assert "Of bybit all end by 2024-01-11, so it is rather that its data are not up to date." in word
    assert "Of binance" not in word


def test_the_deviation_weighs_rates_by_their_hours(lake: Path) -> None:
    # Two settlements of 8 h and four of 4 h: 16 h at 87.6 % and 16 h at 0 % a year lie 43.8 off their mean.
    put(lake, "binance:linear:BTCUSDT", [8, 8, 4, 4, 4, 4], [8e-4, 8e-4, 0, 0, 0, 0])
    found = funding.screen(funding.load(lake)).iloc[0]
    assert found["mean_percent_a_year"] == pytest.approx(43.8)
    assert found["deviation_percent_a_year"] == pytest.approx(43.8)


def test_a_pair_can_be_loaded_from_settings(lake: Path) -> None:
    """BTCUSDC has no filters here: a settings file with it is refused, so it is no pair to trade."""
    for key in ("binance:linear:BTCUSDC", "binance:linear:BTCUSDT", "binance:inverse:BTCUSD", "bybit:linear:BTCPERP"):
        put(lake, key, [8] * 90, [5e-4] * 90)
    put(lake, "bybit:linear:SHIB1000USDT", [8] * 90, [5e-4] * 90)
    found = funding.tradable_pairs(funding.screen(funding.load(lake))).set_index("perp")
    for perp, row in found.iterrows():
        if row["tradable"]:
            assert pair(row["spot"], str(perp), {}).spot.base == pair(row["spot"], str(perp), {}).perp.base
        else:
            with pytest.raises(SettingsError):
                pair(row["spot"], str(perp), {})
    assert "not in the shipped tables" in found.loc["binance:linear:BTCUSDC", "reason"]
    assert list(found.index[found["tradable"]]) == [
        "binance:inverse:BTCUSD",
        "binance:linear:BTCUSDT",
        "bybit:linear:SHIB1000USDT",
    ]


def test_what_makes_no_sense_is_refused(lake: Path) -> None:
    histories = one(lake, [8] * 9, [1e-4] * 9)
    with pytest.raises(UsageError, match=r"holding_hours = 0\.3 is out of range"):
        funding.Costs(holding_hours=0.3)
    for hours in (0, -8, 8.5):
        with pytest.raises(UsageError, match="is no window"):
            funding.spreads(histories, hours)
    with pytest.raises(UsageError, match="not a number"):
        funding.tradable_pairs(funding.screen(histories), least_net_percent_a_year=math.nan)
    for refused in (
        lambda: funding.autocorrelations(histories, [0]),
        lambda: funding.forecast_errors(histories, [-72]),
        lambda: funding.forecast_errors(histories, horizons_hours=[0]),
        lambda: funding.screen(histories, half_life_hours=0),
        lambda: funding.screen(histories, lookback_days=math.nan),
        lambda: funding.ranking_test(histories, days=0),
    ):
        with pytest.raises(UsageError, match="above 0"):
            refused()
    with pytest.raises(DataError, match="no funding history to look at"):
        FundingHistories(())
    nothing = funding.tradable_pairs(funding.screen(histories).iloc[:0])
    assert nothing.empty
    assert funding.settings_text(nothing) == ""
    assert len(funding.load(lake, "BTCUSDT", venues="binance").contracts) == 1
    # A holding period is rounded to whole hours once, for the screen and for net carry alike.
    costs = funding.Costs(holding_hours=100.4)
    assert funding.net_carry(histories, costs)["net_percent_a_year"].iloc[0] == pytest.approx(
        (1e-4 / 8 * 100 - 0.0032) / 100 * A_YEAR
    )
    assert funding.screen(histories, costs)["net_percent_a_year"].iloc[0] == pytest.approx(
        (1e-4 / 8 * 100 - 0.0032) / 100 * A_YEAR
    )


def test_pairs_with_reasons(lake: Path) -> None:
    put(lake, "binance:linear:BTCUSDT", [8] * 90, [2e-4] * 90)
    put(lake, "binance:linear:ETHUSDT", [8] * 90, [3e-4] * 90)
    put(lake, "binance:linear:SOLUSDT", [8] * 90, [2.5e-4] * 90)
    put(lake, "binance:linear:XRPUSDT", [8] * 90, [2e-5] * 90)
    put(lake, "binance:linear:ALICEUSDT", [8] * 90, [9e-4] * 90)
    put(lake, "binance:linear:ADAUSDT", [8] * 90, [*[9e-4] * 60, *[-9e-4] * 30])
    put(lake, "okx:linear:BTCUSDT", [8] * 90, [9e-4] * 90)
    put(lake, "binance:linear:LTCUSDT", [8] * 60, [9e-4] * 60)
    found = funding.tradable_pairs(funding.screen(funding.load(lake)), most=2).set_index("perp")
    assert dict(found["reason"]) == {
        "binance:linear:ETHUSDT": "",
        "binance:linear:SOLUSDT": "",
        "binance:linear:BTCUSDT": "not among the best 2",
        "binance:linear:XRPUSDT": "net carry is not above 0 % a year",
        "binance:linear:ALICEUSDT": "no spot leg in the shipped tables",
        "binance:linear:ADAUSDT": "forecast is not positive",
        "okx:linear:BTCUSDT": "no spot leg in the shipped tables",
        "binance:linear:LTCUSDT": "its data end on 2024-01-21, before those of the others",
    }
    assert list(found.loc[found["tradable"], "weight"]) == [0.5, 0.5]
    assert found["weight"].sum() == 1.0
    assert list(found.index[:2]) == ["binance:linear:ETHUSDT", "binance:linear:SOLUSDT"]
    text = funding.settings_text(found.reset_index())
    assert text.count("[[pairs]]") == 2
    assert 'spot = "binance:spot:ETHUSDT"\nperp = "binance:linear:ETHUSDT"\nweight = 0.5' in text
    with pytest.raises(SettingsError, match="most = 0"):
        funding.tradable_pairs(funding.screen(funding.load(lake)), most=0)


def test_ranking_test(lake: Path) -> None:
    # Ten contracts over two periods of two days; the order of the first is kept, but the best falls to nothing.
    for index in range(10):
        later = 0.0 if index == 9 else 1e-4 * index
        put(lake, f"binance:linear:C{index}USDT", [8] * 12, [1e-4 * (index + 1)] * 6 + [later] * 6)
    put(lake, "binance:linear:NEWUSDT", [8] * 3, [1.0] * 3, start=72)
    found = funding.ranking_test(funding.load(lake), days=2)
    assert (found.contracts, found.top_count) == (10, 1)
    assert found.top_first_percent_a_year == pytest.approx(1e-3 / 8 * A_YEAR)
    assert found.top_second_percent_a_year == 0.0
    assert found.all_second_percent_a_year == pytest.approx(1e-4 * sum(range(9)) / 10 / 8 * A_YEAR)
    # Ranks 1 .. 10 against 1.5, 2, 3 ... : the last shares the lowest rank with the first.
    ranks = np.array([1.5, 3, 4, 5, 6, 7, 8, 9, 10, 1.5])
    assert found.rank_correlation == pytest.approx(np.corrcoef(np.arange(10.0), ranks)[0, 1])
    nothing = funding.ranking_test(funding.load(lake), days=30)
    assert nothing.contracts == 0
    assert math.isnan(nothing.rank_correlation)


def test_equal_means_are_ties_whatever_the_rounding_of_their_sums(lake: Path) -> None:
    """1 bp every 8 h, half a bp every 4 h and an eighth every hour are the same; in floats their means are not."""
    put(lake, "binance:linear:DUSDT", [8] * 84, [1e-4] * 84)
    put(lake, "binance:linear:CUSDT", [4] * 168, [5e-5] * 168)
    put(lake, "binance:linear:BUSDT", [1] * 672, [1.25e-5] * 672)
    put(lake, "binance:linear:AUSDT", [8] * 84, [2e-4] * 42 + [-1e-4] * 42)
    put(lake, "binance:linear:EUSDT", [8] * 84, [-3e-4] * 42 + [3e-4] * 42)
    histories = funding.load(lake)
    # A is best, B, C, D share the places 2 to 4, E is last; later A is worst and E best.
    expected = np.corrcoef([5, 3, 3, 3, 1], [1, 3, 3, 3, 5])[0, 1]
    assert funding.ranking_test(histories).rank_correlation == pytest.approx(expected, rel=1e-12)
    assert list(funding.screen(histories, lookback_days=28)["symbol"]) == [
        *("BUSDT", "CUSDT", "DUSDT"),  # equal: by name
        *("AUSDT", "EUSDT"),
    ]


# --- files and the page -------------------------------------------------------------------------------------------


def test_tables_are_written_whole_or_not_at_all(lake: Path, tmp_path: Path) -> None:
    table = funding.rates(one(lake, [8] * 3, [1e-4, 2e-4, 0.1 + 0.2]))
    write_table(tmp_path / "rates.csv", table)
    write_table(tmp_path / "rates.parquet", table)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "rates.parquet"), table, check_dtype=False)
    text = (tmp_path / "rates.csv").read_text().splitlines()
    assert text[0] == "venue,kind,symbol,settled_utc,interval_hours,rate_percent,rate_percent_a_year"
    assert text[1].startswith("binance,linear,BTCUSDT,2024-01-01T08:00:00Z,8.0,0.01,")
    assert pd.read_csv(tmp_path / "rates.csv")["rate_percent"].iloc[2] == table["rate_percent"].iloc[2]
    with pytest.raises(UsageError, match=r"ends in neither \.csv nor \.parquet"):
        write_table(tmp_path / "rates.xlsx", table)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "rates.csv", "rates.parquet"]


def test_report_folder(lake: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    for venue in ("binance", "bybit"):
        put(lake, f"{venue}:linear:BTCUSDT", [8] * 200, list(generator.normal(1e-4, 2e-4, 200)))
    put(lake, "binance:linear:ETHUSDT", [4] * 400, list(generator.normal(0, 1e-4, 400)))
    histories = funding.load(lake)
    files = funding.report(histories, tmp_path / "study")
    assert {"report.html", "screen.csv", "screen.parquet", "pairs.csv", "forecast_errors.parquet"} <= set(files)
    page = files["report.html"].read_text()
    # The bars are of the lookback, the table below them of the whole history: a reader must be told of both.
    assert "Mean rate of the last days that are screened" in page
    assert "half-life and rates at a limit are of the whole history" in page
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])["figures"]
    assert set(figures) == set(re.findall(r'id="figure-(\w+)"', page))
    assert {"level", "cumulative", "distribution", "funding", "autocorrelation", "runs", "spread"} <= set(figures)
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!#)', markup)
    assert "Survivors only: all 3 contracts" in page
    assert "SYNTHETIC" not in page
    with pytest.raises(OutputError, match="exists already"):
        funding.report(histories, tmp_path / "study")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "study"]


def test_the_curve_of_run_lengths_is_the_share_of_runs_at_least_as_long(lake: Path) -> None:
    # Complete runs > 0 of 1, 1, 1, 2, 2 settlements of 8 h: all last 8 h, two in five 16 h.
    lengths = [1, 1, 1, 1, 1, 1, 1, 2, 1, 2, 1, 1]  # positive and negative by turns; the first and last are cut
    signs = [(-1) ** (index + 1) for index in range(len(lengths))]
    rates = [1e-4 * sign for sign, length in zip(signs, lengths, strict=True) for _ in range(length)]
    drawn = runs_figure(one(lake, [8] * len(rates), rates).contracts).data[0]
    x, y = (list(np.frombuffer(base64.b64decode(drawn[axis]["bdata"]), "<f8")) for axis in "xy")
    assert (x, y) == ([8.0, 16.0], [100.0, 40.0])
    assert drawn["line"]["shape"] == "vh"


def test_the_page_of_one_short_contract_can_be_drawn(lake: Path, tmp_path: Path) -> None:
    files = funding.report(one(lake, [8, 8], [0.0, 0.0]), tmp_path / "study")
    assert "No base asset is here on two venues at once." in files["report.html"].read_text()


def test_names_are_escaped_on_the_page(lake: Path, tmp_path: Path) -> None:
    key = SeriesKey("binance", "linear", "BTCUSDT", "funding")
    columns = {"time_ms": T0 + np.arange(9) * 8 * HOUR, "funding_rate": np.full(9, 1e-4)}
    Lake(lake).write(key, columns, Provenance("<script>alert(1)</script>", (), synthetic=True))
    page = funding.report(funding.load(lake), tmp_path / "study")["report.html"].read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "SYNTHETIC MARKET" in page


def test_a_range_turned_around_is_named(lake: Path) -> None:
    one(lake, [8] * 3, [1e-4] * 3)
    with pytest.raises(UsageError, match="nothing lies between 2024-02-01 and 2024-01-01"):
        funding.load(lake, start="2024-02-01", end="2024-01-01")

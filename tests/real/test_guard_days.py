"""Each guard of docs/specs/guards.md on a real day on which it has reason to act: what it does, and that it lets go.

Binance BTC, hourly or (2025-10-10) in 5-minute bars. A book is opened at a stated instant and then left to the guards.
Facts of the days are in the files: BTC opened at 7,934 on 2020-03-12 and traded at 3,782 a day later; its spot market
printed nothing from 02:00 to 06:00 on 2021-08-13; it went from 19,400 to 40,000 from 2020-12-16 to 2021-01-08.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crypto.errors import RefusedError
from crypto.market import MarketHistory
from crypto.oracle_composite import MAJORS, composite_series
from crypto.result import BacktestResult
from crypto.settings import DataSettings, FirstLeg, NakedPolicy, PairSettings, PriceSource, RunSettings, Settings
from crypto.units import HOUR_MS, parse_iso
from research.backtest import load, run_backtest
from research.laboratory.episodes import fill_lake
from research.laboratory.held_book import Book, run_book
from tests.markets import events

PAIRS = (PairSettings("binance:spot:BTCUSDT", "binance:linear:BTCUSDT"),)
CARRY, REVERSE = 1, -1
# The distance guard off, so that another guard can be seen at work.
NO_DISTANCE = {"min_distance": 0.0, "restore_distance": 0.0, "min_sigmas": 0.0, "restore_sigmas": 0.0}


@pytest.fixture(scope="module")
def lakes(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A lake of hourly bars, and one of 5-minute bars of October 2025."""
    found = {}
    for resolution in ("1h", "5m"):
        found[resolution] = tmp_path_factory.mktemp("guards") / resolution
        fill_lake(shared_data, found[resolution], resolution, PAIRS)
    return found


def prepared(lakes: Mapping[str, Path], start: str, end: str, tables: Mapping[str, Any]) -> Settings:
    """Settings of a run; 5-minute bars for October 2025. They have no mark series, so the last trade stands in."""
    fine = start.startswith("2025-10")
    settings = replace(
        Settings(),
        run=RunSettings(name="guards", start=start, end=end, timeframe="5m" if fine else "1h"),
        data=DataSettings(
            lake=str(lakes["5m" if fine else "1h"]), valuation_price=PriceSource.LAST if fine else PriceSource.MARK
        ),
        pairs=PAIRS,
    )
    settings = replace(settings, signal=replace(settings.signal, warmup_hours=24.0))
    for name, values in tables.items():
        settings = replace(settings, **{name: replace(getattr(settings, name), **values)})
    return settings


def hold(
    lakes: Mapping[str, Path],
    span: tuple[str, str, str],
    book: Book,
    oracle: np.ndarray[Any, Any] | None = None,
    **tables: Any,
) -> BacktestResult:
    """The book through ``span`` (first bar, opening, end), with its guards on."""
    settings = prepared(lakes, span[0], span[2], tables)
    market: MarketHistory = load(settings)
    if oracle is not None:
        market = replace(market, oracle={"BTC": oracle})
    result, _ = run_book(settings, market, book, parse_iso(span[1]), guarded=True)
    assert result.status == "completed"
    return result


def times(result: BacktestResult, event: str, reason: str) -> list[int]:
    """When a guard changed for that reason."""
    return [int(entry["time_ms"]) for entry in events(result, event) if entry["reason"] == reason]


def acts(result: BacktestResult, reason: str) -> list[Mapping[str, Any]]:
    """Decisions that were carried out for that reason."""
    return [entry for entry in events(result, "decision") if entry["approved"] and entry["reason"] == reason]


def assert_latched(result: BacktestResult, reason: str, most: int) -> None:
    """Trips and releases take turns, at most ``most`` of them, and none is left on at the end."""
    tripped, released = times(result, "guard_tripped", reason), times(result, "guard_released", reason)
    assert 1 <= len(tripped) <= most
    assert len(released) == len(tripped)
    assert all(on < off for on, off in zip(tripped, released, strict=True))
    assert all(off <= on for off, on in zip(released, tripped[1:], strict=False))


class TestLiquidationDistance:
    def test_a_long_perp_on_2020_03_12_is_topped_up_before_the_fall(self, lakes: Mapping[str, Path]) -> None:
        """At ten times the first fall of some per cent, at night, is enough; the great fall comes at 10:00."""
        result = hold(lakes, ("2020-03-06", "2020-03-12", "2020-03-12T10:00"), Book(PAIRS, 10.0, REVERSE))
        assert times(result, "guard_tripped", "liquidation_near")[0] < parse_iso("2020-03-12T10:00")
        assert {entry["action"] for entry in acts(result, "liquidation_near")} <= {"transfer", "reduce", "close"}
        assert events(result, "liquidation") == []
        assert_latched(result, "liquidation_near", 2)

    def test_a_short_perp_is_carried_through_a_doubling(self, lakes: Mapping[str, Path]) -> None:
        """Without the guard it would be liquidated near 29,000; with it no chatter: a trip every few days at most."""
        span, book = ("2020-12-10", "2020-12-16", "2021-01-08"), Book(PAIRS, 2.0, CARRY)
        guarded = hold(lakes, span, book)
        assert events(guarded, "liquidation") == []
        assert_latched(guarded, "liquidation_near", 6)
        assert {entry["action"] for entry in acts(guarded, "liquidation_near")} == {"transfer", "reduce"}
        bare = hold(lakes, span, book, risk=NO_DISTANCE)
        price = events(bare, "liquidation")[0]["mark_price"]
        # Margin is half the notional at 19,400: 1.5 x 19,400 = 29,100 less 0.4 % maintenance and what funding brought.
        assert price == pytest.approx(29_100, rel=0.02)

    def test_2021_05_19_and_2022_11_08(self, lakes: Mapping[str, Path]) -> None:
        for span in (("2021-05-13", "2021-05-19", "2021-05-21"), ("2022-11-02", "2022-11-08", "2022-11-10T12:00")):
            result = hold(lakes, span, Book(PAIRS, 5.0, REVERSE), signal={"flip_annual": -100.0})
            assert acts(result, "liquidation_near")
            assert len(times(result, "guard_tripped", "liquidation_near")) <= 6


class TestUnhedgedAndDrift:
    SPAN = ("2021-08-07", "2021-08-13T02:00", "2021-08-14")

    def test_a_perp_leg_that_waits_for_a_dark_spot_market_trips_the_timer(self, lakes: Mapping[str, Path]) -> None:
        execution = {"first_leg": FirstLeg.PERP, "leg_timeout_bars": 1000}
        result = hold(lakes, self.SPAN, Book(PAIRS, 2.0, CARRY), execution=execution, risk={"max_unhedged_hours": 2.0})
        # The perp fills at 02:00 and is first seen unhedged at 03:00; two hours later patience ends.
        assert times(result, "guard_tripped", "unhedged")[0] == parse_iso("2021-08-13T05:00")
        assert any(entry["reason"] == "guard" for entry in events(result, "cancel"))
        assert len(times(result, "guard_tripped", "unhedged")) <= 2
        # Then the drift guard trades the spot leg, which fills with the first bar that prints.
        assert acts(result, "delta_drift")[0]["action"] == "hedge"
        spot = [entry for entry in events(result, "fill") if entry["instrument"] == "binance:spot:BTCUSDT"]
        assert spot[0]["time_ms"] >= parse_iso("2021-08-13T06:00")
        assert result.spot_value[-1, 0] + result.perp_value[-1, 0] == pytest.approx(
            0.0, abs=0.02 * abs(result.perp_value[-1, 0])
        )

    def test_drift_is_hedged_once_and_then_left_alone(self, lakes: Mapping[str, Path]) -> None:
        execution = {"first_leg": FirstLeg.PERP, "leg_timeout_bars": 1000}
        result = hold(lakes, self.SPAN, Book(PAIRS, 2.0, CARRY), execution=execution, risk={"max_unhedged_hours": 2.0})
        filled = result.orders[(result.orders["leg"] == 0) & (result.orders["filled_lots"] != 0)]
        assert filled.size == 1
        later = [entry for entry in acts(result, "delta_drift") if entry["time_ms"] > parse_iso("2021-08-13T08:00")]
        assert later == []


class TestSignalExits:
    def test_funding_turns_after_the_fall_of_ftx(self, lakes: Mapping[str, Path]) -> None:
        """The default strategy through November 2022: after an exit it stays out for its cooldown at least."""
        wallets = {"binance:spot": {"USDT": 70_000.0}, "binance:linear": {"USDT": 35_000.0}}
        settings = prepared(lakes, "2022-10-20", "2022-12-10", {"signal": {"entry_edge_bps": -30.0}})
        settings = replace(settings, wallets=wallets)
        result = run_backtest(settings, load(settings), compiled=False)
        closed = [entry for entry in events(result, "trip_closed") if entry["reason"] == "funding_flip"]
        opened = [int(entry["time_ms"]) for entry in events(result, "trip_opened")]
        assert 1 <= len(closed) <= 8
        for entry in closed:
            again = [time_ms for time_ms in opened if time_ms > entry["time_ms"]]
            assert not again or again[0] - entry["time_ms"] >= 24 * HOUR_MS

    def test_the_basis_blows_out_in_the_night_to_2020_03_13(self, lakes: Mapping[str, Path]) -> None:
        """The perp fell to 257 bp below spot: against a long perp."""
        span = ("2020-03-06", "2020-03-12T12:00", "2020-03-15")
        result = hold(lakes, span, Book(PAIRS, 1.0, REVERSE), risk=NO_DISTANCE, signal={"pair_drawdown": 1.0})
        (done,) = acts(result, "basis_blowout")
        assert (done["action"], events(result, "trip_closed")[0]["reason"]) == ("close", "basis_blowout")
        row = int(np.searchsorted(result.time_ms, done["time_ms"]))
        opened = int(np.searchsorted(result.time_ms, parse_iso(span[1])))
        assert result.basis_bps[opened, 0] - result.basis_bps[row, 0] > 150.0
        assert len(events(result, "trip_opened")) == 1

    def test_a_pair_that_falls_from_its_best_is_closed_on_2025_10_10(self, lakes: Mapping[str, Path]) -> None:
        span = ("2025-10-09", "2025-10-10T12:00", "2025-10-11")
        result = hold(lakes, span, Book(PAIRS, 5.0, REVERSE), risk=NO_DISTANCE, signal={"pair_drawdown": 0.004})
        (done,) = acts(result, "pair_drawdown")
        assert parse_iso("2025-10-10T20:50") <= done["time_ms"] <= parse_iso("2025-10-10T22:00")
        assert result.perp_value[-1, 0] == 0.0


class TestAdlLight:
    SPAN = ("2025-10-07", "2025-10-10T12:00", "2025-10-11")  # entries of the population are drawn from these days
    ADL: Mapping[str, Any] = {
        "enabled": True,
        "open_interest": {PAIRS[0].perp: 5e9},
        "insurance_fund": {PAIRS[0].perp: 0.0},
        "min_move": 0.02,
    }

    def test_a_bright_light_halves_the_short_on_2025_10_10(self, lakes: Mapping[str, Path]) -> None:
        risk = {**NO_DISTANCE, "max_adl_light": 3}
        result = hold(
            lakes, self.SPAN, Book(PAIRS, 10.0, CARRY), risk=risk, adl=self.ADL, margin={"liquidity_gap": 1.0}
        )
        tripped = times(result, "guard_tripped", "adl_light")
        assert parse_iso("2025-10-10T20:50") <= tripped[0] <= parse_iso("2025-10-10T21:45")
        done = acts(result, "adl_light")[0]
        held = abs(int(result.orders["filled_lots"][result.orders["leg"] == 1][0]))
        assert done["action"] == "reduce"
        assert done["perp_lots"] == pytest.approx(held / 2, abs=1)
        assert_latched(result, "adl_light", 2)

    def test_a_light_limit_that_is_never_reached_trips_nothing(self, lakes: Mapping[str, Path]) -> None:
        risk = {**NO_DISTANCE, "max_adl_light": 5}
        result = hold(
            lakes, self.SPAN, Book(PAIRS, 10.0, CARRY), risk=risk, adl=self.ADL, margin={"liquidity_gap": 1.0}
        )
        assert times(result, "guard_tripped", "adl_light") == []


class TestOracle:
    SPAN = ("2025-10-09", "2025-10-10T12:00", "2025-10-11T03:00")

    @staticmethod
    def status(shared_data: Path, start: str, end: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Composite of Binance and Bybit, spot and perp, at every 5-minute close; closes (ms) and status."""
        binance, bybit = shared_data / "binance-5m-2025-10-harthor", shared_data / "bybit-spot-perp-5m-2025-10-pennyqiu"
        files = (
            binance / "spot_BTC_USDT-5m.feather",
            binance / "perp_BTC_USDT_USDT-5m.feather",
            bybit / "BTC_USDT-5m.feather",
            bybit / "futures" / "BTC_USDT_USDT-5m-futures.feather",
        )
        open_ms = np.arange(parse_iso(start), parse_iso(end), 300_000, dtype=np.int64)
        closes = []
        for file in files:
            table = pd.read_feather(file)
            stamps = table["date"].to_numpy("datetime64[ms]").astype(np.int64)
            closes.append(pd.Series(table["close"].to_numpy(), stamps).reindex(open_ms).to_numpy())
        price = np.column_stack(closes)
        assert np.isfinite(price).all()
        rules = MAJORS._replace(max_dispersion=0.005)
        found = composite_series(
            open_ms + 300_000, price, np.ones_like(price), np.zeros_like(price), np.ones(len(files)), rules
        )
        return open_ms + 300_000, found.status

    def test_venues_that_split_forbid_the_opening_and_nothing_else(
        self, lakes: Mapping[str, Path], shared_data: Path
    ) -> None:
        close_ms, status = self.status(shared_data, self.SPAN[0], self.SPAN[2])
        bad = close_ms[status != 0]
        assert parse_iso("2025-10-10T20:45") <= bad[0] <= parse_iso("2025-10-10T22:00")
        book = Book(PAIRS, 2.0, CARRY)
        result = hold(lakes, self.SPAN, book, oracle=status, risk={"oracle_recovery_bars": 6})
        tripped, released = times(result, "guard_tripped", "oracle"), times(result, "guard_released", "oracle")
        assert tripped[0] == bad[0]
        assert_latched(result, "oracle", 6)
        # It lets go with the sixth good bar in a row.
        first = int(np.searchsorted(close_ms, released[0]))
        assert status[first - 5 : first + 1].tolist() == [0] * 6
        assert abs(result.perp_value[-1, 0]) > 0.0  # what is open stays open
        for when in (int(bad[0]), released[0] - 300_000):
            late = (self.SPAN[0], str(np.datetime64(when, "ms")), self.SPAN[2])
            with pytest.raises(RefusedError, match="oracle"):
                hold(lakes, late, book, oracle=status, risk={"oracle_recovery_bars": 6})


def test_a_short_that_outgrew_its_share_in_the_rally_of_2020_12(lakes: Mapping[str, Path]) -> None:
    """Half of equity is allowed and 45 % taken: at 1.25 x 50 % the guard trips, near 27,000, and cuts to the half."""
    risk = {**NO_DISTANCE, "max_asset_fraction": 0.5}
    result = hold(lakes, ("2020-12-10", "2020-12-16", "2021-01-08"), Book(PAIRS, 1.0, CARRY), risk=risk)
    tripped = events(result, "guard_tripped")[0]
    assert (tripped["reason"], tripped["limit"]) == ("concentrated", 1.25)
    row = int(np.searchsorted(result.time_ms, tripped["time_ms"]))
    assert abs(result.perp_value[row, 0]) / result.equity[row] == pytest.approx(0.5 * tripped["value"], rel=1e-9)
    assert abs(result.perp_value[row + 3, 0]) / result.equity[row + 3] == pytest.approx(0.5, rel=0.02)
    assert_latched(result, "concentrated", 3)


class TestNakedLeg:
    @pytest.mark.parametrize(("policy", "hours"), [(NakedPolicy.FLATTEN, 0), (NakedPolicy.WAIT, 6)])
    def test_after_the_liquidation_of_2020_03_12(
        self, lakes: Mapping[str, Path], policy: NakedPolicy, hours: int
    ) -> None:
        book = Book(PAIRS, 10.0, REVERSE, naked_policy=policy)
        risk = {**NO_DISTANCE, "naked_wait_hours": 6.0}
        result = hold(lakes, ("2020-03-06", "2020-03-12", "2020-03-14"), book, risk=risk)
        forced = events(result, "liquidation")
        assert len(forced) == 1
        bought = [
            entry
            for entry in events(result, "fill")
            if entry["instrument"] == PAIRS[0].spot and entry["time_ms"] > forced[0]["time_ms"]
        ]
        assert bought[0]["time_ms"] // HOUR_MS * HOUR_MS == forced[0]["time_ms"] + hours * HOUR_MS
        assert events(result, "trip_closed")[0]["reason"] == "liquidated"
        assert result.spot_value[-1, 0] == pytest.approx(0.0, abs=10.0)


class TestKillSwitch:
    def test_it_closes_everything_and_stays_off(self, lakes: Mapping[str, Path]) -> None:
        """The default strategy from March 2020 to May: without the switch it comes back by the end of April."""
        wallets = {"binance:spot": {"USDT": 70_000.0}, "binance:linear": {"USDT": 30_000.0}}
        runs = {}
        for limit in (0.0025, 0.2):
            settings = prepared(lakes, "2020-03-01", "2020-05-01", {"risk": {"max_drawdown": limit}})
            settings = replace(settings, wallets=wallets)
            runs[limit] = run_backtest(settings, load(settings), compiled=False)
        killed, free = runs[0.0025], runs[0.2]
        (switch,) = events(killed, "kill_switch")
        assert switch["equity"] < (1 - 0.0025) * switch["peak_equity"]
        assert acts(killed, "killed")[0]["time_ms"] == switch["time_ms"]
        assert events(killed, "trip_closed")[-1]["reason"] == "killed"
        assert all(entry["time_ms"] < switch["time_ms"] for entry in events(killed, "trip_opened"))
        assert killed.perp_value[-1, 0] == 0.0
        assert max(entry["time_ms"] for entry in events(free, "trip_opened")) > parse_iso("2020-04-15")
        assert events(free, "kill_switch") == []

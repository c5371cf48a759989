"""The oracle of a run: status by hand, the perp's own price, what is missing, nothing of the future, settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto.errors import CarryError, DataError, SettingsError
from crypto.market import MarketHistory
from crypto.oracle_composite import ALTS, MAJORS, Rules, Status
from crypto.settings import OracleKind, OracleSettings, PriceSource, Settings
from crypto.simulator.setup import build
from data.oracle_history import rules_of, status_of_perp, with_oracle
from data.oracle_series import OracleRequest, rebuild
from data.settings import load_settings, settings_as_mapping, settings_from_mapping
from data.store.lake import Lake, Provenance, SeriesKey
from research.backtest import run_backtest
from tests.markets import (
    BTC,
    BTC_BYBIT,
    ETH,
    PEPE,
    START,
    bars,
    make_settings,
    market,
    one_pair,
    perp,
    settlements,
    spot,
)

HOUR = 3_600_000
SPOTS = tuple(f"{venue}:spot:BTCUSDT" for venue in ("binance", "bybit", "okx"))
OK, DEGRADED, HALT = int(Status.OK), int(Status.DEGRADED), int(Status.HALT)


def put(lake: Lake, key: str, closes: Sequence[float], series: str = "bars", *, start: int = 0) -> None:
    """Hourly bars whose k-th opens ``start + k`` hours after the market's; NaN leaves a bar out."""
    venue, kind, symbol = key.split(":")
    prices = np.array(closes, dtype=float)
    held = ~np.isnan(prices)
    columns: dict[str, Any] = {"time_ms": (START + (start + np.arange(len(prices))) * HOUR)[held]}
    columns |= dict.fromkeys(("open", "high", "low", "close"), prices[held])
    if series == "bars":
        columns["volume"] = np.ones(held.sum())
    lake.write(SeriesKey(venue, kind, symbol, series, "1h"), columns, Provenance(f"file of {venue}"))


def settings_of(pairs: Sequence[tuple[str, str]] = (BTC,), **oracle: Any) -> Settings:
    return make_settings(pairs, oracle={"enabled": True, "max_mark_deviation": 0.0, **oracle})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Fourth bar: one venue only. Third: two. Fifth: three, OKX 3.5 % up."""
    lake = Lake(tmp_path / "lake")
    put(lake, SPOTS[0], [100.0, 101.0, 102.0, 103.0, 100.0, 100.0])
    put(lake, SPOTS[1], [100.1, 101.1, math.nan, math.nan, 100.0, 100.0])
    put(lake, SPOTS[2], [100.2, 101.2, 102.2, math.nan, 103.5, 100.0])
    return lake


class TestStatus:
    def test_by_hand(self, lake: Lake) -> None:
        found = with_oracle(one_pair(BTC, 100.0, 6), lake, settings_of())
        assert {name: codes.tolist() for name, codes in found.oracle.items()} == {
            "BTC": [OK, OK, DEGRADED, HALT, DEGRADED, OK]
        }
        assert found.oracle["BTC"].dtype == np.int8

    def test_a_bar_that_no_source_covers_is_a_halt(self, lake: Lake) -> None:
        found = with_oracle(one_pair(BTC, 100.0, 8), lake, settings_of())
        assert found.oracle["BTC"].tolist()[6:] == [HALT, HALT]

    def test_an_allowed_age_keeps_an_older_price(self, lake: Lake) -> None:
        """Prices of one to two hours before lie 1.9 % apart: good by wider limits only."""
        wide = settings_of(max_age_ms=2 * HOUR, max_dispersion_majors=0.05, deviation_floor_majors=0.03)
        assert with_oracle(one_pair(BTC, 100.0, 6), lake, wide).oracle["BTC"].tolist()[:4] == [OK] * 4

    def test_named_sources_are_the_only_ones(self, lake: Lake) -> None:
        put(lake, "kraken:spot:BTCUSDT", [50.0] * 6)
        history = one_pair(BTC, 100.0, 6)
        named = with_oracle(history, lake, settings_of(sources={"BTC": SPOTS}))
        assert named.oracle["BTC"].tolist() == [OK, OK, DEGRADED, HALT, DEGRADED, OK]
        assert named.sources == {f"{key} bars 1h": f"file of {key.split(':')[0]}" for key in SPOTS}
        assert "kraken:spot:BTCUSDT bars 1h" in with_oracle(history, lake, settings_of()).sources

    def test_a_market_without_it_stays_as_it_is(self, lake: Lake) -> None:
        history = one_pair(BTC, 100.0, 6)
        assert with_oracle(history, lake, settings_of(enabled=False)) is history

    def test_nothing_of_the_future_is_seen(self, lake: Lake) -> None:
        """Every stored value after the third close is changed: statuses up to it stay, the later ones do not."""
        settings = settings_of(max_mark_deviation=0.03)
        path = [100.0, 100.0, 101.0, 102.0, 103.0, 100.0, 100.0]
        before = with_oracle(one_pair(BTC, path), lake, settings)
        for key, closes in zip(SPOTS, ([100.0, 101.0, 102.0], [100.1, 101.1, math.nan], [100.2, 101.2, 102.2]),
                               strict=True):  # fmt: skip
            put(lake, key, [*closes, 500.0, 500.0, 500.0])
        after = with_oracle(one_pair(BTC, [*path[:4], 900.0, 900.0, 900.0]), lake, settings)
        for name in ("BTC", BTC[1]):
            assert after.oracle[name][:3].tolist() == before.oracle[name][:3].tolist()
            assert after.oracle[name][3:].tolist() != before.oracle[name][3:].tolist()


class TestPerpOffTheComposite:
    def marked(self, closes: Sequence[float]) -> MarketHistory:
        return one_pair(BTC, 100.0, len(closes), mark=bars([100.0, *closes]))

    def test_beyond_the_limit_or_unknown_is_degraded(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path / "lake")
        for key in SPOTS:
            put(lake, key, [100.0] * 5)
        history = self.marked([100.0, 102.9, 103.1, 96.9, math.nan])
        found = with_oracle(history, lake, settings_of(max_mark_deviation=0.03))
        assert found.oracle["BTC"].tolist() == [OK] * 5
        assert found.oracle[BTC[1]].tolist() == [OK, OK, DEGRADED, DEGRADED, DEGRADED]

    def test_a_halt_stays_a_halt(self, lake: Lake) -> None:
        found = with_oracle(self.marked([100.0] * 6), lake, settings_of(max_mark_deviation=0.03))
        assert found.oracle[BTC[1]].tolist()[3] == HALT

    def test_prices_of_multiplied_contracts_are_per_base_unit(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path / "lake")
        for venue in ("binance", "bybit", "okx"):
            put(lake, f"{venue}:spot:PEPEUSDT", [1e-5] * 3)
        history = one_pair(PEPE, 1e-5, 3, perp_prices=np.array([0.01, 0.01, 0.0102, 0.0104]))
        found = with_oracle(history, lake, settings_of([PEPE], max_mark_deviation=0.03))
        assert found.oracle[PEPE[1]].tolist() == [OK, OK, DEGRADED]

    def test_prices_in_another_quote_are_converted(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path / "lake")
        for key in SPOTS:
            put(lake, key, [95.0] * 2)
        series = rebuild(lake, OracleRequest("BTC", quotes=("USDC",), quote_rates={"USDC": 0.95}))
        status = status_of_perp(series, START + HOUR * np.array([1, 2]), np.array([100.0, 95.0]), "USDC", 0.03)
        assert status.tolist() == [OK, DEGRADED]

    def test_a_run_valued_on_the_last_trade_compares_that(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path / "lake")
        for key in SPOTS:
            put(lake, key, [100.0] * 3)
        history = one_pair(BTC, 100.0, 3, perp_prices=np.array([100.0, 100.0, 104.0, 100.0]), mark=bars(100.0, 3))
        settings = settings_of(max_mark_deviation=0.03)
        last = replace(settings, data=replace(settings.data, valuation_price=PriceSource.LAST))
        assert with_oracle(history, lake, settings).oracle[BTC[1]].tolist() == [OK, OK, OK]
        assert with_oracle(history, lake, last).oracle[BTC[1]].tolist() == [OK, DEGRADED, OK]

    def test_marks_are_enough_where_the_traded_bars_come_later(self, lake: Lake) -> None:
        """As in the market of a run on Lean, whose bars Lean delivers."""
        history = one_pair(BTC, np.full(7, math.nan), mark=bars(100.0, 6))
        found = with_oracle(history, lake, settings_of(max_mark_deviation=0.03))
        assert found.oracle[BTC[1]].tolist() == [OK, OK, DEGRADED, HALT, DEGRADED, OK]

    def test_a_perp_without_marks_is_named(self, lake: Lake) -> None:
        history = market(
            spot(BTC[0], bars(100.0, 6)), replace(perp(BTC[1], bars(100.0, 6), settlements([])), mark=None)
        )
        with pytest.raises(DataError, match="no mark of binance:linear:BTCUSDT") as caught:
            with_oracle(history, lake, settings_of(max_mark_deviation=0.03))
        assert "oracle.max_mark_deviation = 0" in caught.value.remedy
        assert with_oracle(history, lake, settings_of()).oracle["BTC"][0] == OK


class TestMissing:
    def refused(self, lake: Lake, error: type[CarryError] = DataError, **oracle: Any) -> tuple[str, str]:
        with pytest.raises(error) as caught:
            with_oracle(one_pair(BTC, 100.0, 6), lake, settings_of(**oracle))
        return caught.value.message, caught.value.remedy

    def test_a_source_that_is_not_held(self, lake: Lake) -> None:
        message, remedy = self.refused(lake, sources={"BTC": (*SPOTS, "kraken:spot:BTCUSDT")})
        assert message == "oracle of BTC: no bars of kraken:spot:BTCUSDT of 1h or shorter are held"
        assert "ingest" in remedy

    def test_a_source_that_is_held_for_another_time(self, lake: Lake) -> None:
        put(lake, "kraken:spot:BTCUSDT", [100.0] * 3, start=100)
        message, remedy = self.refused(lake, sources={"BTC": (*SPOTS, "kraken:spot:BTCUSDT")})
        assert message == (
            "oracle of BTC: kraken:spot:BTCUSDT bars 1h has no usable price between 2024-01-01T00:00:00Z and"
            " 2024-01-01T06:00:00Z (no_price)"
        )
        assert "oracle.sources.BTC" in remedy

    def test_a_source_that_cannot_be_converted(self, lake: Lake) -> None:
        put(lake, "coinbase:spot:BTCUSDC", [100.0] * 6)
        chosen = {"BTC": (*SPOTS, "coinbase:spot:BTCUSDC")}
        message, remedy = self.refused(lake, sources=chosen)
        assert "coinbase:spot:BTCUSDC bars 1h has no usable price" in message
        assert remedy == "ingest spot bars of USDCUSDT, or state oracle.quote_rates.USDC"
        found = with_oracle(one_pair(BTC, 100.0, 6), lake, settings_of(sources=chosen, quote_rates={"USDC": 1.0}))
        assert found.oracle["BTC"][0] == OK

    def test_a_contract_on_another_asset(self, lake: Lake) -> None:
        message, _ = self.refused(lake, sources={"BTC": (*SPOTS, "kraken:spot:ETHUSDT")})
        assert message == "oracle of BTC: kraken:spot:ETHUSDT is no source of a composite index of BTC"

    def test_fewer_venues_than_the_quorum(self, lake: Lake) -> None:
        message, remedy = self.refused(lake, quorum=4)
        assert message.startswith("oracle of BTC: sources with usable prices between 2024-01-01T00:00:00Z and")
        assert message.count(" bars 1h") == 3
        assert "fewer than oracle.quorum = 4" in message
        assert "lower oracle.quorum" in remedy

    def test_no_venue_at_all(self, lake: Lake) -> None:
        message, remedy = self.refused(lake, kind=OracleKind.MARK)
        assert message.startswith("oracle of BTC: no venue of the lake has BTC for the composite mark")
        assert "set oracle.enabled = false" in remedy

    def test_an_asset_that_no_pair_trades(self, lake: Lake) -> None:
        message, remedy = self.refused(lake, SettingsError, sources={"XBT": SPOTS})
        assert message == "oracle.sources names XBT, which no pair trades"
        assert remedy == "assets of this run: BTC"


class TestProvenance:
    def test_the_hash_covers_sources_and_limits(self, lake: Lake, tmp_path: Path) -> None:
        history = one_pair(BTC, 100.0, 6)
        first = with_oracle(history, lake, settings_of())
        assert first.data_hash == with_oracle(history, lake, settings_of()).data_hash
        assert first.data_hash != history.data_hash
        put(lake, SPOTS[0], [100.01, 101.0, 102.0, 103.0, 100.0, 100.0])  # a value, no status
        changed = with_oracle(history, lake, settings_of())
        assert changed.oracle["BTC"].tolist() == first.oracle["BTC"].tolist()
        hashes = {first.data_hash, changed.data_hash}
        hashes |= {with_oracle(history, lake, settings_of(**other)).data_hash for other in (
            {"mad_factor": 6.0}, {"weights": {"okx": 5.0}})}  # fmt: skip
        assert len(hashes) == 4

    def test_notes_and_sources_say_what_it_is_made_of(self, lake: Lake) -> None:
        put(lake, "coinbase:spot:BTCUSDC", [100.0] * 6)
        put(lake, "kraken:spot:USDCUSDT", [1.0] * 6)
        found = with_oracle(replace(one_pair(BTC, 100.0, 6), synthetic=False), lake, settings_of())
        assert found.sources["kraken:spot:USDCUSDT bars 1h"] == "file of kraken"
        assert not found.synthetic
        made_of = (
            "oracle of BTC: composite index in USDT of binance:spot:BTCUSDT bars 1h (weight 3), bybit:spot:BTCUSDT bars"
            " 1h (weight 2), coinbase:spot:BTCUSDC bars 1h (weight 1), okx:spot:BTCUSDT bars 1h (weight 2)"
        )
        assert found.notes == (made_of, "oracle of BTC: USDC converted to USDT by kraken:spot:USDCUSDT")

    def test_generated_sources_make_the_run_synthetic(self, lake: Lake) -> None:
        key = SeriesKey("kraken", "spot", "USDCUSDT", "bars", "1h")
        columns: dict[str, Any] = {"time_ms": START + HOUR * np.arange(6)}
        columns |= {name: np.ones(6) for name in ("open", "high", "low", "close", "volume")}
        lake.write(key, columns, Provenance("generator", synthetic=True))
        history = replace(one_pair(BTC, 100.0, 6), synthetic=False)
        assert not with_oracle(history, lake, settings_of()).synthetic
        put(lake, "coinbase:spot:BTCUSDC", [100.0] * 6)
        assert with_oracle(history, lake, settings_of()).synthetic


class TestInTheEngine:
    def test_the_worse_of_asset_and_perp_counts_for_each_pair(self) -> None:
        flat = bars(100.0, 4)
        history = market(
            *(spot(pair[0], flat) for pair in (BTC, ETH, BTC_BYBIT)),
            *(perp(pair[1], flat, settlements([])) for pair in (BTC, ETH, BTC_BYBIT)),
        )
        status = {"BTC": [0, 1, 2, 0], BTC_BYBIT[1]: [1, 0, 1, 0]}
        watched = replace(history, oracle={name: np.array(codes, dtype=np.int8) for name, codes in status.items()})
        wallets = {"binance:spot": {"USDT": 1e4}, "binance:linear": {"USDT": 1e4}, "bybit:unified": {"USDT": 1e4}}
        world = build(make_settings([BTC, ETH, BTC_BYBIT], wallets), watched).world
        assert world.oracle.tolist() == [[0, 1, 2, 0], [0, 0, 0, 0], [1, 1, 2, 0]]

    def test_bars_are_counted_by_status(self, lake: Lake) -> None:
        history, settings = one_pair(BTC, 100.0, 6), settings_of()
        counted = run_backtest(settings, with_oracle(history, lake, settings), compiled=False)
        assert counted.policies["price oracle"] == {
            "policy": "index", "BTC ok": 3, "BTC degraded": 2, "BTC halt": 1,
        }  # fmt: skip
        assert run_backtest(settings_of(enabled=False), history, compiled=False).policies["price oracle"] == "off"


class TestSettings:
    def test_the_defaults_are_those_of_the_formula(self) -> None:
        """Live ages make no sense on stored bars; everything else is as in crypto.oracle."""
        assert rules_of(OracleSettings(), "BTC") == MAJORS._replace(max_age_ms=0.0)
        assert rules_of(OracleSettings(), "PEPE") == ALTS._replace(max_age_ms=0.0)
        assert OracleSettings().max_mark_deviation == Rules().deviation_cap
        assert {kind.value for kind in OracleKind} == {"index", "mark", "last"}

    def test_every_key_is_read_and_survives_a_result(self, tmp_path: Path) -> None:
        path = tmp_path / "run.toml"
        path.write_text(
            """
            [wallets."binance:spot"]
            USDT = 1000
            [[pairs]]
            spot = "binance:spot:BTCUSDT"
            perp = "binance:linear:BTCUSDT"
            [oracle]
            enabled = true
            kind = "last"
            quorum = 2
            max_age_ms = 3600000
            sources.BTC = ["binance:linear:BTCUSDT", "lighter:linear:BTCUSDC"]
            weights.lighter = 2
            quote_rates.USDC = 0.9998
            """,
            encoding="utf-8",
        )
        settings = load_settings(path, ["oracle.mad_factor=4"])
        assert settings.oracle == OracleSettings(
            enabled=True,
            kind=OracleKind.LAST,
            sources={"BTC": ("binance:linear:BTCUSDT", "lighter:linear:BTCUSDC")},
            weights={"lighter": 2.0},
            quote_rates={"USDC": 0.9998},
            max_age_ms=HOUR,
            quorum=2,
            mad_factor=4.0,
        )
        assert settings_from_mapping(settings_as_mapping(settings), "a result") == settings

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("quorum = 0", "oracle.quorum = 0 must be from 1 to 100"),
            ("quorum = 2\ndegraded_quorum = 3", "oracle.degraded_quorum = 3 must not be above oracle.quorum = 2"),
            ("deviation_floor_majors = 0.04",
             "oracle.deviation_floor_majors = 0.04 must not be above oracle.deviation_cap = 0.03"),
            ("kind = 'median'", "oracle.kind = 'median' must be one of index, mark, last"),
            ("sources.btc = ['a:spot:B', 'b:spot:B', 'c:spot:B']", "oracle.sources.btc: the name 'btc' must be"),
            ("sources.BTC = 'a:spot:B'", "oracle.sources.BTC = 'a:spot:B' must be a list"),
            ("sources.BTC = ['a:spot:B']", "oracle.sources.BTC has fewer entries (1) than oracle.quorum = 3"),
            ("sources.BTC = ['a:spot:B', 'a:spot:C', 'b:spot:B']", "'a:spot:C': a is named twice"),
            ("sources.BTC = ['a:spot:B', 'b:spot:B', 'c']", "oracle.sources.BTC.2 = 'c': instrument 'c' is not of"),
            ("sources.BTC = ['a:spot:B', 'b:linear:B', 'c:spot:B']",
             "oracle.sources.BTC.1 = 'b:linear:B' must be a spot instrument, because oracle.kind = 'index'"),
            ("quote_rates.USDC = 0", "oracle.quote_rates.USDC = 0 must be more than zero"),
            ("weights.okx = -1", "oracle.weights.okx = -1 must be more than zero"),
        ],
    )  # fmt: skip
    def test_what_makes_no_sense_is_refused_by_name(self, tmp_path: Path, text: str, problem: str) -> None:
        path = tmp_path / "run.toml"
        path.write_text(
            '[wallets."binance:spot"]\nUSDT = 1\n[[pairs]]\nspot = "binance:spot:BTCUSDT"\n'
            f'perp = "binance:linear:BTCUSDT"\n[oracle]\n{text}\n',
            encoding="utf-8",
        )
        with pytest.raises(SettingsError) as caught:
            load_settings(path)
        assert problem in caught.value.message
        assert "1 problem\n" in caught.value.message

"""The synthetic market: its published rules exactly, its statistics within stated tolerances."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import DataError, UsageError
from crypto.instruments import Kind
from crypto.market import Bars
from crypto.scenario import ASSETS, BURN_IN_MINUTES, MAX_DAYS, TIMEFRAME_MINUTES, ContractParameters, Scenario
from crypto.synthetic import (
    AssetMarket,
    SyntheticMarket,
    bars,
    borrow_rates,
    check_price_resolution,
    funding_rate,
    generate,
    trailing_mean,
)
from crypto.synthetic_paths import (
    asset_path,
    crash_paths,
    decaying_sum,
    market_state,
    ornstein_uhlenbeck,
    stream,
    timeline,
    unit_student,
    volatility_season,
    volume_season,
)
from crypto.venues.registry import venue

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return generate(Scenario(seed=1))


def asset(market: SyntheticMarket, base: str) -> AssetMarket:
    return next(one for one in market.assets if one.parameters.base == base)


def autocorrelation(values: np.ndarray, lag: int) -> float:
    centred = values - values.mean()
    return float(np.mean(centred[:-lag] * centred[lag:]) / np.mean(centred * centred))


def hourly_returns(bars: Bars) -> np.ndarray:
    return np.diff(np.log(bars.close))


# ------------------------------------------------------------------------------------------------------ wrong scenarios


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"days": 0}, "days = 0"),
        ({"days": -3}, "days = -3"),
        ({"days": MAX_DAYS + 1}, f"days = {MAX_DAYS + 1}"),
        ({"seed": -1}, "seed = -1"),
        ({"timeframe": "7h"}, "timeframe = '7h'"),
        ({"start_ms": 1_704_067_200_001}, "start = 1704067200001"),
    ],
)
def test_a_wrong_scenario_is_refused_and_names_the_value(values: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word) as caught:
        Scenario(**values)
    assert caught.value.remedy


def test_a_price_of_a_few_ticks_is_refused() -> None:
    prices = np.array([0.00000011, 0.00000009])
    contract = ContractParameters("PEPEUSDT", decimals=8, hourly_volume=1.0, volume_decimals=0)
    with pytest.raises(DataError, match=r"PEPEUSDT.*seed 5.*0\.00000009"):
        check_price_resolution(contract, Bars(prices, prices, prices, prices, prices), 5)


# --------------------------------------------------------------------------------------------------------- funding rule


@pytest.mark.parametrize(
    ("premium", "hours", "cap", "expected"),
    [
        (0.0, 8, 0.003, "0.0001"),  # no premium: the interest rate
        (0.0005, 8, 0.003, "0.0001"),  # I - P = -0.0004 is inside the clamp: the rate stays the interest
        (0.0015, 8, 0.003, "0.001"),  # I - P = -0.0014, clamped to -0.0005
        (-0.0009, 8, 0.003, "-0.0004"),  # I - P = +0.001, clamped to +0.0005
        (0.0, 4, 0.02, "0.00005"),  # a 4h contract pays half of the 8h rate
        (-0.0009, 4, 0.02, "-0.0002"),
        (0.0100, 8, 0.003, "0.003"),  # 0.0095 is above the cap
        (-0.0100, 8, 0.003, "-0.003"),
        (-0.0100, 4, 0.02, "-0.00475"),  # below the cap of the contract
    ],
)
def test_funding_of_a_constant_premium(premium: float, hours: int, cap: float, expected: str) -> None:
    rate = funding_rate(np.full((1, hours * 60), premium), hours, cap)
    assert rate.tolist() == [float(expected)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-40_000, 40_000), min_size=1, max_size=40),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from(["0.003", "0.02"]),
)
def test_funding_is_the_weighted_average_clamped_in_exact_arithmetic(
    millionths: list[int], hours: int, cap: str
) -> None:
    samples = [Fraction(value, 1_000_000) for value in millionths]
    weights = range(1, len(samples) + 1)
    average = sum((w * s for w, s in zip(weights, samples, strict=True)), Fraction(0)) / sum(weights)
    clamped = max(Fraction(-5, 10_000), min(Fraction(5, 10_000), Fraction(1, 10_000) - average))
    limit = Fraction(cap)
    exact = max(-limit, min(limit, (average + clamped) * hours / 8))
    rate = funding_rate(np.array([[float(s) for s in samples]]), hours, float(cap))[0]
    assert abs(Fraction(float(rate)) - exact) <= Fraction(51, 10**10)  # half of the eighth decimal


def test_later_premium_samples_weigh_more() -> None:
    # (1 * 0.004 + 2 * 0.001 + 3 * 0.003) / 6 = 0.0025; minus 0.0005
    assert funding_rate(np.array([[0.004, 0.001, 0.003]]), 8, 0.003).tolist() == [0.002]


# ------------------------------------------------------------------------------------------------------ settlements


@pytest.mark.parametrize(("base", "hours"), [("BTC", 8), ("ETH", 8), ("PEPE", 4)])
def test_settlement_calendar_is_exact_after_flooring(market: SyntheticMarket, base: str, hours: int) -> None:
    stamps = asset(market, base).settlement_stamp_ms
    start = 1_704_067_200_000
    floored = stamps // HOUR_MS * HOUR_MS
    assert floored.tolist() == list(range(start, start + 180 * DAY_MS, hours * HOUR_MS))
    late = stamps - floored
    assert set(late.tolist()) == set(range(32))  # hundreds of settlements see every delay of 0 .. 31 ms


@pytest.mark.parametrize("base", ["BTC", "ETH", "PEPE"])
def test_funding_follows_the_premium_of_the_interval_that_ends(base: str) -> None:
    scenario = Scenario(seed=3, days=5)
    one = asset(generate(scenario), base)
    path = asset_path(scenario, market_state(scenario), one.parameters)
    minutes = one.parameters.settlement_hours * 60
    for number in (0, 1, 7):
        end = BURN_IN_MINUTES + number * minutes
        samples = path.premium[end - minutes + 1 : end + 1]
        average = sum((k + 1) * float(p) for k, p in enumerate(samples)) / (minutes * (minutes + 1) / 2)
        per_8h = average + max(-0.0005, min(0.0005, 0.0001 - average))
        expected = max(-one.parameters.funding_cap, min(one.parameters.funding_cap, per_8h * minutes / 480))
        assert one.funding_rate[number] == pytest.approx(expected, abs=0.51e-8)


def test_the_crash_binds_the_caps_of_the_majors(market: SyntheticMarket) -> None:
    assert asset(market, "BTC").funding_rate.min() == -0.003
    assert asset(market, "ETH").funding_rate.min() == -0.003


def test_funding_pays_the_short_on_average_and_turns_negative_in_bear_phases(market: SyntheticMarket) -> None:
    for base in ("BTC", "ETH"):
        rates = asset(market, base).funding_rate
        assert 0.03 < rates.mean() * 3 * 365 < 0.15
        assert 0.10 < (rates < 0).mean() < 0.30
        assert np.median(rates) == 0.0001  # as in reality, most settlements are at the interest rate


def test_funding_of_the_bull_phases_is_5_to_20_percent_a_year(market: SyntheticMarket) -> None:
    one = asset(market, "BTC")
    day = (one.settlement_stamp_ms - market.scenario.start_ms) / DAY_MS
    settled = np.zeros(day.size, dtype=bool)
    switches = [(minute / 1440, bear) for minute, bear in market.timeline.switches]
    for (begin, bear), (end, _) in zip(switches, [*switches[1:], (1e9, False)], strict=True):
        if not bear:
            settled |= (day >= begin + 4) & (day < end)  # the premium follows with a half-life of a day
    assert settled.sum() > 200
    assert 0.05 < one.funding_rate[settled].mean() * 3 * 365 < 0.20


def test_every_bear_phase_has_a_run_of_negative_funding(market: SyntheticMarket) -> None:
    one = asset(market, "BTC")
    day = (one.settlement_stamp_ms - market.scenario.start_ms) / DAY_MS
    phases = [minute / 1440 for minute, bear in market.timeline.switches if bear and 0 <= minute < 170 * 1440]
    assert len(phases) >= 2
    for begin in phases:
        inside = (day >= begin + 3) & (day < begin + 6)
        assert one.funding_rate[inside].mean() * 3 * 365 < -0.03  # beyond the default exit at -2 % a year


# ------------------------------------------------------------------------------------------------------------- bars


def test_bars_from_points_by_hand() -> None:
    points = np.concatenate((np.full(BURN_IN_MINUTES, 9.0), [1.04, 3.26, 2.0, 0.5, 0.74, 0.74, 0.8]))
    volume = np.concatenate((np.full(BURN_IN_MINUTES, 9.0), [0.1, 0.2, 0.31, 0.001, 0.001, 0.001]))
    contract = ContractParameters("X", decimals=1, hourly_volume=1.0, volume_decimals=1)
    made = bars(points, volume, 3, contract)
    assert made.open.tolist() == [1.0, 0.5]
    assert made.high.tolist() == [3.3, 0.8]
    assert made.low.tolist() == [0.5, 0.5]
    assert made.close.tolist() == [0.5, 0.8]
    assert made.volume.tolist() == [0.6, 0.1]  # a traded bar has at least one unit of the last digit


@pytest.mark.parametrize("timeframe", sorted(TIMEFRAME_MINUTES))
def test_bars_are_consistent_on_tick_and_without_gaps_but_for_the_outage(timeframe: str) -> None:
    made = generate(Scenario(seed=4, days=6, timeframe=timeframe))
    minutes = TIMEFRAME_MINUTES[timeframe]
    assert made.open_ms.tolist() == list(range(1_704_067_200_000, 1_704_067_200_000 + 6 * DAY_MS, minutes * 60_000))
    begin = 1_704_067_200_000 + made.timeline.outage_minute * 60_000
    for one in made.assets:
        out = np.isnan(one.spot.close)
        expected = list(range(begin, begin + 3 * HOUR_MS, minutes * 60_000))
        assert made.open_ms[out].tolist() == expected
        held = ~out
        spot = Bars(*(getattr(one.spot, name)[held] for name in ("open", "high", "low", "close", "volume")))
        for series, decimals, traded in (
            (spot, one.parameters.spot.decimals, True),
            (one.perp, one.parameters.perp.decimals, True),
            (one.mark, one.parameters.perp.decimals, False),
        ):
            assert np.isfinite([series.open, series.high, series.low, series.close, series.volume]).all()
            assert (series.high >= np.maximum(series.open, series.close)).all()
            assert (series.low <= np.minimum(series.open, series.close)).all()
            assert (series.low > 0).all()
            assert ((series.volume > 0) if traded else (series.volume == 0)).all()
            for price in series.close[:50].tolist():
                assert price == float(f"{price:.{decimals}f}")


def test_longer_bars_are_made_of_the_shorter_ones() -> None:
    short, long = (generate(Scenario(seed=6, days=2, timeframe=timeframe)) for timeframe in ("5m", "1h"))
    for fine, coarse in zip(short.assets, long.assets, strict=True):
        assert np.array_equal(coarse.perp.high, fine.perp.high.reshape(-1, 12).max(axis=1))
        assert np.array_equal(coarse.perp.low, fine.perp.low.reshape(-1, 12).min(axis=1))
        assert np.array_equal(coarse.perp.open, fine.perp.open[::12])
        assert np.array_equal(coarse.perp.close, fine.perp.close[11::12])
        assert np.array_equal(coarse.funding_rate, fine.funding_rate)


def test_mark_is_index_times_the_average_premium_and_differs_from_last(market: SyntheticMarket) -> None:
    one = asset(market, "BTC")
    distance_bps = (one.mark.close / one.perp.close - 1.0) * 1e4
    assert 0.5 < distance_bps.std() < 4.0
    assert np.abs(distance_bps).max() > 15.0  # in the crash the average is far behind the last price
    assert np.abs(distance_bps).max() < 300.0


def test_trailing_mean_by_brute_force() -> None:
    values = np.array([1.0, 4.0, 1.0, 7.0, -2.0])
    assert trailing_mean(values, 3).tolist() == [1.0, 2.5, 2.0, 4.0, 2.0]


# ------------------------------------------------------------------------------------------------------- processes


def test_decaying_sum_by_hand() -> None:
    assert decaying_sum(np.array([8.0, 0.0, 1.0, 0.0]), 1.0).tolist() == [8.0, 4.0, 3.0, 1.5]


def test_mean_reversion_has_its_half_life_and_deviation() -> None:
    path = ornstein_uhlenbeck(stream(1, "test").standard_normal(400_000), 50.0, 3.0)
    assert path.std() == pytest.approx(3.0, rel=0.05)
    assert path.mean() == pytest.approx(0.0, abs=0.25)
    assert autocorrelation(path, 50) == pytest.approx(0.5, abs=0.04)
    assert autocorrelation(path, 100) == pytest.approx(0.25, abs=0.05)


def test_shocks_have_unit_variance_and_fat_tails() -> None:
    shocks = unit_student(stream(2, "test"), 400_000)
    assert shocks.var() == pytest.approx(1.0, rel=0.03)
    # Student t with 5 degrees of freedom and variance 1: P(|x| > 4) = P(|t| > 5.164) = 0.00357; normal: 0.00006.
    assert np.mean(np.abs(shocks) > 4.0) == pytest.approx(0.00357, rel=0.15)


def test_seasons_peak_at_15_utc_and_sleep_on_weekends() -> None:
    monday = np.arange(7 * 1440)  # 2024-01-01 was a Monday
    for season in (volatility_season(monday, 1_704_067_200_000), volume_season(monday, 1_704_067_200_000)):
        assert int(np.argmax(season[:1440])) == 15 * 60
        assert season[5 * 1440 :].mean() < 0.8 * season[: 5 * 1440].mean()
    volatility = volatility_season(monday, 1_704_067_200_000)
    assert np.mean(volatility**2) == pytest.approx(1.0, abs=1e-12)


def test_crash_falls_by_a_quarter_in_five_hours_and_recovers_a_third() -> None:
    minute = np.array([-1, 0, 300, 300 + 20 * 720])
    log_price, heat, premium = crash_paths(minute)
    assert np.exp(log_price) == pytest.approx([1.0, 1.0, 0.75, 0.75 ** (1 - 0.35)], abs=1e-6)
    assert heat == pytest.approx([0.0, 0.0, 1.0, 0.0], abs=1e-6)
    assert premium == pytest.approx([0.0, 0.0, -0.015, 0.0], abs=1e-6)


# ------------------------------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_returns_cluster_have_fat_tails_and_are_correlated(seed: int) -> None:
    made = generate(Scenario(seed=seed))
    returns = {one.parameters.base: hourly_returns(one.perp) for one in made.assets}
    for one in made.assets:
        values = returns[one.parameters.base]
        size = np.abs(values)
        centred = values - values.mean()
        excess_kurtosis = np.mean(centred**4) / values.var() ** 2 - 3.0
        annual = values.std() * 8760**0.5
        assert 4.0 < excess_kurtosis < 90.0  # Binance hourly, first half of 2024: BTC 8, ETH 16, XRP 54
        assert 0.15 < autocorrelation(size, 1) < 0.5  # 0.24 .. 0.36
        assert 0.05 < autocorrelation(size, 24) < 0.25  # 0.11 .. 0.14
        assert abs(autocorrelation(values, 1)) < 0.2  # a crash has direction; other than that returns have no memory
        assert annual == pytest.approx(one.parameters.volatility, rel=0.35)
    assert 0.7 < np.corrcoef(returns["BTC"], returns["ETH"])[0, 1] < 0.9  # 0.81
    assert 0.4 < np.corrcoef(returns["BTC"], returns["PEPE"])[0, 1] < 0.75  # BTC and XRP: 0.64


def test_volume_rises_with_volatility_and_spikes_in_the_crash(market: SyntheticMarket) -> None:
    crash_bar = market.timeline.crash_minute // 60
    for one in market.assets:
        volume = one.perp.volume
        size = np.abs(hourly_returns(one.perp))
        assert 0.15 < np.corrcoef(np.log(volume[1:]), np.log(size + 1e-5))[0, 1] < 0.7
        assert 0.5 < np.log(volume).std() < 1.1
        assert volume[crash_bar : crash_bar + 8].max() > 5.0 * np.median(volume)
        assert np.median(volume) == pytest.approx(one.parameters.perp.hourly_volume, rel=0.5)


@pytest.mark.parametrize("seed", range(1, 6))
def test_crash_day(seed: int) -> None:
    made = generate(Scenario(seed=seed))
    first = made.timeline.crash_minute // 60
    hours = slice(first, first + 12)
    assert 12 <= made.timeline.crash_minute / 60 % 24 < 18
    one = asset(made, "BTC")
    fall = one.perp.low[hours].min() / one.perp.open[first] - 1.0
    assert -0.40 < fall < -0.18
    basis = one.perp.close / one.spot.close - 1.0
    assert -0.019 < basis[hours].min() < -0.010
    day_after = basis[first + 24 : first + 36]
    assert np.abs(day_after).max() < 0.004
    calm = np.delete(basis, np.arange(first - 1, first + 24))
    assert np.nanmin(calm) > -0.004


def test_basis_mean_reverts_around_its_regime(market: SyntheticMarket) -> None:
    one = asset(market, "BTC")
    basis = (one.perp.close / one.spot.close - 1.0) * 1e4
    hour = np.arange(basis.size) / 24.0
    switches = [(minute / 1440, bear) for minute, bear in market.timeline.switches]
    bull = np.zeros(basis.size, dtype=bool)
    bear = np.zeros(basis.size, dtype=bool)
    for (begin, is_bear), (end, _) in zip(switches, [*switches[1:], (1e9, False)], strict=True):
        settled = (hour >= begin + 4) & (hour < end)
        (bear if is_bear else bull)[settled] = True
    assert 3.5 < np.nanmean(basis[bull]) < 7.5
    assert -10.5 < np.nanmean(basis[bear]) < -4.0
    # Within a regime: parts with half-lives of 16 h and 8 h, so that after two days little is left.
    longest = max(
        ((begin, end) for (begin, is_bear), (end, _) in pairwise(switches) if not is_bear),
        key=lambda phase: min(phase[1], 180.0) - max(phase[0], 0.0),
    )
    inside = basis[(hour >= max(longest[0], 0.0) + 4) & (hour < longest[1])]
    inside = inside[~np.isnan(inside)]
    assert 0.25 < autocorrelation(inside, 8) < 0.8
    assert autocorrelation(inside, 72) < 0.35


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**63), st.integers(1, MAX_DAYS))
def test_events_lie_inside_every_market_and_never_overlap(seed: int, days: int) -> None:
    events = timeline(Scenario(seed=seed, days=days))
    assert events.outage_minute % 60 == 0
    assert events.outage_minute > 0
    assert events.outage_minute + 180 <= events.crash_minute
    assert events.crash_minute + 300 <= days * 1440
    minutes = [minute for minute, _ in events.switches]
    assert minutes == sorted(minutes)
    assert minutes[0] <= 0
    bears = [bear for _, bear in events.switches]
    assert all(one != other for one, other in pairwise(bears))
    assert (events.crash_minute, True) in events.switches


# ------------------------------------------------------------------------------------------------------------ borrow


def test_borrow_rates_are_hourly_positive_and_near_their_level(market: SyntheticMarket) -> None:
    assert set(market.borrow) == {"BTC", "ETH", "PEPE", "USDT"}
    start = 1_704_067_200_000
    assert market.borrow_ms.tolist() == list(range(start, start + 180 * DAY_MS, HOUR_MS))
    levels = {"BTC": 4.4e-5, "ETH": 6.3e-5, "PEPE": 1.05e-4, "USDT": 1.15e-4}  # per day
    for name, rates in market.borrow.items():
        assert rates.size == 180 * 24
        assert (rates > 0).all()
        assert rates.mean() * 24 == pytest.approx(levels[name], rel=0.3)
        assert np.array_equal(rates.reshape(-1, 4), np.repeat(rates[::4, None], 4, axis=1))
        assert np.unique(rates).size > 100


# ----------------------------------------------------------------------------------------------------------- streams


def values_of(one: AssetMarket) -> list[bytes]:
    series = [getattr(kind, name) for kind in (one.spot, one.perp, one.mark) for name in Bars.__dataclass_fields__]
    return [column.tobytes() for column in (*series, one.settlement_stamp_ms, one.funding_rate)]


def test_same_seed_same_values_and_other_seed_other_values() -> None:
    first, again, other = (generate(Scenario(seed=seed, days=3)) for seed in (8, 8, 9))
    for one, same, different in zip(first.assets, again.assets, other.assets, strict=True):
        assert values_of(one) == values_of(same)
        assert all(a != b for a, b in zip(values_of(one), values_of(different), strict=True) if any(b))
    assert not np.array_equal(first.borrow["BTC"], other.borrow["BTC"])


def test_adding_or_dropping_an_asset_leaves_the_others_as_they_were() -> None:
    alone = generate(Scenario(seed=8, days=3, assets=ASSETS[1:2]))
    doge = replace(ASSETS[2], base="DOGE", start_price=0.09)
    crowd = (doge, *reversed(ASSETS))
    state = market_state(Scenario(seed=8, days=3, assets=crowd))
    among = asset_path(Scenario(seed=8, days=3, assets=crowd), state, ASSETS[1])
    by_itself = asset_path(alone.scenario, market_state(alone.scenario), ASSETS[1])
    assert among.index.tobytes() == by_itself.index.tobytes()
    assert among.premium.tobytes() == by_itself.premium.tobytes()
    assert values_of(asset(alone, "ETH")) == values_of(asset(generate(Scenario(seed=8, days=3)), "ETH"))


def test_streams_of_two_names_are_independent() -> None:
    one, other = (stream(1, name).standard_normal(50_000) for name in ("BTC/path", "ETH/path"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    assert np.array_equal(one, stream(1, "BTC/path").standard_normal(50_000))


def test_an_asset_without_a_borrow_level_is_an_error() -> None:
    with pytest.raises(KeyError, match="DOGE"):
        borrow_rates(Scenario(days=1), "DOGE")


def test_ticks_and_multipliers_are_those_of_the_shipped_instruments() -> None:
    shipped = venue("binance").instruments
    for one in ASSETS:
        spot, perp = shipped[Kind.SPOT, one.spot.symbol], shipped[Kind.LINEAR, one.perp.symbol]
        assert float(spot.tick) == 10.0**-one.spot.decimals
        assert float(perp.tick) == 10.0**-one.perp.decimals
        assert float(perp.multiplier) == one.perp.multiplier
        assert spot.base == perp.base == one.base

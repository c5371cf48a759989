"""The oracle's composite: hand-made cases with values worked out beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crypto import oracle_composite
from crypto.errors import SettingsError
from crypto.oracle import Source, evaluate
from crypto.oracle_composite import ALTS, MAJORS, Rules, Status, Verdict, mid_price

PAR = {"USDC": 1.0}


def at(*prices: float, weights: tuple[float, ...] = (), ages: tuple[float, ...] = ()) -> list[Source]:
    """Sources v0, v1, ... in USDT, equal and fresh unless said otherwise."""
    return [
        Source(f"v{i}", price, "USDT", ages[i] if ages else 0.0, weights[i] if weights else 1.0)
        for i, price in enumerate(prices)
    ]


# --- the weighted median ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prices", "weights", "expected"),
    [
        ((100.0, 100.1, 100.2), (1, 1, 1), 100.1),
        ((100.0, 100.1, 100.2, 100.3), (1, 1, 1, 1), 100.15),  # half is reached exactly: mean of the two in the middle
        ((100.0, 100.1, 100.2), (2, 2, 1), 100.1),  # 2 of 5 below half, 4 of 5 above
        ((100.2, 100.0, 100.1), (3, 2, 2), 100.1),  # sorted 100.0 (2), 100.1 (2), 100.2 (3): 4 of 7 at 100.1
        ((100.0, 100.1, 100.2, 100.25), (3, 2, 2, 1), 100.1),  # 5 of 8
        ((100.0, 100.1, 100.2, 100.25), (1, 1, 1, 1.5), 100.2),  # 2 of 4.5 below half, 3 of 4.5 above
        ((100.0, 100.1, 100.2), (10, 1, 1), 100.1),  # the first has more than half, so all count the same
        ((100.0, 100.1, 100.2), (2, 1, 1), 100.1),  # exactly half is too much as well
        ((100.0, 100.1), (3, 1), 100.05),  # of two no one decides
        # Decimal weights: 0.3 is half of 0.6, whatever the rounding of 0.1 + 0.2 + 0.3 is, in any order of prices.
        ((100.0, 100.1, 100.2), (0.1, 0.2, 0.3), 100.1),
        ((100.2, 100.1, 100.0), (0.1, 0.2, 0.3), 100.1),
        ((100.0, 100.1, 100.2, 100.25), (0.1, 0.2, 0.2, 0.1), 100.15),  # 0.3 of 0.6 at 100.1: mean of it and the next
        ((100.2, 100.2, 101.0), (0.2, 0.4, 0.6), 100.2),
    ],
)
def test_weighted_median(prices: tuple[float, ...], weights: tuple[float, ...], expected: float) -> None:
    reading = evaluate(at(*prices, weights=weights), {}, "USDT")
    assert reading.value == pytest.approx(expected, rel=1e-15)


# --- quorum -------------------------------------------------------------------------------------------------------


def test_three_are_ok_two_degraded_one_and_none_halt() -> None:
    prices = (100.0, 100.1, 100.2)
    found = [evaluate(at(*prices[:count]), {}, "USDT") for count in (3, 2, 1, 0)]
    assert [reading.status for reading in found] == [Status.OK, Status.DEGRADED, Status.HALT, Status.HALT]
    assert [math.isnan(reading.value) for reading in found] == [False, False, True, True]


def test_a_halted_reading_never_falls_back_to_the_one_price_that_is_there() -> None:
    reading = evaluate(at(100.0, math.nan, math.nan), {}, "USDT")
    assert (reading.status, reading.used) == (Status.HALT, ("v0",))
    assert math.isnan(reading.value)


def test_the_quorum_can_be_raised() -> None:
    rules = MAJORS._replace(quorum=4)
    assert evaluate(at(100, 100, 100), {}, "USDT", rules).status is Status.DEGRADED
    assert evaluate(at(100, 100, 100, 100), {}, "USDT", rules).status is Status.OK


# --- why a source is rejected -------------------------------------------------------------------------------------


def test_each_reason_is_named() -> None:
    good = at(100.0, 100.0, 100.0)
    bad = [
        Source("none", math.nan, "USDT", 0.0),
        Source("zero", 0.0, "USDT", 0.0),
        Source("infinite", math.inf, "USDT", 0.0),
        Source("quote", 100.0, "USDC", 0.0),
        Source("old", 100.0, "USDT", 3000.5),
        Source("future", 100.0, "USDT", -1.0),
        Source("unstamped", 100.0, "USDT", math.nan),
        Source("far", 100.31, "USDT", 0.0),
        Source("crossed", 100.0, "USDT", 0.0, bad_book=True),
    ]
    reading = evaluate([*good, *bad], {}, "USDT")
    assert reading.status is Status.OK
    assert reading.value == 100.0
    assert {name: verdict.name for name, verdict in reading.rejected.items()} == {
        "none": "NO_PRICE",
        "zero": "NO_PRICE",
        "infinite": "NO_PRICE",
        "quote": "NO_QUOTE_RATE",
        "old": "STALE",
        "future": "BAD_AGE",
        "unstamped": "BAD_AGE",
        "far": "OUTLIER",
        "crossed": "BAD_BOOK",
    }


def test_an_age_of_exactly_the_limit_is_fresh_and_the_oldest_used_one_is_told() -> None:
    reading = evaluate(at(100, 100, 100, ages=(0.0, 3000.0, 10.0)), {}, "USDT")
    assert reading.status is Status.OK
    assert reading.oldest_ms == 3000.0


def test_a_price_at_the_floor_stays_and_one_beyond_goes() -> None:
    # Median 1000, median deviation 0: the limit is the floor of 30 bps.
    inside = evaluate(at(1000.0, 1000.0, 1000.0, 1002.999), {}, "USDT")
    assert inside.rejected == {}
    outside = evaluate(at(1000.0, 1000.0, 1000.0, 1003.001), {}, "USDT")
    assert outside.rejected == {"v3": Verdict.OUTLIER}


def test_the_limit_widens_with_the_median_deviation_and_ends_at_the_cap() -> None:
    # Median 1000; deviations 20, 10, 0, 10, 45 thousandths of 1000 -> sorted 0, 10, 10, 20, 45, median 1 %.
    # Five times that is 5 %, so the cap of 3 % rules: 45 goes, 20 stays.
    reading = evaluate(at(980.0, 990.0, 1000.0, 1010.0, 1045.0), {}, "USDT")
    assert reading.rejected == {"v4": Verdict.OUTLIER}
    # Deviations 2, 1, 0, 1, 4.9 thousandths: median 0.1 %, five times 0.5 %: 4.9 stays. At 5.1 it goes.
    assert evaluate(at(998.0, 999.0, 1000.0, 1001.0, 1004.9), {}, "USDT").rejected == {}
    assert evaluate(at(998.0, 999.0, 1000.0, 1001.0, 1005.1), {}, "USDT").rejected == {"v4": Verdict.OUTLIER}


def test_a_bad_print_is_rejected_and_leaves_no_trace_in_the_value() -> None:
    clean = evaluate(at(139.1, 139.2, 139.3), {}, "USDT")
    printed = evaluate(at(139.1, 139.2, 139.3, 323.0), {}, "USDT", MAJORS)  # ETH on 2020-03-13 printed 323.0
    assert printed.rejected == {"v3": Verdict.OUTLIER}
    assert printed.value == clean.value == 139.2


# --- venues that disagree -----------------------------------------------------------------------------------------


def test_two_venues_that_split_beyond_the_cap_halt() -> None:
    # Median 105, both 4.76 % off: more than the cap of 3 %, so neither is believed.
    reading = evaluate(at(100.0, 110.0), {}, "USDT")
    assert reading.status is Status.HALT
    assert reading.used == ()
    assert set(reading.rejected.values()) == {Verdict.OUTLIER}


def test_two_against_two_is_degraded_by_dispersion() -> None:
    # Median 100.75, all 0.744 % off, limit five times that: all are used, but 1.489 % apart.
    reading = evaluate(at(100.0, 100.0, 101.5, 101.5), {}, "USDT")
    assert (reading.status, len(reading.used)) == (Status.DEGRADED, 4)
    assert reading.value == pytest.approx(100.75)
    assert reading.dispersion == pytest.approx(1.5 / 100.75)


def test_dispersion_of_exactly_the_limit_is_ok() -> None:
    rules = MAJORS._replace(max_dispersion=0.5, deviation_cap=1.0, deviation_floor=1.0)
    assert evaluate(at(75.0, 100.0, 125.0), {}, "USDT", rules).status is Status.OK
    assert evaluate(at(75.0, 100.0, 125.01), {}, "USDT", rules).status is Status.DEGRADED


# --- stable coins -------------------------------------------------------------------------------------------------


def test_a_depegged_quote_is_converted_before_prices_are_compared() -> None:
    # USDC at 0.97: 103 USDC are 99.91 USDT. Taken at par, 103 would be an outlier by 3 %.
    sources = [*at(100.0, 99.9), Source("usdc", 103.0, "USDC", 0.0)]
    reading = evaluate(sources, {"USDC": 0.97}, "USDT")
    assert reading.status is Status.OK
    assert reading.value == pytest.approx(99.91)
    assert evaluate(sources, PAR, "USDT").rejected == {"usdc": Verdict.OUTLIER}


def test_a_quote_without_a_rate_is_not_taken_at_par() -> None:
    reading = evaluate([*at(100.0, 100.0), Source("usd", 100.0, "USD", 0.0)], {}, "USDT")
    assert reading.rejected == {"usd": Verdict.NO_QUOTE_RATE}
    assert reading.status is Status.DEGRADED


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_rate_is_no_rate(rate: float) -> None:
    reading = evaluate([*at(100.0, 100.0, 100.0), Source("usdc", 100.0, "USDC", 0.0)], {"USDC": rate}, "USDT")
    assert reading.rejected == {"usdc": Verdict.NO_QUOTE_RATE}


# --- recovery -----------------------------------------------------------------------------------------------------


def series(prices: list[list[float]], times: list[int], rules: Rules = MAJORS) -> oracle_composite.OracleArrays:
    table = np.array(prices)
    ones = np.ones(table.shape)
    return oracle_composite.composite_series(np.array(times), table, ones, 0.0 * ones, np.ones(table.shape[1]), rules)


def test_ok_comes_back_only_after_ten_clean_seconds() -> None:
    good, bad = [100.0, 100.0, 100.0], [100.0, math.nan, math.nan]
    found = series([good, bad, good, good, good, good], [0, 1_000, 2_000, 10_999, 11_000, 12_000])
    assert [Status(code) for code in found.status] == [
        Status.OK,
        Status.HALT,
        Status.DEGRADED,
        Status.DEGRADED,  # 9,999 ms after the last bad instant
        Status.OK,  # 10,000 ms after it
        Status.OK,
    ]
    assert [math.isnan(value) for value in found.value] == [False, True, False, False, False, False]


def test_waiting_for_recovery_does_not_prolong_itself() -> None:
    two = [100.0, 100.0, math.nan]
    found = series([two, *[[100.0] * 3] * 3], [0, 5_000, 9_000, 10_000])
    assert list(found.status) == [Status.DEGRADED, Status.DEGRADED, Status.DEGRADED, Status.OK]


def test_without_recovery_a_series_is_its_instants_one_by_one() -> None:
    prices = [[100.0, 100.1, 100.2], [100.0, 107.0, 100.1], [math.nan, 100.0, 100.2]]
    found = series(prices, [0, 1, 2], MAJORS._replace(recovery_ms=0))
    for row, values in enumerate(prices):
        reading = evaluate(at(*values), {}, "USDT")
        assert found.value[row] == reading.value
        assert found.status[row] == reading.status
        assert found.used[row] == len(reading.used)
        assert [Verdict(code) for code in found.verdict[row]] == [item.verdict for item in reading.sources]


# --- a top of book ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bid", "ask", "mid"),
    [
        (99.0, 101.0, 100.0),  # a spread of exactly the limit
        (98.9, 101.1, math.nan),  # wider
        (100.0, 100.0, math.nan),  # locked
        (101.0, 99.0, math.nan),  # crossed
        (0.0, 100.0, math.nan),  # one side is empty
        (math.nan, 100.0, math.nan),
        (100.0, math.nan, math.nan),
    ],
)
def test_mid_price(bid: float, ask: float, mid: float) -> None:
    assert mid_price(bid, ask, 0.02) == pytest.approx(mid, nan_ok=True)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_age_ms": -1.0}, "max_age_ms = -1.0"),
        ({"mad_factor": math.nan}, "mad_factor = nan"),
        ({"max_dispersion": math.inf}, "max_dispersion = inf"),
        ({"quorum": 1}, "quorum = 1, degraded_quorum = 2"),
        ({"degraded_quorum": 0}, "degraded_quorum = 0"),
        ({"deviation_floor": 0.05}, "deviation_floor = 0.05 is above deviation_cap = 0.03"),
    ],
)
def test_rules_that_make_no_sense(change: dict[str, float], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        evaluate(at(1.0), {}, "USDT", MAJORS._replace(**change))


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_weights_that_make_no_sense(weight: float) -> None:
    with pytest.raises(SettingsError, match="weight"):
        evaluate([Source("a", 1.0, "USDT", 0.0, weight)], {}, "USDT")


def test_a_venue_named_twice_would_count_twice() -> None:
    with pytest.raises(SettingsError, match="'a' is given twice"):
        evaluate([Source("a", 1.0, "USDT", 0.0), Source("a", 1.0, "USDT", 0.0)], {}, "USDT")


def test_alts_are_given_more_room_than_majors() -> None:
    sources = at(100.0, 100.0, 101.0, ages=(0.0, 5_000.0, 0.0))
    assert evaluate(sources, {}, "USDT", MAJORS).rejected == {"v1": Verdict.STALE}
    assert evaluate(sources, {}, "USDT", ALTS).status is Status.OK

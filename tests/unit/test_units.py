from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import UsageError
from crypto.units import HOUR_MS, annualised, iso, parse_iso, timeframe_ms


@pytest.mark.parametrize(
    ("name", "length"), [("1m", 60_000), ("5m", 300_000), ("1h", 3_600_000), ("8h", 28_800_000), ("1d", 86_400_000)]
)
def test_timeframe_length(name: str, length: int) -> None:
    assert timeframe_ms(name) == length


@pytest.mark.parametrize("name", ["", "1", "h", "1H", "7m", "0h", "1w", "60"])
def test_unknown_timeframe_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match=r"timeframe '") as refused:
        timeframe_ms(name)
    assert "1h" in refused.value.remedy


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_577_865_600_000, "2020-01-01T08:00:00Z"),
        (1_577_865_600_007, "2020-01-01T08:00:00.007Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_text_of_an_instant(time_ms: int, text: str) -> None:
    assert iso(time_ms) == text
    assert parse_iso(text) == time_ms


def test_a_stamp_in_microseconds_still_prints() -> None:
    assert iso(1_577_865_600_000_000).startswith("51970-")


@pytest.mark.parametrize(
    "text", ["2020-01-01", "2020-01-01T00:00", "2020-01-01 00:00:00", "2020-01-01T00:00:00Z", "2020-01-01T02:00+02:00"]
)
def test_one_instant_in_many_forms(text: str) -> None:
    assert parse_iso(text) == 1_577_836_800_000


@pytest.mark.parametrize("text", ["", "yesterday", "2020-13-01", "2020-01-32", "1577836800000", "01/02/2020"])
def test_malformed_dates_are_refused_by_their_text(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_iso(text)
    assert repr(text) in refused.value.message


@given(st.integers(parse_iso("0001-01-01"), parse_iso("9999-12-31")))
def test_text_and_instant_are_inverse(time_ms: int) -> None:
    assert parse_iso(iso(time_ms)) == time_ms


def test_annualised_is_simple() -> None:
    assert annualised(0.0001, 8.0) == pytest.approx(0.1095, rel=1e-15)
    assert annualised(1.0, 8760.0) == 1.0
    assert timeframe_ms("1h") == HOUR_MS

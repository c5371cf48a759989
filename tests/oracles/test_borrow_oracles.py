"""Borrow interest that venues and peers published, by the ids in the project's list of oracles."""

from __future__ import annotations

import pytest

from crypto.borrow import charged_hours, interest
from crypto.units import parse_iso

DAY = "2023-12-04T"


def binance_interest(amount: str, hourly_rate: float, borrowed: str, until: str, waived_hours: int = 0) -> float:
    hours = charged_hours(parse_iso(DAY + borrowed), parse_iso(DAY + until), True, 0)
    return interest(float(amount), hourly_rate) * (hours - waived_hours)


# Binance support 360030157812: the text of 2019 (B1) and of 2024-10-18 (B2); promotion of 2023-12-04 (B3).
@pytest.mark.parametrize(
    ("amount", "hourly_rate", "borrowed", "until", "waived_hours", "expected", "tolerance"),
    [
        pytest.param("1000", float("0.0002") / 24, "13:20", "14:15", 0, "0.01666667", 5e-9, id="B1"),
        pytest.param("1000", float("0.00001"), "13:55", "14:30", 0, "0.02", 1e-15, id="B2"),
        pytest.param("10", float("0.00001"), "09:20", "10:15", 1, "0.0001", 1e-15, id="B3-user-A"),
        pytest.param("10", float("0.00001"), "09:20", "09:55", 1, "0", 0.0, id="B3-user-B"),
    ],
)
def test_binance_charges_at_borrow_and_at_each_full_hour(
    amount: str, hourly_rate: float, borrowed: str, until: str, waived_hours: int, expected: str, tolerance: float
) -> None:
    charged = binance_interest(amount, hourly_rate, borrowed, until, waived_hours)
    assert charged == pytest.approx(float(expected), abs=tolerance, rel=0)


# freqtrade, tests/leverage/test_interest.py: 60 units, daily rate, started hours. Binance's hour marks and started
# hours are the same count for a loan taken on a full hour and repaid one millisecond before another.
@pytest.mark.parametrize(
    ("daily_rate", "until", "expected"),
    [
        pytest.param("0.0005", "2023-12-04T00:10:00Z", "0.00125", id="B4-10-minutes"),
        pytest.param("0.00025", "2023-12-04T00:10:00Z", "0.000625", id="B4-10-minutes-half-rate"),
        pytest.param("0.00025", "2023-12-04T04:59:59.999Z", "0.003125", id="B4-5-hours"),
        pytest.param("0.00025", "2023-12-05T00:59:59.999Z", "0.015625", id="B4-25-hours"),
    ],
)
def test_started_hours_from_a_full_hour(daily_rate: str, until: str, expected: str) -> None:
    hours = charged_hours(parse_iso("2023-12-04T00:00:00Z"), parse_iso(until), True, 0)
    assert interest(60.0, float(daily_rate) / 24) * hours == pytest.approx(float(expected), rel=1e-14)


@pytest.mark.parametrize(
    ("until", "hours"), [pytest.param("18:20", 6, id="B4-differs-5-hours"), pytest.param("13:30", 1, id="B4-agrees")]
)
def test_hour_marks_count_more_than_started_hours_within_the_hour(until: str, hours: int) -> None:
    """From 13:20, five hours cross five marks (14:00 to 18:00): six charges where the peer's rule says five."""
    assert charged_hours(parse_iso(DAY + "13:20"), parse_iso(DAY + until), True, 0) == hours

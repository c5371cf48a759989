from __future__ import annotations

import numpy as np
import pytest

from crypto.errors import DataError, SettingsError
from crypto.funding import (
    GRACE_ADVERSE,
    GRACE_END,
    GRACE_INSTANT,
    Segment,
    grace_code,
    grace_correction,
    payment,
    payment_inverse,
    settlement_calendar,
    settlement_instants,
    sums_by_year,
)
from crypto.settings import GracePolicy
from crypto.units import HOUR_MS, parse_iso

START = parse_iso("2024-01-01")


def at(*hours: float) -> np.ndarray:
    return START + (np.array(hours) * HOUR_MS).astype(np.int64)


def test_linear_payment_is_in_quote() -> None:
    assert payment(0.5, 40_000.0, 0.0003) == pytest.approx(-6.0, rel=1e-15)


def test_inverse_payment_is_in_coin() -> None:
    # 100 contracts of 100 USD at 50,000 are 0.2 BTC; 1e-4 of that.
    assert payment_inverse(10_000.0, 50_000.0, 0.0001) == pytest.approx(-0.00002, rel=1e-15)


def test_inverse_grace_goes_through_coin_quantities_at_price_one() -> None:
    # 10,000 and 25,000 USD at 50,000 are 0.2 and 0.5 BTC: 1e-4 of the 0.3 BTC more.
    assert grace_correction(0.2, 0.5, 1.0, 0.0001, GRACE_END) == pytest.approx(-0.00003, rel=1e-14)


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        (GracePolicy.INSTANT, GRACE_INSTANT),
        (GracePolicy.END_OF_GRACE, GRACE_END),
        (GracePolicy.ADVERSE, GRACE_ADVERSE),
    ],
)
def test_every_policy_has_its_code(policy: GracePolicy, code: int) -> None:
    assert grace_code(policy) == code
    assert len(GracePolicy) == 3


@pytest.mark.parametrize(
    ("before", "after", "policy", "expected"),
    [
        (0.0, 2.0, GRACE_INSTANT, 0.0),
        (0.0, 2.0, GRACE_END, -2.0),
        (0.0, 2.0, GRACE_ADVERSE, -2.0),
        (0.0, -2.0, GRACE_END, 2.0),
        (0.0, -2.0, GRACE_ADVERSE, 0.0),
        (-2.0, 0.0, GRACE_ADVERSE, -2.0),
        (2.0, 0.0, GRACE_ADVERSE, 0.0),
        (1.0, -1.0, GRACE_END, 2.0),
    ],
)
def test_grace_correction_at_a_positive_rate(before: float, after: float, policy: int, expected: float) -> None:
    assert grace_correction(before, after, 100.0, 0.01, policy) == expected


def test_unknown_grace_code_is_refused() -> None:
    with pytest.raises(ValueError, match="grace policy"):
        grace_correction(0.0, 1.0, 100.0, 0.01, 3)


def test_stamps_come_to_the_nearest_hour_on_both_sides() -> None:
    stamps = at(0, 8, 16) + np.array([7, -60_000, 60_000])
    assert settlement_instants(stamps, 60_000).tolist() == at(0, 8, 16).tolist()


def test_no_stamps_no_instants() -> None:
    assert settlement_instants(np.empty(0, np.int64), 0).size == 0


@pytest.mark.parametrize("offset", [60_001, -60_001, 1_800_000])
def test_a_stamp_beyond_the_tolerance_is_named(offset: int) -> None:
    stamps = at(0, 8, 16) + np.array([0, offset, 0])
    with pytest.raises(DataError) as refused:
        settlement_instants(stamps, 60_000)
    assert refused.value.message.startswith(f"funding row 1: stamp {stamps[1]} (2024-01-01T0")
    assert "settlement_tolerance_ms" in refused.value.remedy


def test_two_stamps_for_one_instant_are_named() -> None:
    stamps = at(0, 8, 8) + np.array([0, 1, 2])
    with pytest.raises(DataError) as refused:
        settlement_instants(stamps, 60_000)
    message = refused.value.message
    assert message.startswith(f"funding row 2: stamp {stamps[2]} belongs to the instant 2024-01-01T08:00:00Z")
    assert f"row 1 (stamp {stamps[1]})" in message


def test_unsorted_stamps_are_named() -> None:
    with pytest.raises(DataError, match=r"row 2: stamp .* is earlier than row 1"):
        settlement_instants(at(0, 16, 8), 0)


@pytest.mark.parametrize("tolerance", [-1, 1_800_000])
def test_a_tolerance_must_tell_hours_apart(tolerance: int) -> None:
    with pytest.raises(SettingsError, match=r"settlement_tolerance_ms"):
        settlement_instants(at(0, 8), tolerance)


@pytest.mark.parametrize(
    ("spacings", "missing", "intervals"),
    [
        ([8, 8, 16, 8], [24], [8, 8, 8, 8, 8]),
        ([8, 8, 24, 8], [24, 32], [8, 8, 8, 8, 8]),
        ([4, 4, 8, 8], [], [4, 4, 4, 8, 8]),
        ([8, 8, 1, 1], [], [8, 8, 8, 1, 1]),
        ([1, 1, 5, 8], [], [1, 1, 1, 5, 8]),
        # 20 hours after 8 and before 4: two of 8 are missing and the next came after 4.
        ([8, 8, 20, 4, 4], [24, 32], [8, 8, 8, 4, 4, 4]),
        # At the ends one neighbour is unknown, so nothing says that it is a hole.
        ([16, 8, 8], [], [16, 16, 8, 8]),
        ([8, 8, 16], [], [8, 8, 8, 16]),
        ([8], [], [8, 8]),
        ([8, 16, 8, 16, 8], [16, 40], [8, 8, 8, 8, 8, 8]),
    ],
)
def test_holes_and_switches(spacings: list[int], missing: list[int], intervals: list[int]) -> None:
    calendar = settlement_calendar(at(*np.cumsum([0, *spacings])))
    assert ((calendar.missing_ms - START) // HOUR_MS).tolist() == missing
    assert calendar.interval_hours.tolist() == intervals


def test_segments_are_cut_where_the_interval_changes() -> None:
    calendar = settlement_calendar(at(0, 8, 16, 20, 24, 32))
    hours = [START + hour * HOUR_MS for hour in (0, 16, 20, 24, 32)]
    assert calendar.segments == (
        Segment(hours[0], hours[1], 8.0, 3),
        Segment(hours[2], hours[3], 4.0, 2),
        Segment(hours[4], hours[4], 8.0, 1),
    )


def test_empty_history_has_an_empty_calendar() -> None:
    calendar = settlement_calendar(np.empty(0, np.int64))
    assert (calendar.interval_hours.size, calendar.missing_ms.size, calendar.segments) == (0, 0, ())


def test_a_single_settlement_has_no_interval() -> None:
    with pytest.raises(DataError, match=r"single settlement \(2024-01-01T00:00:00Z\)"):
        settlement_calendar(at(0))


def test_instants_must_ascend() -> None:
    with pytest.raises(DataError, match=r"row 2"):
        settlement_calendar(at(0, 8, 8))


def test_sums_by_year_are_of_utc_years_and_leave_missing_rates_out() -> None:
    instants = np.array(
        [parse_iso(text) for text in ("2023-12-31T16:00", "2024-01-01T00:00", "2024-06-01", "2024-06-02")]
    )
    sums = sums_by_year(instants, np.array([1e-4, 2e-4, 3e-4, np.nan]))
    assert sums == {2023: 1e-4, 2024: pytest.approx(5e-4)}

"""Funding: zero-sum between sides, and the settlement calendar on generated schedules."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crypto.funding import GRACE_ADVERSE, GRACE_END, grace_correction, payment, payment_inverse, settlement_calendar
from crypto.funding import settlement_instants as bring_to_instants
from crypto.units import HOUR_MS

quantities = st.floats(-1e9, 1e9)
prices = st.floats(1e-8, 1e6)
rates = st.floats(-0.75, 0.75)


@given(quantities, prices, rates)
def test_long_pays_exactly_what_short_receives(quantity: float, mark: float, rate: float) -> None:
    assert payment(quantity, mark, rate) + payment(-quantity, mark, rate) == 0.0
    assert payment_inverse(quantity, mark, rate) + payment_inverse(-quantity, mark, rate) == 0.0


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=20), st.integers(1, 10**6), st.integers(-750, 750))
def test_funding_sums_to_zero_over_all_accounts(positions: list[int], mark: int, rate: int) -> None:
    """Whole numbers keep every product below 2**53, so the sum is exact."""
    closed = [*positions, -sum(positions)]
    assert sum(payment(float(q), float(mark), float(rate)) for q in closed) == 0.0


@given(quantities, quantities, prices, rates)
def test_adverse_policy_never_pays_us(before: float, after: float, mark: float, rate: float) -> None:
    adverse = grace_correction(before, after, mark, rate, GRACE_ADVERSE)
    assert adverse <= 0.0
    assert adverse <= grace_correction(before, after, mark, rate, GRACE_END)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Settlements in hours with switches of the interval, and the index of the interval's run that each ends."""
    runs = draw(
        st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(2, 12)), min_size=1, max_size=6).filter(
            lambda runs: all(a[0] != b[0] for a, b in pairwise(runs))
        )
    )
    instants, run_of = [draw(st.integers(400_000, 480_000))], [0]
    for run, (interval, count) in enumerate(runs):
        for _ in range(count):
            instants.append(instants[-1] + interval)
            run_of.append(run)
    return instants, run_of


@given(schedules())
def test_interval_switches_are_not_holes(schedule: tuple[list[int], list[int]]) -> None:
    instants, _ = schedule
    calendar = settlement_calendar(np.array(instants) * HOUR_MS)
    spacings = [later - earlier for earlier, later in pairwise(instants)]
    assert calendar.missing_ms.size == 0
    assert calendar.interval_hours.tolist() == [spacings[0], *spacings]


@given(schedules(), st.data())
def test_single_missing_rows_are_found(schedule: tuple[list[int], list[int]], data: st.DataObject) -> None:
    """Rows whose neighbours at both sides have the same interval are dropped, no two of them close together."""
    instants, run_of = schedule
    spacings = [later - earlier for earlier, later in pairwise(instants)]
    droppable = [i for i in range(2, len(instants) - 2) if len(set(spacings[i - 2 : i + 2])) == 1]
    chosen = data.draw(st.sets(st.sampled_from(droppable))) if droppable else set()
    dropped = [i for i in sorted(chosen) if not chosen & {i - 1, i - 2}]
    kept = [i for i in range(len(instants)) if i not in dropped]

    calendar = settlement_calendar(np.array([instants[i] for i in kept]) * HOUR_MS)

    assert (calendar.missing_ms // HOUR_MS).tolist() == [instants[i] for i in dropped]
    truth = [spacings[0], *spacings]
    assert calendar.interval_hours.tolist() == [truth[i] for i in kept]
    assert sum(segment.count for segment in calendar.segments) == len(kept)
    assert len(calendar.segments) == run_of[-1] + 1


@given(st.lists(st.integers(1, 24), min_size=1, max_size=60))
def test_intervals_and_missing_settlements_fill_the_span(spacings: list[int]) -> None:
    """Any schedule: no time is lost. Each missing settlement stands for the interval of the one before it."""
    instants = np.cumsum([0, *spacings]) * HOUR_MS
    calendar = settlement_calendar(instants)
    expected = np.union1d(instants, calendar.missing_ms)
    assert expected.size == instants.size + calendar.missing_ms.size
    to_one_before = dict(zip(expected[1:].tolist(), (np.diff(expected) / HOUR_MS).tolist(), strict=True))
    assert calendar.interval_hours[1:].tolist() == [to_one_before[instant] for instant in instants[1:].tolist()]
    assert calendar.segments[0].from_ms == instants[0]
    assert calendar.segments[-1].to_ms == instants[-1]


@given(
    st.lists(st.integers(1, 10_000), min_size=1, max_size=40, unique=True).map(sorted),
    st.integers(0, 1_799_999),
    st.data(),
)
def test_stamps_within_tolerance_come_to_their_instants(hours: list[int], tolerance: int, data: st.DataObject) -> None:
    offsets = data.draw(st.lists(st.integers(-tolerance, tolerance), min_size=len(hours), max_size=len(hours)))
    instants = np.array(hours) * HOUR_MS
    assert bring_to_instants(instants + np.array(offsets), tolerance).tolist() == instants.tolist()

"""Charged hours against a clock that is walked minute by minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crypto.borrow import charged_hours, marks_between
from crypto.units import MINUTE_MS

minutes = st.integers(20_000_000, 20_000_000 + 24 * 60)


@given(minutes, st.integers(0, 36 * 60), st.booleans(), st.integers(0, 59))
def test_hours_charged_while_walking_the_clock(
    borrow_minute: int, held_minutes: int, charge_at_borrow: bool, offset_minutes: int
) -> None:
    walked = 1 if charge_at_borrow else 0
    for minute in range(borrow_minute + 1, borrow_minute + held_minutes + 1):
        if minute % 60 == offset_minutes:
            walked += 1
    until = borrow_minute + held_minutes
    assert (
        charged_hours(borrow_minute * MINUTE_MS, until * MINUTE_MS, charge_at_borrow, offset_minutes * MINUTE_MS)
        == walked
    )


@given(st.integers(0, 2**42), st.integers(0, 2**36), st.integers(0, 2**36), st.integers(0, 3_599_999))
def test_spans_that_follow_each_other_add_up(start: int, first: int, second: int, offset: int) -> None:
    middle, end = start + first, start + first + second
    assert marks_between(start, end, offset) == marks_between(start, middle, offset) + marks_between(
        middle, end, offset
    )

from __future__ import annotations

import pytest

from crypto.borrow import BorrowRule, charged_hours, interest, marks_between
from crypto.errors import SettingsError
from crypto.units import HOUR_MS, MINUTE_MS

FIVE_PAST = 5 * MINUTE_MS


def clock(hour: int, minute: int = 0) -> int:
    return hour * HOUR_MS + minute * MINUTE_MS


def test_interest_is_what_is_owed() -> None:
    assert interest(2_000.0, 0.00001) == pytest.approx(0.02, rel=1e-15)


@pytest.mark.parametrize(
    ("start", "end", "offset", "marks"),
    [
        (clock(13), clock(14), 0, 1),
        (clock(13, 1), clock(13, 59), 0, 0),
        (clock(13), clock(13), 0, 0),
        (clock(14), clock(13), 0, 0),
        (clock(13, 4), clock(13, 5), FIVE_PAST, 1),
        (clock(13, 5), clock(14, 4), FIVE_PAST, 0),
        (clock(0), clock(24), FIVE_PAST, 24),
    ],
)
def test_marks_in_a_span_open_at_its_start(start: int, end: int, offset: int, marks: int) -> None:
    assert marks_between(start, end, offset) == marks


@pytest.mark.parametrize(
    ("borrowed", "until", "at_borrow", "offset", "hours"),
    [
        (clock(13), clock(13), True, 0, 1),
        (clock(13), clock(14), True, 0, 2),
        (clock(13), clock(14) - 1, True, 0, 1),
        (clock(13, 4), clock(13, 5), False, FIVE_PAST, 1),
        (clock(13, 5), clock(14, 4), False, FIVE_PAST, 0),
        (clock(14), clock(13), True, 0, 0),
    ],
)
def test_charged_hours_at_the_edges(borrowed: int, until: int, at_borrow: bool, offset: int, hours: int) -> None:
    assert charged_hours(borrowed, until, at_borrow, offset) == hours


@pytest.mark.parametrize("offset", [-1, HOUR_MS])
def test_a_mark_lies_within_the_hour(offset: int) -> None:
    with pytest.raises(SettingsError, match=r"mark_offset_ms"):
        BorrowRule(charge_at_borrow=True, mark_offset_ms=offset, compounds=False)


def test_a_rule_holds_what_it_was_given() -> None:
    rule = BorrowRule(charge_at_borrow=False, mark_offset_ms=FIVE_PAST, compounds=True)
    assert (rule.charge_at_borrow, rule.mark_offset_ms, rule.compounds) == (False, 300_000, True)

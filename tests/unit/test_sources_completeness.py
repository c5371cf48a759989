"""Proofs: every expected row is held or explained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.sources.completeness import Gap, Known, Reason, missing_slots, prove, prove_rates, quiet_ranges

HOUR = 3_600_000
T0 = 1_704_067_200_000


def hours(*numbers: int) -> np.ndarray:
    return T0 + HOUR * np.array(numbers, dtype=np.int64)


def span(lo: int, hi: int) -> tuple[int, int]:
    return T0 + lo * HOUR, T0 + hi * HOUR


def test_reasons_of_a_bar_series() -> None:
    known = Known(covered=[span(0, 20)], empty=[span(5, 7)], ends_ms=T0 + 18 * HOUR)
    proof = prove(hours(2, 3, 4, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17), *span(0, 24), HOUR, known)
    assert (proof.expected, proof.got, proof.is_whole) == (24, 13, False)
    assert proof.gaps == (
        Gap(*span(0, 2), 2, Reason.BEFORE_FIRST),
        Gap(*span(5, 7), 2, Reason.VENUE_HAS_NONE),
        Gap(*span(9, 10), 1, Reason.NOT_ASKED_AGAIN),
        Gap(*span(18, 20), 2, Reason.AFTER_END),
        Gap(*span(20, 24), 4, Reason.NOT_FETCHED),
    )


@given(st.sets(st.integers(0, 59)), st.lists(st.tuples(st.integers(0, 59), st.integers(0, 60)), max_size=4))
def test_held_and_missing_rows_add_up(held: set[int], covered: list[tuple[int, int]]) -> None:
    known = Known([span(*part) for part in covered], [], None)
    proof = prove(hours(*sorted(held)), *span(0, 60), HOUR, known)
    assert proof.expected == 60 == proof.got + sum(gap.rows for gap in proof.gaps)
    is_covered = {n for lo, hi in covered for n in range(lo, hi)}
    assert proof.is_whole == ({n for n in range(60) if n not in held} <= is_covered)


def test_runs_of_missing_slots() -> None:
    assert missing_slots(hours(0, 1, 4, 6), *span(0, 8), HOUR) == [span(2, 4), span(5, 6), span(7, 8)]
    assert missing_slots(hours(0, 1), *span(0, 2), HOUR) == []


def test_a_missing_settlement_is_found_by_its_neighbours() -> None:
    known = Known([span(0, 56)], [], None)
    proof = prove(hours(0, 8, 16, 32, 40, 48), *span(0, 56), 0, known)
    assert (proof.expected, proof.got) == (7, 6)
    assert proof.gaps == (Gap(T0 + 24 * HOUR, T0 + 24 * HOUR + 1, 1, Reason.NOT_ASKED_AGAIN),)
    assert proof.is_whole


def test_settlements_after_the_last_row_are_missing_where_they_were_asked_for() -> None:
    held = hours(0, 8, 16)
    asked, half = Known([span(0, 100)], [span(17, 100)], None), Known([span(0, 41)], [], None)
    assert prove(held, *span(0, 100), 0, asked).gaps == (Gap(*span(24, 100), 10, Reason.VENUE_HAS_NONE),)
    assert [gap.rows for gap in prove(held, *span(0, 100), 0, half).gaps] == [0, 3]
    ended = prove(held, *span(0, 100), 0, Known([span(0, 100)], [], T0 + 20 * HOUR))
    assert (ended.expected, ended.gaps) == (3, ())


def test_a_hole_of_a_page_asked_for_twice_is_a_fault_unless_the_archive_has_it_as_well() -> None:
    held, hole = hours(0, 8, 16, 64, 72, 80), (T0 + 20 * HOUR, T0 + 60 * HOUR)
    asked = Known([span(0, 88)], [hole], None, page_rows=5)
    assert prove(held, *span(0, 88), 0, asked).gaps == (Gap(T0 + 24 * HOUR, T0 + 56 * HOUR + 1, 5, Reason.EMPTY_TWICE),)
    assert not prove(held, *span(0, 88), 0, asked).is_whole
    larger, never = replace(asked, page_rows=6), replace(asked, page_rows=0)
    archived, unasked = replace(asked, archived=[span(0, 88)]), replace(asked, empty=[])
    for known, reason in (
        (larger, Reason.VENUE_HAS_NONE), (never, Reason.VENUE_HAS_NONE), (archived, Reason.VENUE_HAS_NONE),
        (unasked, Reason.NOT_ASKED_AGAIN),
    ):  # fmt: skip
        proof = prove(held, *span(0, 88), 0, known)
        assert ([gap.reason for gap in proof.gaps], proof.is_whole) == ([reason], True)


def test_a_contract_that_trades_and_does_not_settle_for_a_day_is_not_whole() -> None:
    held = hours(0, 8, 16)
    known = Known([span(0, 100)], [span(16, 100)], None, is_trading=True, page_rows=200)
    assert prove(held, *span(0, 100), 0, known).gaps == (Gap(*span(24, 100), 10, Reason.EMPTY_TWICE),)
    # Within a day an interval of 1 h may have become one of 8 h.
    short = prove(hours(0, 1, 2), *span(0, 10), 0, replace(known, empty=[span(2, 10)]))
    assert [gap.reason for gap in short.gaps] == [Reason.VENUE_HAS_NONE]
    ended = prove(held, *span(0, 100), 0, replace(known, is_trading=False))
    assert [gap.reason for gap in ended.gaps] == [Reason.VENUE_HAS_NONE]


def test_what_is_missing_since_the_listing_is_a_fault_when_it_is_a_page() -> None:
    held = hours(400, 408, 416)
    known = Known([span(0, 424)], [span(100, 400)], None, listed_ms=T0 + 100 * HOUR, page_rows=37)
    proof = prove(held, *span(0, 424), 0, known)
    assert proof.gaps == (Gap(*span(0, 100), 0, Reason.BEFORE_FIRST), Gap(*span(100, 400), 0, Reason.EMPTY_TWICE))
    for other in (replace(known, page_rows=38), replace(known, page_rows=0), replace(known, listed_ms=None)):
        assert prove(held, *span(0, 424), 0, other).gaps == (Gap(*span(0, 400), 0, Reason.BEFORE_FIRST),)
    unasked = prove(held, *span(0, 424), 0, replace(known, empty=[]))
    assert ([gap.reason for gap in unasked.gaps], unasked.is_whole) == (
        [Reason.BEFORE_FIRST, Reason.NOT_ASKED_AGAIN], True)  # fmt: skip


def test_quiet_rates() -> None:
    known = Known([span(0, 400)], [span(97, 200)], None)
    held = hours(60, 61, 96, 200, 248)
    proof = prove_rates(held, *span(0, 300), known)
    assert proof.gaps == (
        Gap(*span(0, 60), 0, Reason.BEFORE_FIRST),
        Gap(T0 + 96 * HOUR + 1, T0 + 200 * HOUR, 0, Reason.NOT_FETCHED),
        Gap(T0 + 248 * HOUR + 1, T0 + 300 * HOUR, 0, Reason.NOT_FETCHED),
    )
    twice = prove_rates(held, *span(0, 300), replace(known, empty=[(T0 + 96 * HOUR + 1, T0 + 200 * HOUR)]))
    assert [gap.reason for gap in twice.gaps][1] is Reason.EMPTY_TWICE
    assert not twice.is_whole
    assert quiet_ranges(held, T0 + 296 * HOUR) == [(T0 + 96 * HOUR + 1, T0 + 200 * HOUR)]  # two days are not too long
    assert prove_rates(hours(), *span(0, 300), known).gaps == ()


def test_a_change_of_interval_is_no_gap() -> None:
    proof = prove(hours(0, 8, 16, 24, 25, 26, 27, 31, 35, 39), *span(0, 40), 0, Known([span(0, 40)], [], None))
    assert (proof.expected, proof.gaps) == (10, ())


def test_rates_have_no_fixed_number() -> None:
    proof = prove_rates(hours(0, 5), *span(0, 10), Known([span(0, 6)], [], None))
    assert (proof.expected, proof.got, proof.is_whole) == (None, 2, False)

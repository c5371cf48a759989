"""Proofs: every expected row is held or explained."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.sources.completeness import Gap, Known, Reason, missing_slots, prove, prove_rates

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


def test_a_change_of_interval_is_no_gap() -> None:
    proof = prove(hours(0, 8, 16, 24, 25, 26, 27, 31, 35, 39), *span(0, 40), 0, Known([span(0, 40)], [], None))
    assert (proof.expected, proof.gaps) == (10, ())


def test_rates_have_no_fixed_number() -> None:
    proof = prove_rates(hours(0, 5), *span(0, 10), Known([span(0, 6)], [], None))
    assert (proof.expected, proof.got, proof.is_whole) == (None, 2, False)

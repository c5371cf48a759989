"""What main.py touches of Lean in a quiet slice, by hand, and the price that the benchmark puts on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.lean_crossings import PRICES_US, Crossings, count_crossings, estimate


def test_a_quiet_slice_touches_little_of_lean(lean_folder: Path) -> None:
    """Two looks at the clock, one at the slice, price and volume of two securities, one model called."""
    found = count_crossings(lean_folder)
    per_slice = {key: count / found.slices for key, count in found.counts.items()}
    assert found.slices > 50
    assert found.model_calls == found.slices  # the perp's funding model; spot has none, fee models are Lean's
    every_slice = {key: count for key, count in per_slice.items() if count >= 0.9}
    assert every_slice == {
        ("QCAlgorithm", "time"): 2,
        ("Slice", "bars"): 1,
        ("TradeBars", "count"): 1,
        ("Security", "price"): 2,
        ("Security", "volume"): 2,
    }
    # Payments come every eighth hour.
    assert per_slice["Cash", "add_amount"] == pytest.approx(1 / 8, abs=0.05)


def test_every_crossing_has_a_price(lean_folder: Path) -> None:
    assert set(count_crossings(lean_folder).counts) <= set(PRICES_US)


def test_the_estimate_is_the_sum_of_its_parts() -> None:
    # 0.33 + (0.25 + 3.0) for the slice's bars + 2 x 0.13 + one model call of 3.5 are 7.34 us a slice.
    counts = {("QCAlgorithm", "time"): 10, ("Slice", "bars"): 10, ("Security", "price"): 20}
    crossings = Crossings(counts, model_calls=10, slices=10)
    assert crossings.micros == pytest.approx(7.34)
    # Stock 55, Python 10, 54 orders of 220 us in 4,320 slices, 200 points of seven series at 23 us in 55,849 slices.
    assert estimate(crossings, 10.0) == pytest.approx(55 + 7.34 + 10 + 2.75 + 200 * 7 * 23 / 55_849)

"""The decoding item: both sides hold the same prices, and a difference stops it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import decoding
from bench.comparison import Direction
from bench.equality import ResultsDifferError

SMALL = decoding.DecodingSize(symbols=5, arrays=3, repeats=2)


def test_frames_are_those_of_the_venue() -> None:
    frames = decoding.make_frames(SMALL, seed=1)
    first, *_, last = (json.loads(frame) for frame in frames)
    assert [len(json.loads(frame)) for frame in frames] == [5, 5, 5]
    assert set(first[0]) == {"e", "E", "s", "p", "ap", "P", "i", "r", "T", "st"}
    assert last[0]["E"] - first[0]["E"] == 2000
    # About as long as the recorded kind: 107,160 bytes for 600 rows.
    assert 150 < len(frames[0]) / 5 < 200


def test_the_item_compares_with_ccxts_own_handler() -> None:
    (comparison,) = decoding.compare(SMALL)
    assert (comparison.goal, comparison.direction) == (20.0, Direction.AT_LEAST)
    assert comparison.denominator_name.startswith("ccxt.pro")
    assert min(comparison.figure.values) > 0.0


def test_other_prices_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    right = decoding.in_envelope

    def wrong(array: str) -> bytes:
        rows: list[dict[str, Any]] = json.loads(array)
        rows[3]["p"] = "1.5"
        return right(json.dumps(rows))

    monkeypatch.setattr(decoding, "in_envelope", wrong)
    with pytest.raises(ResultsDifferError, match="marks after frame 0: 1 of 5 rows differ, first row 3"):
        decoding.compare(SMALL)

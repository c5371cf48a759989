"""Sizing numbers that others published, by the ids in the project's list of oracles."""

from __future__ import annotations

import pytest

from crypto.sizing import minimum_capital


# passivbot documentation, min_effective_cost: 10 USDT with a wallet share of 0.3 and an entry share of 0.015.
@pytest.mark.parametrize(
    ("min_cost", "share_one", "share_two", "expected"), [pytest.param("10", "0.3", "0.015", "2222.22", id="B7")]
)
def test_capital_that_reaches_the_smallest_order(min_cost: str, share_one: str, share_two: str, expected: str) -> None:
    assert round(minimum_capital(float(min_cost), float(share_one), float(share_two)), 2) == float(expected)

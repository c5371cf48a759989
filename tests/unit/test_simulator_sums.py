"""Attribution summed by pair and by wallet: against fractions, and against the account's total."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from crypto.simulator.sums import sum_attribution

WALLET_OF = np.array([2, 0, 1, 1])  # spot and perp of two pairs; the second pair's live in one wallet


def table_of(instants: int, wallets: int, components: int) -> np.ndarray:
    """Eighths, whose sums are exact."""
    random = np.random.default_rng(4)
    return random.integers(-999, 999, (instants, WALLET_OF.size + wallets, components)) / 8.0


@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_are_those_of_fractions(order: str) -> None:
    table = table_of(3, 4, 2)
    by_pair, by_wallet = np.full((3, 3, 2), np.nan, order=order), np.full((3, 4, 2), np.nan)
    sum_attribution(table, WALLET_OF, by_pair, by_wallet)
    exact = [[[Fraction(value) for value in row] for row in step] for step in table.tolist()]
    for instant, step in enumerate(exact):
        for component in range(2):
            column = [row[component] for row in step]
            assert by_pair[instant, :, component].tolist() == [
                column[0] + column[1],
                column[2] + column[3],
                sum(column[4:]),
            ]
            assert by_wallet[instant, :, component].tolist() == [
                column[4] + column[1],
                column[5] + column[2] + column[3],
                column[6] + column[0],
                column[7],
            ]


def test_pairs_and_wallets_add_up_to_the_same() -> None:
    table = table_of(50, 3, 11)
    by_pair, by_wallet = np.empty((50, 3, 11)), np.empty((50, 3, 11))
    sum_attribution(table, WALLET_OF, by_pair, by_wallet)
    assert by_pair.sum() == by_wallet.sum() == table.sum()

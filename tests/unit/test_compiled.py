"""Named tuples of arrays that compiled code hands on by their address."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import pytest

from crypto.compiled import ReferenceType, by_reference, is_enabled, jit, kernel
from crypto.market import Floats
from crypto.simulator.setup import build
from tests.markets import BTC, make_settings, random_market

ROW = np.dtype([("count", "i8"), ("price", "f8")], align=True)


@by_reference
class Group(NamedTuple):
    rows: Any  # (N,) ROW
    table: Floats  # (N, M)
    shift: int


@kernel
def scaled(group: Group, row: int) -> float:
    return float(group.rows[row].count * group.rows[row].price + group.shift)


@jit
def fill(group: Group) -> float:
    """Writes through the reference, and reads what a function that it was handed on to makes of it."""
    total = 0.0
    for row in range(group.rows.shape[0]):
        group.rows[row].count += row
        for column in range(group.table.shape[1]):
            group.table[row, column] = scaled(group, row) * (column + 1)
            total += group.table[row, column]
    return total


def group_of(order: str) -> Group:
    rows = np.zeros(3, ROW).view(np.recarray)
    rows.count, rows.price = [4, 5, 6], [0.5, 0.25, 0.125]
    return Group(rows, np.zeros((3, 2), order=order), 2)


@pytest.mark.parametrize("order", ["C", "F"])
def test_compiled_code_reads_and_writes_the_fields(order: str) -> None:
    group = group_of(order)
    assert fill(group) == 3.0 * (4.0 + 3.5 + 3.0)  # 4 x 0.5 + 2, 6 x 0.25 + 2, 8 x 0.125 + 2; columns 1 and 2
    assert group.rows["count"].tolist() == [4, 6, 8]
    assert group.table.tolist() == [[4.0, 8.0], [3.5, 7.0], [3.0, 6.0]]


def test_the_fields_of_the_next_call_are_read_anew() -> None:
    first, second = group_of("C"), group_of("C")
    second = second._replace(rows=second.rows[:1].copy(), table=second.table[:1].copy(), shift=0)
    assert [fill(first), fill(second), fill(second)] == [31.5, 6.0, 6.0]


@pytest.mark.skipif(
    not is_enabled(),
    reason="of numba's types, of which there are none when nothing is compiled: unset NUMBA_DISABLE_JIT",
)
def test_a_world_is_one_address_to_compiled_code() -> None:
    world = build(make_settings([BTC]), random_market([BTC], 1, 24)).world
    assert isinstance(numba.typeof(world), ReferenceType)
    assert isinstance(numba.typeof(group_of("C")), ReferenceType)
    assert not isinstance(numba.typeof((1, 2)), ReferenceType)


@pytest.mark.skipif(
    not is_enabled(),
    reason="of numba's types, of which there are none when nothing is compiled: unset NUMBA_DISABLE_JIT",
)
def test_an_unknown_field_is_refused_when_it_is_compiled() -> None:
    @numba.njit
    def wrong(group: Any) -> Any:
        return group.columns

    with pytest.raises(numba.TypingError, match="Unknown attribute 'columns'"):
        wrong(group_of("C"))

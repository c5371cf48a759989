"""Ranges, and the file that says what has been fetched."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DataError
from data.sources.ledger import Ledger, common, merged, remove_leftovers, subtract
from data.store.lake import Lake, Provenance, SeriesKey

KEY = SeriesKey("binance", "linear", "BTCUSDT", "funding")
HOUR = 3_600_000
T0 = 1_704_067_200_000
ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8)


def points(found: list[tuple[int, int]]) -> set[int]:
    return {at for lo, hi in found for at in range(lo, hi)}


@given(ranges)
def test_merged_is_the_union(found: list[tuple[int, int]]) -> None:
    union = merged(found)
    assert points(union) == points(found)
    assert all(a[1] < b[0] for a, b in pairwise(union))


@given(st.tuples(st.integers(0, 40), st.integers(0, 40)), ranges)
def test_subtract_is_the_difference(whole: tuple[int, int], parts: list[tuple[int, int]]) -> None:
    assert points(subtract(whole, parts)) == points([whole]) - points(parts)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path)
    times = T0 + 8 * HOUR * np.arange(10)
    lake.write(KEY, {"time_ms": times, "funding_rate": np.zeros(10)}, Provenance("test"))
    return lake


def test_what_was_noted_is_read_back(lake: Lake) -> None:
    ledger = Ledger(lake, KEY)
    ledger.add([(T0, T0 + 24 * HOUR), (T0 + 24 * HOUR, T0 + 80 * HOUR)])
    ledger.empty = [(T0 + 1, T0 + 2)]
    ledger.save()
    again = Ledger(lake, KEY)
    assert again.covered == [(T0, T0 + 80 * HOUR)]
    assert again.empty == [(T0 + 1, T0 + 2)]
    assert again.missing(T0 - HOUR, T0 + 81 * HOUR) == [(T0 - HOUR, T0), (T0 + 80 * HOUR, T0 + 81 * HOUR)]
    assert lake.list() == [KEY]  # the ledger is no series


@given(ranges, ranges)
def test_common_is_the_intersection(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    assert points(common(some, others)) == points(some) & points(others)


def test_what_came_from_the_archive_is_told_apart_until_rest_was_asked(lake: Lake) -> None:
    ledger = Ledger(lake, KEY)
    ledger.add([(T0 + 48 * HOUR, T0 + 80 * HOUR)], [(T0, T0 + 48 * HOUR)])
    ledger.save()
    again = Ledger(lake, KEY)
    assert (again.covered, again.archived) == ([(T0, T0 + 80 * HOUR)], [(T0, T0 + 48 * HOUR)])
    again.add([(T0, T0 + 24 * HOUR)])
    assert (again.covered, again.archived) == ([(T0, T0 + 80 * HOUR)], [(T0 + 24 * HOUR, T0 + 48 * HOUR)])
    again.remove(T0 + 40 * HOUR, T0 + 50 * HOUR)
    assert again.archived == [(T0 + 24 * HOUR, T0 + 40 * HOUR)]


def test_a_ledger_written_before_the_archive_was_told_apart_is_read(lake: Lake) -> None:
    ledger = Ledger(lake, KEY)
    ledger.add([(T0, T0 + 80 * HOUR)])
    ledger.save()
    (path,) = Path(lake.root, ".fetch").rglob("*.json")
    noted = json.loads(path.read_text())
    del noted["archived"]
    path.write_text(json.dumps(noted))
    assert (Ledger(lake, KEY).covered, Ledger(lake, KEY).archived) == ([(T0, T0 + 80 * HOUR)], [])


def test_a_range_whose_rows_are_gone_is_fetched_again(lake: Lake) -> None:
    ledger = Ledger(lake, KEY)
    ledger.add([(T0, T0 + 80 * HOUR)])
    ledger.save()
    lake.path(KEY).unlink()
    assert Ledger(lake, KEY).covered == []


def test_a_damaged_ledger_is_named(lake: Lake) -> None:
    ledger = Ledger(lake, KEY)
    ledger.save()
    path = next(Path(lake.root).rglob("linear-BTCUSDT-funding.json"))
    path.write_text(path.read_text()[:-10])
    with pytest.raises(DataError, match=r"linear-BTCUSDT-funding.json is damaged"):
        Ledger(lake, KEY)


def test_leftovers_of_killed_processes_are_removed(lake: Lake) -> None:
    folder = lake.path(KEY).parent
    dead = folder / ".funding.parquet.999999999-0.part"
    alive = folder / ".funding.parquet.1-0.part"
    dead.touch()
    alive.touch()
    remove_leftovers(lake, KEY)
    assert not dead.exists()
    assert alive.exists()

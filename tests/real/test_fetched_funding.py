"""Recorded settlements of many contracts, served by the fake venue with small pages: all of them arrive.

Pages are large enough for all calls to fit into the venue's budget of five minutes, else the test would have to wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.sources.client import ClientOptions
from data.sources.job import FetchRequest, fetch
from data.sources.series import SeriesOptions, Source
from data.store.lake import Lake, SeriesKey
from tests.contract.fake_venue import DAY, HOUR, FakeVenue, Market, serving


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> dict[str, list[tuple[int, float]]]:
    """Settlements by symbol, of those that changed their interval and of some that did not."""
    (path,) = (shared_data / "binance-usdm-539sym-gravestone").glob("funding_all_symbols*")
    table = pd.read_csv(path) if ".csv" in path.name else pd.read_parquet(path)
    found: dict[str, list[tuple[int, float]]] = {}
    for number, (symbol, rows) in enumerate(table.sort_values("timestamp").groupby("symbol")):
        spacing = np.round(np.diff(rows["timestamp"]) / 3_600_000)
        if str(symbol).isascii() and (len(set(spacing)) > 1 or number % 25 == 0):
            found[str(symbol)] = list(zip(rows["timestamp"], rows["funding_rate"], strict=True))
    return found


@pytest.fixture
def venue(recorded: dict[str, list[tuple[int, float]]]) -> Iterator[FakeVenue]:
    markets = {
        symbol: Market(settlements=[(int(at), repr(float(rate))) for at, rate in rows])
        for symbol, rows in recorded.items()
    }  # fmt: skip
    last = max(rows[-1][0] for rows in recorded.values())
    with serving(FakeVenue(markets=markets, now_ms=int(last) + 12 * HOUR, listed_ms=None, page_cap=73)) as running:
        yield running


@pytest.mark.parametrize("name", ["binance", "bybit"])
def test_every_recorded_settlement_arrives(
    venue: FakeVenue, recorded: dict[str, list[tuple[int, float]]], tmp_path: Path, name: str
) -> None:
    first = int(min(rows[0][0] for rows in recorded.values()))
    options = SeriesOptions(Source.REST)
    request = FetchRequest(name, "funding", "linear", tuple(recorded), first - DAY, None, "", options)
    lake = Lake(tmp_path)
    outcome = fetch(request, lake, client_options=ClientOptions(base=venue.base))
    assert {entry.status for entry in outcome.series} == {"complete"}
    assert len(recorded) > 26  # the record notes 26 that changed their interval
    for symbol, rows in recorded.items():
        held = lake.read(SeriesKey(name, "linear", symbol, "funding"))
        assert held.time_ms.tolist() == [at for at, _ in rows]
        assert held.columns["funding_rate"].tolist() == [float(rate) for _, rate in rows]

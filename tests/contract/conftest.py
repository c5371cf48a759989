"""A fake venue per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data.credentials import Credentials
from data.sources.client import ClientOptions
from data.sources.job import FetchOutcome, FetchRequest, fetch
from data.sources.series import SeriesOptions
from data.store.lake import Lake
from tests.contract.fake_venue import DAY, T0, FakeVenue, serving

Fetch = Callable[..., FetchOutcome]


@pytest.fixture
def venue() -> Iterator[FakeVenue]:
    with serving(FakeVenue(now_ms=T0 + 390 * DAY)) as running:
        yield running


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def fetched(venue: FakeVenue, lake: Lake) -> Fetch:
    """Fetch from the fake venue: ``fetched("binance", "bars", lo, hi)``; fast retries, the real rules otherwise."""

    def run(
        name: str,
        series: str,
        lo_ms: int,
        hi_ms: int | None = None,
        *,
        kind: str = "linear",
        symbols: tuple[str, ...] = ("BTCUSDT",),
        timeframe: str = "1h",
        options: SeriesOptions | None = None,
        credentials: Credentials | None = None,
        **client: Any,
    ) -> FetchOutcome:
        settings = {"base": venue.base, "first_backoff_s": 0.001, "timeout_s": 30.0, **client}
        return fetch(
            FetchRequest(name, series, kind, symbols, lo_ms, hi_ms, timeframe, options or SeriesOptions()),
            lake,
            client_options=ClientOptions(**settings),
            credentials=credentials,
        )

    return run

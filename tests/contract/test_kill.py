"""kill -9 at any moment: the lake stays readable, and the next fetch goes on without duplicates."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data.sources.series import SeriesOptions
from data.store.lake import Lake, SeriesKey
from tests.contract.conftest import Fetch
from tests.contract.fake_venue import HOUR, T0, FakeVenue, every

KEY = SeriesKey("bybit", "linear", "BTCUSDT", "funding")
COUNT = 4000

SCRIPT = """
import signal
import sys
from pathlib import Path
from data.sources.client import ClientOptions
from data.sources.job import FetchRequest, fetch
from data.sources.series import SeriesOptions
from data.store.lake import Lake

request = FetchRequest("{name}", "funding", "linear", ("BTCUSDT",), {start}, None, "1h", SeriesOptions(flush_rows=200))
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in a shell's background
outcome = fetch(request, Lake(Path(sys.argv[2])), client_options=ClientOptions(base=sys.argv[1]))
print(outcome.series[0].status)
"""


def start(venue: FakeVenue, lake: Lake, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT.format(start=T0, name=name), venue.base, str(lake.root)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def killed_after(venue: FakeVenue, lake: Lake, name: str, last: tuple[str, int], number: signal.Signals) -> None:
    """Start a fetch and send it the signal at its last call: that many to a path that holds that word.

    That call, and what follows, is never answered, so the process can't be done before it is killed.
    """
    word, calls = last
    answered = venue._fault

    def no_more(path: str) -> str:
        return "hang" if len(venue.asked(word)) >= calls else answered(path)

    venue._fault = no_more
    process = start(venue, lake, name)
    deadline = time.monotonic() + 120
    while len(venue.asked(word)) < calls:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, number)
    process.communicate()
    assert process.returncode != 0
    venue._fault = answered


@pytest.mark.parametrize(("number", "calls"), [(signal.SIGKILL, 6), (signal.SIGKILL, 13), (signal.SIGINT, 9)])
def test_a_killed_fetch_goes_on(
    venue: FakeVenue, fetched: Fetch, lake: Lake, number: signal.Signals, calls: int
) -> None:
    settlements = every(HOUR, T0, COUNT, lambda n: n % 17)
    venue.markets["BTCUSDT"].settlements = settlements
    venue.now_ms = T0 + COUNT * HOUR
    killed_after(venue, lake, "bybit", ("funding/history", calls), number)
    rows = lake.read(KEY)  # checks every row: sorted, no duplicates
    stamps = [at for at, _ in settlements]
    assert rows.time_ms.tolist() == stamps[-len(rows.time_ms) :]
    assert 0 < len(rows.time_ms) < COUNT
    venue.requests.clear()
    (outcome,) = fetched("bybit", "funding", T0, options=SeriesOptions(flush_rows=200)).series
    assert outcome.status == "complete"
    assert lake.read(KEY).time_ms.tolist() == stamps
    assert outcome.tally.added == COUNT - len(rows.time_ms)
    # What was noted before the kill is not asked for again: at most the page that was on its way.
    asked = len(venue.asked("funding/history"))
    assert asked <= (COUNT - len(rows.time_ms)) // 200 + 3
    assert not list(Path(lake.root).rglob("*.part"))


@pytest.mark.parametrize(("number", "calls"), [(signal.SIGKILL, 3), (signal.SIGKILL, 8), (signal.SIGINT, 5)])
def test_a_fetch_killed_in_the_archive_goes_on_with_the_month_that_it_was_at(
    venue: FakeVenue, fetched: Fetch, lake: Lake, number: signal.Signals, calls: int
) -> None:
    """Of each month a file and its checksum: two calls."""
    settlements = every(HOUR, T0, COUNT, lambda n: n % 17)
    venue.markets["BTCUSDT"].settlements = settlements
    venue.archive, venue.now_ms = True, T0 + COUNT * HOUR
    venue.interval_hours = lambda _: 1
    key = SeriesKey("binance", "linear", "BTCUSDT", "funding")
    killed_after(venue, lake, "binance", ("monthly/fundingRate", calls), number)
    rows = lake.read(key).time_ms.tolist()
    stamps = [at for at, _ in settlements]
    assert rows == stamps[: len(rows)]
    whole = {datetime.fromtimestamp(at / 1000, UTC).month for at in rows}
    assert whole <= {1, 2, 3, 4, 5}
    venue.requests.clear()
    (outcome,) = fetched("binance", "funding", T0, options=SeriesOptions(flush_rows=200)).series
    assert (outcome.status, outcome.proof.gaps) == ("complete", ())
    assert lake.read(key).time_ms.tolist() == stamps
    asked = {path[-6:-4] for path, _ in venue.requests if path.endswith(".zip")}
    assert asked == {f"{month:02d}" for month in range(1, 6)} - {f"{month:02d}" for month in whole}
    names = [origin.name for origin in lake.info(key).provenance.origins]
    assert names == [f"BTCUSDT-fundingRate-2024-{month:02d}.zip" for month in range(1, 6)]
    assert not list(Path(lake.root).rglob("*.part"))

"""kill -9 at any moment: the lake stays readable, and the next fetch goes on without duplicates."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.sources.series import SeriesOptions
from data.store.lake import Lake, SeriesKey
from tests.contract.conftest import Fetch
from tests.contract.fake_venue import HOUR, T0, FakeVenue, every

KEY = SeriesKey("bybit", "linear", "BTCUSDT", "funding")
COUNT = 4000

SCRIPT = """
import sys
from pathlib import Path
from data.sources.client import ClientOptions
from data.sources.job import FetchRequest, fetch
from data.sources.series import SeriesOptions
from data.store.lake import Lake

request = FetchRequest("bybit", "funding", "linear", ("BTCUSDT",), {start}, None, "1h", SeriesOptions(flush_rows=200))
outcome = fetch(request, Lake(Path(sys.argv[2])), client_options=ClientOptions(base=sys.argv[1]))
print(outcome.series[0].status)
"""


def start(venue: FakeVenue, lake: Lake) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT.format(start=T0), venue.base, str(lake.root)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(("number", "calls"), [(signal.SIGKILL, 6), (signal.SIGKILL, 13), (signal.SIGINT, 9)])
def test_a_killed_fetch_goes_on(
    venue: FakeVenue, fetched: Fetch, lake: Lake, number: signal.Signals, calls: int
) -> None:
    settlements = every(HOUR, T0, COUNT, lambda n: n % 17)
    venue.markets["BTCUSDT"].settlements = settlements
    venue.now_ms = T0 + COUNT * HOUR
    answered = venue._fault

    def no_more(path: str) -> str:
        """That call, and what follows, is never answered, so the process can't be done before it is killed."""
        return "hang" if len(venue.asked("funding/history")) >= calls else answered(path)

    venue._fault = no_more
    process = start(venue, lake)
    deadline = time.monotonic() + 120
    while len(venue.asked("funding/history")) < calls:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, number)
    process.communicate()
    assert process.returncode != 0
    rows = lake.read(KEY)  # checks every row: sorted, no duplicates
    stamps = [at for at, _ in settlements]
    assert rows.time_ms.tolist() == stamps[-len(rows.time_ms) :]
    assert 0 < len(rows.time_ms) < COUNT
    venue._fault = answered
    venue.requests.clear()
    (outcome,) = fetched("bybit", "funding", T0, options=SeriesOptions(flush_rows=200)).series
    assert outcome.status == "complete"
    assert lake.read(KEY).time_ms.tolist() == stamps
    assert outcome.tally.added == COUNT - len(rows.time_ms)
    # What was noted before the kill is not asked for again: at most the page that was on its way.
    asked = len(venue.asked("funding/history"))
    assert asked <= (COUNT - len(rows.time_ms)) // 200 + 3
    assert not list(Path(lake.root).rglob("*.part"))

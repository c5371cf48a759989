"""A recording as series of the lake: one-minute marks and indexes, and the settled funding that was read back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crypto.errors import DataError
from data.feed.bars import MinuteBars
from data.feed.names import our_symbol
from data.feed.reading import RecordingReader
from data.feed.replay import recorded_events
from data.store.lake import Lake
from data.store.rows import Columns, Origin
from data.store.series import MergeResult, Provenance, SeriesKey, SourceFile
from data.streams.events import Event, FundingSettled, PerpUpdate
from data.streams.protocol import VenueProtocol

TIMEFRAME = "1m"
SOURCE = "carry feed recording"


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of one series: the merge, and minutes or stamps that were left out."""

    merge: MergeResult
    incomplete_minutes: int
    late_stamps: int


class _Collector:
    """Builds the series while events go by."""

    def __init__(self) -> None:
        self.prices: dict[tuple[str, str, str, str], MinuteBars] = {}
        self.funding: dict[tuple[str, str, str], dict[int, tuple[float, float]]] = {}
        self._last: dict[tuple[str, str, str, str], float] = {}

    def take(self, event: Event, received_ns: int) -> None:
        """Note what the event says of mark, index or settled funding; its time is the venue's where it stamps one."""
        if isinstance(event, PerpUpdate):
            time_ms = received_ns // 1_000_000 if event.event_ms is None else event.event_ms
            self._price(event, time_ms, "mark", event.mark)
            self._price(event, time_ms, "index", event.index)
        elif isinstance(event, FundingSettled):
            rates = self.funding.setdefault((event.venue, event.kind, event.symbol), {})
            rates[_stamp(event)] = (event.rate, np.nan if event.mark is None else event.mark)

    def _price(self, event: PerpUpdate, time_ms: int, series: str, price: float | None) -> None:
        """A partial message that leaves the price out confirms the last one."""
        key = (event.venue, event.kind, event.symbol, series)
        if price is None:
            price = None if event.snapshot else self._last.get(key)
        if price is None or not price > 0.0:
            self._last.pop(key, None)
            return
        self._last[key] = price
        self.prices.setdefault(key, MinuteBars()).add(time_ms, price)


def export(
    reader: RecordingReader,
    protocols: Mapping[str, VenueProtocol],
    lake: Lake,
    on_segment: Callable[[], None] | None = None,
) -> list[Exported]:
    """Merge a recording into the lake; doing it again changes nothing. ``DataError`` as ``Lake.merge``."""
    collected = _Collector()
    for received_ns, event in recorded_events(reader, protocols, on_segment):
        collected.take(event, received_ns)
    origins = tuple(SourceFile(path.name, _sha256(path)) for path in reader.paths)
    exported = []
    for key, columns, incomplete, late in _series(collected):
        where = Origin(f"recording, {key}")
        merged = lake.merge(key, columns, Provenance(SOURCE, origins), origin=where)
        exported.append(Exported(merged, incomplete, late))
    if not exported:
        raise DataError(
            "the recording holds no whole minute of any mark or index, and no settled funding",
            remedy="record for longer than two minutes with a venue's perpetuals",
        )
    return exported


def _series(collected: _Collector) -> Iterator[tuple[SeriesKey, Columns, int, int]]:
    for (venue, kind, symbol, series), bars in sorted(collected.prices.items(), key=lambda item: item[0]):
        columns = bars.columns()
        if len(columns["time_ms"]):
            yield (
                SeriesKey(venue, kind, our_symbol(venue, symbol), series, TIMEFRAME),
                columns,
                bars.incomplete,
                bars.late,
            )
    for (venue, kind, symbol), rates in sorted(collected.funding.items()):
        times = sorted(rates)
        columns = {
            "time_ms": np.array(times, dtype=np.int64),
            "funding_rate": np.array([rates[time][0] for time in times]),
            "mark_price": np.array([rates[time][1] for time in times]),
        }
        yield SeriesKey(venue, kind, our_symbol(venue, symbol), "funding"), columns, 0, 0


def _stamp(event: FundingSettled) -> int:
    """Time of the row as the venue's history has it, some ms after the hour, so that no lake gets one payment twice.

    OKX's history has the whole hour; what its stream stamps is the message.
    """
    return event.settlement_ms if event.venue == "okx" else event.event_ms


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

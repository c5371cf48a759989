"""Which series of the lake go into Lean's data folder, and where; what is left out, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crypto.errors import CarryError, DataError, RefusedError, SettingsError, UsageError
from crypto.instruments import Instrument
from crypto.settings import InstrumentSettings
from crypto.units import HOUR_MS, timeframe_ms
from crypto.venues.registry import instrument
from data.contract_terms import contract_terms
from data.lean_folder.layout import (
    BORROW,
    CLOSES_SERIES,
    PRICE_SERIES,
    RESOLUTIONS,
    Place,
    borrow_quote,
    check_valued_rightly,
    closes_place,
    place_of,
    resolution_of,
    settlement_mark_place,
)
from data.lean_folder.texts import mark_sources
from data.store.freqtrade import Skipped
from data.store.lake import Lake
from data.store.pieces import instrument_symbol
from data.store.series import SeriesKey

_SOURCES = ("bars", "mark")  # what an oracle may use of an instrument


@dataclass(frozen=True, slots=True)
class Job:
    """One series to export. ``sources``: lake files that its text is made of, ``quote``: of the place's ticker.

    ``closes``: an index or oracle series whose closes also go into a rate file, as Lean's custom data reads them.
    ``is_price_only``: of an instrument that can't be traded on Lean; it is a source of the oracle.
    """

    key: SeriesKey
    place: Place
    quote: str
    sources: Mapping[str, Path]
    closes: bool = False
    is_price_only: bool = False

    @property
    def rate_places(self) -> tuple[Place, ...]:
        """Rate files of the series, to which a feed may append."""
        if self.key.series == "funding":
            return self.place, settlement_mark_place(self.place)
        if self.closes:
            return (closes_place(self.place),)
        return (self.place,) if self.key.series == BORROW else ()


def plan(
    lake: Lake,
    symbols: Sequence[str],
    overrides: Mapping[str, InstrumentSettings],
    *,
    with_sources: bool = False,
) -> tuple[list[Job], list[Skipped]]:
    """Jobs in the order of their names, and what is left out. ``symbols``: symbols or keys, empty for everything.

    What cannot be exported is left out with its reason; an instrument that was asked for by name raises instead:
    ``SettingsError`` without filters, ``RefusedError`` when Lean would value it wrongly, ``DataError`` when none of its
    bars have a length that Lean has. ``UsageError`` for a symbol that the lake does not hold. ``with_sources``: bars
    and marks of instruments without filters are exported too, as prices that an oracle may use.
    """
    held = lake.list()
    chosen = _chosen(held, symbols)
    jobs: list[Job] = []
    skipped: list[Skipped] = []
    for key in chosen:
        try:
            as_source = with_sources and key.instrument not in symbols  # by its key it is asked for to be traded
            jobs.append(_job(lake, held, key, overrides, as_source=as_source))
        except CarryError as error:
            if symbols and not isinstance(error, DataError):
                raise
            skipped.append(Skipped(str(key), error.message))
    if symbols:
        _check_bars(jobs, chosen)
    jobs = _without_doubles(jobs, skipped)
    _check_one_file_each(jobs)
    return jobs, skipped


def _job(
    lake: Lake,
    held: Sequence[SeriesKey],
    key: SeriesKey,
    overrides: Mapping[str, InstrumentSettings],
    *,
    as_source: bool,
) -> Job:
    quote, is_price_only = borrow_quote(key.symbol), False
    if key.series != BORROW:
        try:
            quote = _valued(key, overrides).quote
        except (SettingsError, RefusedError):
            terms = contract_terms(key.venue, key.kind, key.symbol)
            if not as_source or terms is None or key.series not in _SOURCES:
                raise
            quote, is_price_only = terms.quote, True
    sources = [key, *(mark_sources(held, key) if key.series == "funding" else ())]
    paths = {str(source): lake.path(source) for source in sources}
    return Job(key, place_of(key, quote), quote, paths, _gives_closes(held, key), is_price_only)


def _gives_closes(held: Sequence[SeriesKey], key: SeriesKey) -> bool:
    """Whether the rate file holds the closes of this series: the longest up to an hour, else the shortest."""
    if key.series not in CLOSES_SERIES:
        return False
    same = [other for other in held if (other.instrument, other.series) == (key.instrument, key.series)]
    lengths = {timeframe_ms(other.timeframe): other for other in same if other.timeframe in RESOLUTIONS}
    chosen = max((length for length in lengths if length <= HOUR_MS), default=min(lengths, default=0))
    return lengths.get(chosen) == key


def _without_doubles(jobs: Sequence[Job], skipped: list[Skipped]) -> list[Job]:
    """Without prices that would share the file of a series that can be traded, or of other prices before them."""
    taken = {job.place: job.key for job in jobs if not job.is_price_only}
    kept = []
    for job in jobs:
        other = taken.setdefault(job.place, job.key)
        if job.is_price_only and other != job.key:
            skipped.append(Skipped(str(job.key), f"prices only, and {other} has that file"))
        else:
            kept.append(job)
    return kept


def _valued(key: SeriesKey, overrides: Mapping[str, InstrumentSettings]) -> Instrument:
    found = instrument(key.instrument, overrides)
    check_valued_rightly(found)
    return found


def _chosen(held: Sequence[SeriesKey], symbols: Sequence[str]) -> list[SeriesKey]:
    if not symbols:
        return list(held)
    instruments: set[str] = set()
    for text in symbols:
        found = {key.instrument for key in held if key.series != BORROW and _is_named(key, text)}
        if not found:
            available = ", ".join(sorted({key.symbol for key in held})) or "nothing"
            raise UsageError(f"--symbol {text}: the lake holds no such symbol", remedy=f"held: {available}")
        instruments |= found
    names = [name.split(":")[2] for name in instruments]
    return [
        key
        for key in held
        if key.instrument in instruments
        or (key.series == BORROW and any(name.startswith(key.symbol) or name.endswith(key.symbol) for name in names))
    ]


def _is_named(key: SeriesKey, text: str) -> bool:
    return text == key.instrument if text.count(":") == 2 else instrument_symbol(text) == key.symbol


def _check_bars(jobs: Sequence[Job], chosen: Sequence[SeriesKey]) -> None:
    """An instrument that was asked for has to get bars: Lean is of no use without them."""
    with_bars = {job.key.instrument for job in jobs if job.key.series == "bars"}
    for key in chosen:
        if key.series == "bars" and key.instrument not in with_bars:
            resolution_of(key.timeframe, str(key))  # raises, naming the length that Lean does not have


def _check_one_file_each(jobs: Sequence[Job]) -> None:
    taken: dict[Place, SeriesKey] = {}
    for job in jobs:
        other = taken.setdefault(job.place, job.key)
        if other != job.key:
            raise DataError(
                f"{other} and {job.key} would share one file of Lean's ({job.place.market} {job.place.ticker})",
                remedy="export one of them with --symbol venue:kind:SYMBOL",
            )


def price_place(key: SeriesKey, place: Place) -> Place | None:
    """The market without trading that the series needs an entry for, if any."""
    if key.series in (*PRICE_SERIES, BORROW):
        return place
    return settlement_mark_place(place) if key.series == "funding" else None

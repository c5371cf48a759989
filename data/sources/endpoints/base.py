"""Words in which a venue's REST interface is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from data.sources.wire.columns import Listing, Tier
from data.store.rows import Columns

Parameters = dict[str, Any]


class Order(StrEnum):
    """From which end of the range a venue's pages are walked: its rule decides which end can't lose rows."""

    FORWARD = "forward"
    BACKWARD = "backward"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a venue allows: ``limit`` units in any ``window_s`` seconds. ``used_header``: where it reports its count."""

    limit: int
    window_s: float
    source: str
    used_header: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What one page is asked for: rows with ``start_ms <= time < end_ms``. ``interval``: the venue's word for a bar."""

    listing: Listing
    start_ms: int
    end_ms: int
    rows: int
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One address. ``call``: ccxt's implicit method. ``path``: as the venue documents it, for messages.

    ``weights``: budget -> units per call. ``signed``: whether it needs a key.
    """

    call: str
    path: str
    weights: Mapping[str, int]
    source: str
    signed: bool = False


@dataclass(frozen=True, slots=True)
class SeriesRoute:
    """How one series of one kind is paged.

    ``rows``: most rows per page. ``span_ms``: longest range that one call may ask for, 0 when there is no such limit.
    ``bounded``: whether the call takes a lower bound; without one, rows before it are normal and are dropped.
    ``remedy``: what a user should know when the venue answers nothing for a range. ``keeps_all``: whether rows go back
    to the listing, so that a page without rows after it is a fault; of bars and prices,
    that a trading contract has no day without any.
    """

    route: Route
    rows: int
    order: Order
    parameters: Callable[[Request], Parameters]
    parse: Callable[[bytes], Columns]
    bounded: bool = True
    span_ms: int = 0
    remedy: str = ""
    keeps_all: bool = False


@dataclass(frozen=True, slots=True)
class MarketsRoute:
    """Where listings of a kind come from. ``pages``: parameters of the calls, one after another (also for delisted).

    ``parse`` gives the listings of one answer and the cursor of the next page, empty at the end. ``one``: parameters
    that ask for a single symbol, None when the venue only lists all.
    """

    route: Route
    pages: tuple[Parameters, ...]
    parse: Callable[[bytes, str], tuple[list[Listing], str]]
    cursor_name: str = ""
    one: Callable[[str], Parameters] | None = None


@dataclass(frozen=True, slots=True)
class TiersRoute:
    """Where leverage tiers come from. ``parse``: tiers by the venue's symbol, and the cursor of the next page."""

    route: Route
    parameters: Parameters
    parse: Callable[[bytes], tuple[dict[str, list[Tier]], str]]
    cursor_name: str = ""
    by_symbol: bool = False


@dataclass(frozen=True, slots=True)
class VenueRest:
    """The REST interface of one venue.

    ``urls``: ccxt's name of each base -> address. ``series``: by (series, kind). ``intervals``: our timeframe -> the
    venue's word. ``missing``: why a series of a kind isn't there. ``pause_s``: seconds to stay away after a status
    when the venue names none. ``symbol_hint``: how its symbols look, for messages. ``envelope``: whether a good status
    may hold an error code. ``archive_url``: base of the bulk archive, empty where there is none.
    """

    name: str
    ccxt_id: str
    urls: Mapping[str, str]
    budgets: Mapping[str, Budget]
    time: Route
    parse_time: Callable[[bytes], int]
    series: Mapping[tuple[str, str], SeriesRoute]
    markets: Mapping[str, MarketsRoute]
    intervals: Mapping[str, str]
    symbol_hint: str
    tiers: Mapping[str, TiersRoute] = field(default_factory=dict)
    missing: Mapping[tuple[str, str], str] = field(default_factory=dict)
    pause_s: Mapping[int, float] = field(default_factory=dict)
    envelope: bool = False
    time_parameters: Mapping[str, str] = field(default_factory=dict)
    archive_url: str = ""

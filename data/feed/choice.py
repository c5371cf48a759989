"""From what a user asks for to venues' routes: venues, symbols, kinds, and addresses that stand in for theirs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches

from crypto.errors import UsageError
from data.feed.feed import FeedPlan
from data.feed.names import venue_symbol
from data.streams.binance import Binance
from data.streams.bybit import Bybit
from data.streams.dydx import Dydx
from data.streams.hyperliquid import Hyperliquid
from data.streams.okx import Okx
from data.streams.protocol import Channel, Subscription, VenueProtocol

_PERP_AND_TOP = (Channel.PERP, Channel.TOP)
# What a feed takes of an instrument, by venue and kind; the venues' adapters say what there is (docs/specs/streams.md).
CHANNELS: Mapping[str, Mapping[str, tuple[Channel, ...]]] = {
    "binance": {"linear": _PERP_AND_TOP, "spot": (Channel.TOP,)},
    "bybit": {"linear": _PERP_AND_TOP, "inverse": _PERP_AND_TOP, "spot": (Channel.TOP,)},
    "okx": {"linear": _PERP_AND_TOP, "inverse": _PERP_AND_TOP, "spot": (Channel.TOP,)},
    "hyperliquid": {"linear": _PERP_AND_TOP},
    "dydx": {"linear": (Channel.PERP,)},
}
# Kinds of which a venue's books can be kept: changes with numbers that show a gap, and a snapshot to begin with.
BOOKS: Mapping[str, tuple[str, ...]] = {"binance": ("linear", "spot"), "bybit": ("linear", "inverse", "spot")}
KINDS = ("linear", "inverse", "spot")
# Adapters by venue; an empty address leaves the venue's own.
_ADAPTERS: Mapping[str, Callable[[str], VenueProtocol]] = {
    "binance": lambda url: Binance(url, url) if url else Binance(),
    "bybit": lambda url: Bybit(url) if url else Bybit(),
    "okx": lambda url: Okx(url) if url else Okx(),
    "hyperliquid": lambda url: Hyperliquid(url) if url else Hyperliquid(),
    "dydx": lambda url: Dydx(url) if url else Dydx(),
}


def adapter(venue: str, url: str = "") -> VenueProtocol:
    """The venue's adapter, dialling ``url`` (scheme and host) if given; ``UsageError`` names the known venues."""
    if venue not in _ADAPTERS:
        near = get_close_matches(venue, _ADAPTERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"unknown venue {venue!r}{hint}", remedy=f"feeds are there for {', '.join(_ADAPTERS)}")
    return _ADAPTERS[venue](url)


def adapters() -> dict[str, VenueProtocol]:
    """Adapters of all venues, for reading recordings."""
    return {venue: adapter(venue) for venue in _ADAPTERS}


def make_plans(
    venues: Sequence[str],
    symbols: Sequence[str],
    kinds: Sequence[str],
    urls: Mapping[str, str],
    *,
    with_books: bool = False,
) -> list[FeedPlan]:
    """Plans for each venue with something to listen to.

    A symbol is ``BTCUSDT``, taken at all venues in those kinds that each has, or ``venue:kind:SYMBOL``. Without
    symbols: all perpetuals, where the venue has such a stream. ``with_books``: their books, too.

    ``UsageError`` names the wrong flag and value.
    """
    _check_kinds(kinds)
    asked = list(dict.fromkeys([*venues, *(text.split(":")[0] for text in symbols if ":" in text)]))
    check_asked("--url", urls, asked)
    if with_books:
        _check_books(asked, symbols)
    plans = []
    for venue in asked:
        protocol = adapter(venue, urls.get(venue, ""))
        subscriptions = _subscriptions(venue, symbols, kinds, with_books) if symbols else _everything(venue)
        if subscriptions:
            expected = {(venue, part.kind, symbol): None for part in subscriptions for symbol in part.symbols}
            plans.append(FeedPlan(protocol, protocol.routes(subscriptions), tuple(expected)))
    if not plans:
        raise UsageError("nothing to listen to", remedy="name a --symbol that one of the venues has in that --kind")
    return plans


def check_asked(flag: str, addresses: Mapping[str, str], asked: Collection[str]) -> None:
    """``UsageError`` for an address of a venue that is not listened to."""
    for venue in addresses:
        if venue not in asked:
            raise UsageError(f"{flag} {venue}=...: {venue} is not asked for", remedy=f"add --venue {venue}")


def _check_kinds(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"--kind {kind!r} is unknown", remedy=f"use one of {', '.join(KINDS)}")


def _check_books(venues: Sequence[str], symbols: Sequence[str]) -> None:
    if not symbols:
        raise UsageError("--book needs instruments", remedy="name them: --symbol BTCUSDT (repeatable)")
    for venue in venues:
        if venue not in BOOKS:
            raise UsageError(f"--book: books of {venue} are not kept", remedy=f"they are of {', '.join(BOOKS)}")


def _subscriptions(venue: str, symbols: Sequence[str], kinds: Sequence[str], with_books: bool) -> list[Subscription]:
    by_kind: dict[str, dict[str, None]] = {}
    for text in symbols:
        for kind, symbol in _chosen(venue, text, kinds):
            by_kind.setdefault(kind, {})[venue_symbol(venue, kind, symbol)] = None
    return [
        Subscription(kind, channel, tuple(names))
        for kind, names in by_kind.items()
        for channel in (*CHANNELS[venue][kind], *((Channel.BOOK,) if with_books else ()))
    ]


def _chosen(venue: str, text: str, kinds: Sequence[str]) -> list[tuple[str, str]]:
    """Kinds and symbols that one --symbol means at this venue."""
    if ":" not in text:
        return [(kind, text) for kind in kinds if kind in CHANNELS[venue]]
    parts = text.split(":")
    if len(parts) != 3 or not all(parts):
        raise UsageError(f"--symbol {text!r} is not venue:kind:SYMBOL", remedy="for example binance:linear:BTCUSDT")
    if parts[0] != venue:
        return []
    if parts[1] not in CHANNELS[venue]:
        has = ", ".join(CHANNELS[venue])
        raise UsageError(f"--symbol {text}: {venue} has no {parts[1]} feed", remedy=f"it has {has}")
    return [(parts[1], parts[2])]


def _everything(venue: str) -> list[Subscription]:
    if venue != "binance":
        raise UsageError(
            f"{venue} has no stream for all perpetuals", remedy="name what to listen to: --symbol BTCUSDT (repeatable)"
        )
    return [Subscription("linear", Channel.PERP)]

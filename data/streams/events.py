"""What a venue's message means, in one form for all venues. Formats and rules: docs/specs/streams.md.

Every time is the venue's own, integer milliseconds since 1970 UTC; prices, rates and quantities are float64 in the
venue's units (a 1000PEPE contract is quoted for 1000 PEPE). Funding is positive when longs pay shorts, per interval.

Of a partial event (``snapshot`` false) a field that is None was not carried and is unchanged. Of a whole one
(``snapshot`` true) None means that the venue states none, which NaN (prices, rates, quantities) or 0 (times) say in a
partial event. ``interval_hours`` None always means unchanged: most streams never carry it. A price of 0 is none.

Parsers may return subclasses, so tell events apart with ``isinstance`` or the class's ``__struct_config__.tag``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, get_args

import msgspec

from crypto.errors import DataError

Level = tuple[float, float]
"""Price and quantity of one level of a book; quantity 0 in a delta removes the level."""


class Aggressor(StrEnum):
    """Side of the order that took liquidity."""

    BUYER = "buyer"
    SELLER = "seller"


class Liquidated(StrEnum):
    """Position that was closed by force: a long is closed by selling, a short by buying."""

    LONG = "long"
    SHORT = "short"


class PerpUpdate(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="perp"):
    """Mark, index and funding of one perpetual. ``sequence`` only where the venue numbers these messages."""

    venue: str
    kind: str
    symbol: str
    event_ms: int | None  # None where the venue stamps none (Hyperliquid)
    sequence: int | None = None
    mark: float | None = None
    index: float | None = None
    funding_rate: float | None = None  # predicted for next_settlement_ms
    next_settlement_ms: int | None = None
    interval_hours: float | None = None
    snapshot: bool = True


class WholePerpUpdate(PerpUpdate, frozen=True, gc=False, kw_only=True, tag="perp"):
    """Base of updates that are always whole, stamped, without sequence and interval, of one venue and kind per class.

    Stores may take many of one such class in together.
    """


class TopOfBook(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="top"):
    """Best bid and ask. ``event_ms`` is None where the venue stamps none (Binance spot)."""

    venue: str
    kind: str
    symbol: str
    event_ms: int | None
    sequence: int | None = None
    bid: float | None = None
    bid_quantity: float | None = None
    ask: float | None = None
    ask_quantity: float | None = None
    snapshot: bool = True


class Trade(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="trade"):
    """One public trade. ``aggregated``: several fills of one order at one price in one row."""

    venue: str
    kind: str
    symbol: str
    event_ms: int
    trade_id: str
    price: float
    quantity: float
    aggressor: Aggressor
    sequence: int | None = None
    aggregated: bool = False


class ForcedOrder(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="forced"):
    """A liquidation. ``price``: Bybit the bankruptcy price, Binance the average fill where there is one."""

    venue: str
    kind: str
    symbol: str
    event_ms: int
    liquidated: Liquidated
    price: float
    quantity: float


class AdlNotice(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="adl"):
    """A contract's insurance pool against its ADL triggers (Bybit ``adlAlert``: b, mb, pr, i_pr, adl_tt, adl_sr).

    Balances in ``coin``; ratios as published: a drawdown is negative when the pool lost.
    """

    venue: str
    kind: str
    symbol: str
    event_ms: int
    coin: str
    balance: float
    peak_balance_8h: float
    drawdown_8h: float
    trigger_drawdown: float
    trigger_balance: float
    stop_drawdown: float


class InsuranceUpdate(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="insurance"):
    """Balance of one insurance pool, in ``coin``; ``symbols`` as published (several contracts may share a pool)."""

    venue: str
    event_ms: int
    coin: str
    symbols: str
    balance: float
    snapshot: bool


class BookSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="book"):
    """A whole book (to its depth); it replaces what was there. ``sequence`` is the venue's id of the last change."""

    venue: str
    kind: str
    symbol: str
    event_ms: int | None
    sequence: int
    bids: tuple[Level, ...]  # best first
    asks: tuple[Level, ...]
    depth: int | None = None


class BookDelta(msgspec.Struct, frozen=True, kw_only=True, tag="delta"):
    """Changed levels with their new quantities.

    ``first_sequence`` to ``sequence`` are the ids of the changes in it; ``previous_sequence`` that of the message
    before, where the venue sends it (Binance USD-M).
    """

    venue: str
    kind: str
    symbol: str
    event_ms: int
    first_sequence: int
    sequence: int
    previous_sequence: int | None
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    depth: int | None = None


class FundingSettled(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="funding"):
    """Realised funding: ``rate`` per interval that was settled at ``settlement_ms``; ``mark`` where it is published."""

    venue: str
    kind: str
    symbol: str
    event_ms: int
    settlement_ms: int
    rate: float
    mark: float | None = None


class ContractNotice(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="contract"):
    """A contract's status as the venue names it (listing, settling, delisting)."""

    venue: str
    kind: str
    symbol: str
    event_ms: int | None
    status: str
    delivery_ms: int | None = None


class Acknowledged(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="acknowledged"):
    """The venue's answer to a subscription; ``request_id`` as in ``Route.acknowledgements``, None if not given."""

    venue: str
    ok: bool
    request_id: str | None = None
    message: str = ""


class Heartbeat(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="heartbeat"):
    """A pong, or a server's ping: ``reply`` is the text frame to answer with, empty when none is due."""

    venue: str
    event_ms: int | None = None
    reply: str = ""


class Ignored(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="ignored"):
    """A well-formed message that changes nothing here, with the reason in words."""

    venue: str
    reason: str


Event = (
    PerpUpdate
    | TopOfBook
    | Trade
    | ForcedOrder
    | AdlNotice
    | InsuranceUpdate
    | BookSnapshot
    | BookDelta
    | FundingSettled
    | ContractNotice
    | Acknowledged
    | Heartbeat
    | Ignored
)


def plain(event: Event) -> Event:
    """The event as its public class, for encoding: a venue's subclass would be written with the venue's field names."""
    if type(event) in _PUBLIC:
        return event
    public: Any = next(base for base in type(event).__mro__ if base in _PUBLIC)
    found: Event = public(**{name: getattr(event, name) for name in public.__struct_fields__})
    return found


_PUBLIC: Final = frozenset(get_args(Event))


class FrameError(DataError):
    """A frame that can't be read. It names venue, route and position and never quotes the frame: it may hold a key."""

    def __init__(self, venue: str, route: str, problem: str, position: str, length: int) -> None:
        super().__init__(
            f"{venue} {route}: {problem} at {position} of a frame of {length} bytes",
            remedy="the recording holds the frame; if the venue changed its format, update the parser",
        )
        self.venue = venue
        self.route = route
        self.problem = problem
        self.position = position

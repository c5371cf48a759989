"""Where a book's snapshot comes from when it is needed again."""

from __future__ import annotations

from itertools import count
from typing import Final

import msgspec

from data.streams.protocol import Route

# Their streams bring changes only; the snapshot is a REST answer. In the streams of the others it comes first.
BY_REST: Final = frozenset({"binance"})
_REQUEST_IDS = count(1)


def resubscription(route: Route, symbol: str) -> tuple[str, ...]:
    """Text frames after which the venue sends the book of ``symbol`` whole again; none where it is asked for otherwise.

    Bybit: a subscription that exists is refused, so it is taken back before (docs: "Subscribe", "Unsubscribe"; the
    snapshot is "pushed once you subscribe").
    """
    if route.venue != "bybit":
        return ()
    topics = [stream for stream in route.streams if _is_book(stream) and stream.rpartition(".")[2] == symbol]
    number = next(_REQUEST_IDS)
    return tuple(
        msgspec.json.encode({"op": what, "req_id": f"{what}-{number}", "args": topics}).decode()
        for what in ("unsubscribe", "subscribe")
        if topics
    )


def _is_book(stream: str) -> bool:
    family, _, rest = stream.partition(".")
    return family == "orderbook" and not rest.startswith("1.")  # orderbook.1 is the top

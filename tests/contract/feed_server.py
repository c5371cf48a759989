"""A venue on the loopback that misbehaves on purpose: each connection attempt plays the next act of a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response


@dataclass(frozen=True, slots=True)
class Refuse:
    """The handshake is answered with this status instead of an upgrade."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


class Peer:
    """Our end of one connection, as an act sees it. ``asked`` and ``sent``: messages of both sides, oldest first."""

    def __init__(self, connection: ServerConnection, path: str, hushed: asyncio.Event) -> None:
        self.connection = connection
        self.path = path
        self._hushed = hushed
        self.asked: list[dict[str, Any]] = []
        self.sent: list[bytes] = []

    async def send(self, *frames: bytes | str | Mapping[str, Any]) -> None:
        for frame in frames:
            content = json.dumps(frame) if isinstance(frame, Mapping) else frame
            raw = content.encode() if isinstance(content, str) else content
            if self._hushed.is_set():
                await self.connection.wait_closed()
            await self.connection.send(raw, text=True)
            self.sent.append(raw)

    async def hear(self) -> dict[str, Any]:
        """The client's next message."""
        self.asked.append(json.loads(await self.connection.recv()))
        return self.asked[-1]

    async def acknowledge(self) -> dict[str, Any]:
        """Wait for one Bybit subscription and accept it."""
        asked = await self.hear()
        await self.send({"success": True, "ret_msg": "", "conn_id": "c", "req_id": asked["req_id"], "op": "subscribe"})
        return asked

    async def stay(self) -> None:
        """Keep the connection open and say nothing more, answering pings, until the client goes."""
        await self.connection.wait_closed()

    async def go_deaf(self) -> None:
        """A half-open socket: nothing is read any more, pings included, and nothing is sent."""
        self.connection.transport.pause_reading()
        await self.connection.wait_closed()

    def drop(self) -> None:
        """Reset the connection without a closing handshake."""
        self.connection.transport.abort()


Act = Callable[[Peer], Awaitable[None]] | Refuse


class VenueServer:
    """Plays ``acts`` one per connection attempt; the last one again and again. ``attempts``: their loop times."""

    def __init__(self, *acts: Act) -> None:
        self.acts: Sequence[Act] = acts
        self.attempts: list[float] = []
        self.paths: list[str] = []
        self.peers: list[Peer] = []
        self.sent_headers: list[list[tuple[str, str]]] = []
        self._server: Server | None = None
        self._hushed = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._play, "127.0.0.1", 0, process_request=self._admit, compression=None, ping_interval=None,
            close_timeout=5.0,
        )  # fmt: skip
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        for peer in self.peers:
            peer.connection.transport.abort()
        self._server.close()
        await self._server.wait_closed()

    def hush(self) -> None:
        """From now on no connection sends anything: what an act wants to say waits until the client has gone."""
        self._hushed.set()

    @property
    def sent(self) -> list[bytes]:
        """Every frame that was sent, connection by connection."""
        return [frame for peer in self.peers for frame in peer.sent]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def _act(self, number: int) -> Act:
        return self.acts[min(number, len(self.acts) - 1)]

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.attempts.append(asyncio.get_running_loop().time())
        self.paths.append(request.path)
        self.sent_headers.append(list(request.headers.raw_items()))
        connection.act = self._act(len(self.attempts) - 1)
        act = connection.act
        if not isinstance(act, Refuse):
            return None
        response = connection.respond(act.status, "refused")
        for name, value in act.headers.items():
            response.headers[name] = value
        return response

    async def _play(self, connection: ServerConnection) -> None:
        act = connection.act
        assert connection.request is not None
        peer = Peer(connection, connection.request.path, self._hushed)
        self.peers.append(peer)
        try:
            await act(peer)
        except ConnectionClosed:
            return  # the client went first


# --- messages in the venues' formats (data/streams names their sources) ---------------------------------------------


def binance_mark(symbol: str, event_ms: int, mark: float, **changes: Any) -> dict[str, Any]:
    """One ``markPriceUpdate`` in the envelope of combined streams."""
    data = {
        "e": "markPriceUpdate", "E": event_ms, "s": symbol, "p": f"{mark:.8f}", "i": f"{mark - 1.0:.8f}",
        "P": f"{mark:.8f}", "r": "0.00010000", "T": 1_800_000_000_000,
    } | changes  # fmt: skip
    return {"stream": f"{symbol.lower()}@markPrice@1s", "data": data}


def binance_top(symbol: str, update: int, bid: float, event_ms: int) -> dict[str, Any]:
    """One ``bookTicker`` in the envelope of combined streams."""
    data = {
        "e": "bookTicker", "u": update, "s": symbol, "b": f"{bid:.2f}", "B": "1.500", "a": f"{bid + 0.5:.2f}",
        "A": "2.500", "T": event_ms, "E": event_ms,
    }  # fmt: skip
    return {"stream": f"{symbol.lower()}@bookTicker", "data": data}


def bybit_ticker(symbol: str, kind: str, event_ms: int, cross_sequence: int, **data: str) -> dict[str, Any]:
    """One linear ``tickers`` message; ``kind``: snapshot or delta."""
    return {
        "topic": f"tickers.{symbol}", "type": kind, "data": {"symbol": symbol} | data, "cs": cross_sequence,
        "ts": event_ms,
    }  # fmt: skip


BYBIT_WHOLE: Mapping[str, str] = {
    "tickDirection": "PlusTick", "price24hPcnt": "0.017103", "lastPrice": "17216.00", "prevPrice24h": "16926.50",
    "highPrice24h": "17281.50", "lowPrice24h": "16915.00", "prevPrice1h": "17238.00", "markPrice": "17217.33",
    "indexPrice": "17227.36", "openInterest": "68744.761", "openInterestValue": "1183601235.91",
    "turnover24h": "1570383121.943499", "volume24h": "91705.276", "nextFundingTime": "1800000000000",
    "fundingRate": "-0.000212", "bid1Price": "17215.50", "bid1Size": "84.489", "ask1Price": "17216.00",
    "ask1Size": "83.020", "fundingIntervalHour": "8", "fundingCap": "0.005",
}  # fmt: skip

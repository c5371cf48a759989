"""Answers snapshot requests of programs on this machine and streams updates to them, on a Unix socket.

One JSON object per line both ways. Requests: ``{"get": "snapshot"}`` and ``{"get": "stream"}``, both with optional
``"instruments": ["binance:linear:BTCUSDT"]``; ``{"get": "status"}``. Spec: docs/specs/feed.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec

from crypto.errors import OutputError, RefusedError

log = logging.getLogger(__name__)

LONGEST_REQUEST_BYTES = 1 << 20
LONGEST_SOCKET_PATH_BYTES = 107  # sun_path of unix(7) without its final zero
MOST_CLIENTS = 64  # our choice: far more than one strategy needs, and far fewer than a process may open files
# Part of the time that all streams together may take from the sockets of the venues; our choice.
_STREAMING_SHARE = 0.25
_WRITE_BUFFER_BYTES = 64 << 10

Describe = Callable[[Collection[str] | None], dict[str, Any]]
Status = Callable[[], dict[str, Any]]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may ask for. ``instruments`` None: all."""

    get: str
    instruments: list[str] | None = None


class _Subscriber:
    """Updates that a client has not taken yet: the newest per instrument, so never more than there are of them."""

    def __init__(self, wanted: Collection[str] | None) -> None:
        self._wanted = None if wanted is None else frozenset(wanted)
        self._changed: dict[str, None] = {}
        self._dropped = 0
        self._wake = asyncio.Event()

    def mark(self, instruments: Iterable[str]) -> None:
        """Note that these changed. One that is still waiting is replaced by its newer self and counted as dropped."""
        for instrument in instruments:
            if self._wanted is None or instrument in self._wanted:
                self._dropped += instrument in self._changed
                self._changed[instrument] = None
        if self._changed:
            self._wake.set()

    async def take(self) -> tuple[list[str], int]:
        """Instruments that changed since the last call, waiting for one, and how many updates were replaced."""
        await self._wake.wait()
        self._wake.clear()
        changed, self._changed = list(self._changed), {}
        dropped, self._dropped = self._dropped, 0
        return changed, dropped


class SnapshotServer:
    """Serves one feed. A client that does not read delays nobody: its updates are merged, not queued."""

    def __init__(self, path: Path, describe: Describe, status: Status, push_seconds: float = 0.05) -> None:
        self.path = path
        self._push_seconds = push_seconds
        self._describe = describe
        self._status = status
        self._subscribers: set[_Subscriber] = set()
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def clients(self) -> int:
        """Connected clients."""
        return len(self._clients)

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody streams."""
        return bool(self._subscribers)

    async def start(self) -> None:
        """Listen. A socket that a killed feed left is replaced, one that somebody answers or another file is not."""
        if len(os.fsencode(self.path)) > LONGEST_SOCKET_PATH_BYTES:
            raise OutputError(
                f"{self.path} is too long for a Unix socket ({LONGEST_SOCKET_PATH_BYTES} bytes)",
                remedy="name a shorter path (--socket)",
            )
        _refuse_what_is_no_left_socket(self.path)
        before = os.umask(0o177)  # owner only
        try:
            self.path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._accept, self.path, limit=LONGEST_REQUEST_BYTES)
        except OSError as error:
            raise OutputError(
                f"cannot listen on {self.path}: {error.strerror or error}", remedy="name another path (--socket)"
            ) from error
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Close the socket and all clients, and remove the socket file."""
        if self._server is None:
            return
        self._server.close()
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        self.path.unlink(missing_ok=True)

    def publish(self, instruments: Collection[str]) -> None:
        """Tell streaming clients that these instruments changed. Never waits."""
        for subscriber in self._subscribers:
            subscriber.mark(instruments)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CLIENTS:
            log.debug("a local client was turned away: %d are connected", MOST_CLIENTS)
            message = {"error": f"{MOST_CLIENTS} clients are connected already", "remedy": "close some of them"}
            writer.write(_encoded(message))
            writer.close()
            return
        client = asyncio.create_task(self._serve(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        try:
            while line := await _next_line(reader):
                request = _understand(line)
                if isinstance(request, Request) and request.get == "stream":
                    await self._stream(request, reader, writer)
                    return
                await _send(writer, request if isinstance(request, dict) else self._answer(request))
        except OSError as error:
            log.debug("a local client went away: %s", error)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, request: Request) -> dict[str, Any]:
        if request.get == "snapshot":
            return self._describe(request.instruments)
        return self._status()

    async def _stream(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subscriber = _Subscriber(request.instruments)
        self._subscribers.add(subscriber)
        gone = asyncio.create_task(_drained(reader))
        pushing = asyncio.create_task(self._push(request, subscriber, writer))
        try:
            done, _ = await asyncio.wait({gone, pushing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._subscribers.discard(subscriber)
            gone.cancel()
            pushing.cancel()
            await asyncio.gather(gone, pushing, return_exceptions=True)

    async def _push(self, request: Request, subscriber: _Subscriber, writer: asyncio.StreamWriter) -> None:
        """First a whole snapshot, then what changed; the next only when the client has taken the last."""
        await _send(writer, self._describe(request.instruments) | {"dropped": 0})
        now = asyncio.get_running_loop().time
        while True:
            changed, dropped = await subscriber.take()
            begun = now()
            message = _encoded(self._describe(changed) | {"dropped": dropped})
            cost = now() - begun
            writer.write(message)
            await writer.drain()
            # What changes meanwhile is merged. Many clients get fewer updates each: the venues' sockets come first.
            await asyncio.sleep(max(self._push_seconds, cost * len(self._subscribers) / _STREAMING_SHARE))


async def _next_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError as error:  # longer than the limit: what follows can't be told apart any more
        raise ConnectionError("request too long") from error


async def _drained(reader: asyncio.StreamReader) -> None:
    """Until the client closes its side; what it sends while it is streamed to is not looked at."""
    while await reader.read(LONGEST_REQUEST_BYTES):
        pass


def _understand(line: bytes) -> Request | dict[str, Any]:
    try:
        request = msgspec.json.decode(line, type=Request)
    except msgspec.DecodeError as error:
        return {"error": f"request not understood: {error}", "remedy": 'for example {"get": "snapshot"}'}
    if request.get not in ("snapshot", "stream", "status"):
        return {"error": f"get {request.get!r} is unknown", "remedy": "use snapshot, stream or status"}
    return request


async def _send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(_encoded(message))
    await writer.drain()


def _encoded(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def _refuse_what_is_no_left_socket(path: Path) -> None:
    """Raise when the path is a file of another kind, which must not be lost, or a socket that somebody answers."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # nothing is there, or listening says why it can't be
    if not stat.S_ISSOCK(mode):
        raise OutputError(f"{path} is there and is no socket", remedy="name another path (--socket)")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            pass  # its queue is full, so somebody owns it
        except OSError:
            return
    raise RefusedError(f"another process serves {path}", remedy="stop it first, or name another path (--socket)")

"""A WebSocket that hands over all frames of one read of its socket at once, with the time of that read."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode

Sink = Callable[[list[bytes], int], None]

MOST_FRAME_BYTES = 8 << 20  # all Binance marks are 0.1 MiB, the largest books some MiB
_CONTROL = (Opcode.CLOSE, Opcode.PING, Opcode.PONG)


class FrameConnection(ClientConnection):
    """Calls ``sink(frames, received_ns)`` for what each read brought, instead of queueing frames for ``recv``.

    There is no queue in this process that could hide how old its data are: while the sink works, the socket waits.
    """

    def __init__(self, protocol: ClientProtocol, *, sink: Sink, **options: Any) -> None:
        super().__init__(protocol, **options)
        self._sink = sink
        self._batch: list[bytes] = []
        self._parts: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Decode the frames of one read and hand them over together. ``received_ns``: wall clock when the read returned."""
        received_ns = time.time_ns()
        super().data_received(data)
        if self._batch:
            batch, self._batch = self._batch, []
            self._sink(batch, received_ns)

    def process_event(self, event: Any) -> None:
        """Keep data frames for the sink; leave handshake and control frames to the library."""
        if self.response is None or event.opcode in _CONTROL:
            super().process_event(event)
        elif event.fin and not self._parts:
            self._batch.append(bytes(event.data))
        else:
            self._join(event)

    def _join(self, event: Frame) -> None:
        self._parts.append(bytes(event.data))
        if event.fin:
            self._batch.append(b"".join(self._parts))
            self._parts = []


async def open_connection(
    address: str,
    sink: Sink,
    *,
    open_seconds: float,
    ping_seconds: float,
    close_seconds: float,
    use_proxy: bool = True,
) -> FrameConnection:
    """Dial and shake hands. Errors as ``websockets.asyncio.client.connect``: OSError, TimeoutError, InvalidHandshake.

    Pings go out every ``ping_seconds`` and must be answered within the same time. Frames are not compressed: unpacking
    costs more than the bytes that it saves on this side.
    """
    return cast(
        FrameConnection,
        await connect(
            address,
            compression=None,
            open_timeout=open_seconds,
            ping_interval=ping_seconds,
            ping_timeout=ping_seconds,
            close_timeout=close_seconds,
            max_size=MOST_FRAME_BYTES,
            proxy=True if use_proxy else None,
            create_connection=cast(type[ClientConnection], partial(FrameConnection, sink=sink)),
        ),
    )

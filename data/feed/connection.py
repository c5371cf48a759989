"""A WebSocket that hands over all frames of one read of its socket at once, with the time of that read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

Sink = Callable[[list[bytes], int], None]

MOST_FRAME_BYTES: Final = 8 << 20  # all Binance marks are 0.1 MiB, the largest books some MiB
_CONTROL: Final = (Opcode.CLOSE, Opcode.PING, Opcode.PONG)
# RFC 6455, section 5.2. First byte of a whole text or binary frame without extensions; second byte: length, or the mark
# of a longer length, or with the highest bit of a mask, which no server may use.
_WHOLE_DATA: Final = (0x81, 0x82)
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_HEAD_END: Final = b"\r\n\r\n"


class FrameConnection(ClientConnection):
    """Calls ``sink(frames, received_ns)`` for what each read brought, instead of queueing frames for ``recv``.

    There is no queue in this process that could hide how old its data are: while the sink works, the socket waits.
    Whole data frames are cut out of the bytes here, at a fraction of the library's cost; the handshake, control frames,
    fragments and whatever is wrong go through the library.
    """

    def __init__(self, protocol: ClientProtocol, *, sink: Sink, now_ns: Callable[[], int], **options: Any) -> None:
        super().__init__(protocol, **options)
        self._sink = sink
        self._now_ns = now_ns
        self._batch: list[bytes] = []
        self._parts: list[bytes] = []
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Decode the frames of one read and hand them over together, with the time at which the read returned."""
        received_ns = self._now_ns()
        if self._rest:
            data, self._rest = self._rest + data, b""
        while data:
            data = self._cut(data) if self._may_cut() else self._pass_on(data, self._head(data))
        if self._batch:
            batch, self._batch = self._batch, []
            self._sink(batch, received_ns)

    def eof_received(self) -> None:
        """The bytes of an unfinished frame are the library's to complain about."""
        if self._rest:
            rest, self._rest = self._rest, b""
            super().data_received(rest)
        super().eof_received()

    def process_event(self, event: Any) -> None:
        """Keep data frames for the sink; leave handshake and control frames to the library."""
        if self.response is None or event.opcode in _CONTROL:
            super().process_event(event)
        elif event.fin and not self._parts:
            self._batch.append(bytes(event.data))
        else:
            self._join(event)

    def _may_cut(self) -> bool:
        """Whether the handshake is done, nobody is closing, and the next byte begins a frame."""
        return self.protocol.state is State.OPEN and not self.protocol.reader.buffer

    def _head(self, data: bytes) -> int:
        """Of what the library gets: up to the end of the handshake's answer, later everything."""
        end = data.find(_HEAD_END) if self.response is None else -1
        return len(data) if end < 0 else end + len(_HEAD_END)

    def _cut(self, data: bytes) -> bytes:
        """Take whole data frames off the front, keep what is unfinished; give the library the first other frame.

        Returns what follows that frame.
        """
        at, end, append = 0, len(data), self._batch.append
        while end - at >= 2:
            length, start = data[at + 1], at + 2
            if length >= _LENGTH_16:
                start = at + (4 if length == _LENGTH_16 else 10)
                is_masked = length > _LENGTH_64
                length = int.from_bytes(data[at + 2 : start], "big")
                if is_masked or (length > MOST_FRAME_BYTES and start <= end):
                    return self._pass_on(data[at:], end)  # the library closes with the right code
            stop = start + length
            if stop > end:
                break
            if data[at] not in _WHOLE_DATA or self._parts:
                return self._pass_on(data[at:], stop - at)
            append(data[start:stop])
            at = stop
        self._rest = data[at:]
        return b""

    def _pass_on(self, data: bytes, count: int) -> bytes:
        """Give the first ``count`` bytes to the library, return the others."""
        super().data_received(data[:count])
        return data[count:]

    def _join(self, event: Frame) -> None:
        self._parts.append(bytes(event.data))
        if event.fin:
            self._batch.append(b"".join(self._parts))
            self._parts = []


async def open_connection(
    address: str,
    sink: Sink,
    *,
    now_ns: Callable[[], int],
    open_seconds: float,
    ping_seconds: float,
    close_seconds: float,
    use_proxy: bool = True,
) -> FrameConnection:
    """Dial and shake hands. Errors as ``websockets.asyncio.client.connect``: OSError, TimeoutError, InvalidHandshake.

    Pings go out every ``ping_seconds`` and must be answered within the same time. Frames are not compressed: unpacking
    costs more than the bytes that it saves on this side.
    """
    factory = partial(FrameConnection, sink=sink, now_ns=now_ns)
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
            create_connection=cast(type[ClientConnection], factory),
        ),
    )

"""Frames cut out of bytes here and by the library are the same, however the bytes are split into reads."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.uri import parse_uri
from websockets.utils import accept_key

from data.feed.connection import MOST_FRAME_BYTES, FrameConnection

HEAD = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
)
TEXT, BINARY, CONTINUED, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def frame(opcode: int, payload: bytes, *, final: bool = True, mask_bit: int = 0) -> bytes:
    """RFC 6455, section 5.2, as a server sends it."""
    first = (0x80 if final else 0) | opcode
    if len(payload) < 126:
        return bytes([first, mask_bit | len(payload)]) + payload
    if len(payload) < 1 << 16:
        return bytes([first, mask_bit | 126]) + struct.pack("!H", len(payload)) + payload
    return bytes([first, mask_bit | 127]) + struct.pack("!Q", len(payload)) + payload


class Wire(asyncio.Transport):
    """Takes what the connection writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False


async def receive(stream: bytes, cuts: Sequence[int], *, in_first_read: bool = False) -> tuple[list[bytes], Any]:
    """All frames that the sink got when ``stream`` follows the handshake and comes in reads cut at ``cuts``."""
    got: list[bytes] = []
    protocol = ClientProtocol(parse_uri("ws://venue/"), max_size=MOST_FRAME_BYTES)
    connection = FrameConnection(
        protocol, sink=lambda frames, _: got.extend(frames), now_ns=lambda: 1, ping_interval=None
    )
    wire = Wire()
    connection.connection_made(wire)
    request = protocol.connect()
    protocol.send_request(request)
    connection.send_data()
    key = request.headers["Sec-WebSocket-Key"]
    head = HEAD % accept_key(key).encode()
    wire.written = b""
    places = sorted({0, *(cut % (len(stream) + 1) for cut in cuts), len(stream)})
    reads = [stream[a:b] for a, b in pairwise(places)]
    if in_first_read and reads:
        reads[0] = head + reads[0]
    else:
        reads.insert(0, head)
    for read in reads:
        connection.data_received(read)
    connection.response_rcvd.exception()
    return got, (connection, wire)


messages = st.one_of(
    st.binary(max_size=10),
    st.binary(min_size=120, max_size=130),
    st.integers(65_530, 65_540).map(lambda size: b"m" * size),
)


@given(st.lists(st.tuples(messages, st.sampled_from(["text", "binary", "ping", "fragments"])), max_size=6), st.data())
def test_every_message_comes_once_and_in_order_however_the_bytes_are_split(
    content: list[tuple[bytes, str]], data: st.DataObject
) -> None:
    stream, expected = b"", []
    for payload, form in content:
        if form == "fragments":
            middle = len(payload) // 2
            stream += frame(TEXT, payload[:middle], final=False) + frame(PING, b"between")
            stream += frame(CONTINUED, payload[middle:])
        elif form == "ping":
            stream += frame(PING, payload[:125])
            continue
        else:
            stream += frame(TEXT if form == "text" else BINARY, payload)
        expected.append(payload)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))
    got, _ = asyncio.run(receive(stream, cuts, in_first_read=data.draw(st.booleans())))
    assert got == expected


def test_every_single_byte_may_be_a_read_of_its_own() -> None:
    stream = frame(TEXT, b"a" * 130) + frame(PING, b"p") + frame(TEXT, b"b")
    got, _ = asyncio.run(receive(stream, range(len(stream))))
    assert got == [b"a" * 130, b"b"]


def test_pings_are_answered_also_between_data_frames() -> None:
    _, (_, wire) = asyncio.run(receive(frame(TEXT, b"x") + frame(PING, b"") + frame(TEXT, b"y"), []))
    assert wire.written[:2] == bytes([0x80 | PONG, 0x80])  # a pong without payload, masked as a client must


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(TEXT, b"masked", mask_bit=0x80), 1002),
        (bytes([0xC1, 1]) + b"x", 1002),  # an extension that was not agreed on
        (bytes([0x83, 1]) + b"x", 1002),  # an opcode that does not exist
        (frame(CONTINUED, b"x"), 1002),
        (frame(TEXT, b"x", final=False) + frame(TEXT, b"y"), 1002),
        (bytes([0x81, 127]) + struct.pack("!Q", MOST_FRAME_BYTES + 1), 1009),
    ],
    ids=["masked", "extension", "opcode", "continuation", "text-in-fragments", "too-long"],
)
def test_what_breaks_the_protocol_is_refused_with_its_code_and_what_came_before_is_kept(bad: bytes, code: int) -> None:
    got, (connection, _) = asyncio.run(receive(frame(TEXT, b"good") + bad, []))
    assert got == [b"good"]
    assert connection.protocol.close_sent is not None
    assert connection.protocol.close_sent.code == code


def test_a_closing_frame_ends_the_reading() -> None:
    stream = frame(TEXT, b"last") + frame(CLOSE, struct.pack("!H", 1008) + b"too many") + frame(TEXT, b"never")
    got, (connection, _) = asyncio.run(receive(stream, []))
    assert got == [b"last"]
    assert (connection.close_code, connection.close_reason) in [(1008, "too many"), (None, None)]
    assert connection.protocol.close_rcvd.code == 1008

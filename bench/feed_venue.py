"""A venue for the feed's benchmark, in a process of its own: sends frames that were made beforehand."""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
from websockets.utils import accept_key

CHUNK = 1 << 18


def make_frames(symbols: int, count: int, seed: int) -> list[bytes]:
    """Top-of-book frames of Binance's combined streams, ids growing, prices walking, symbols in random order."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, symbols, count)
    prices = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-4, count)))
    sizes = rng.lognormal(1.0, 1.0, (count, 2))
    return [
        json.dumps(
            {
                "stream": f"coin{which[at]}usdt@bookTicker",
                "data": {
                    "e": "bookTicker", "u": 10_000_000_000 + at, "s": f"COIN{which[at]}USDT",
                    "b": f"{prices[at]:.4f}", "B": f"{sizes[at, 0]:.3f}", "a": f"{prices[at] + 0.01:.4f}",
                    "A": f"{sizes[at, 1]:.3f}", "T": 1_790_000_000_000 + at, "E": 1_790_000_000_001 + at,
                },
            },
            separators=(",", ":"),
        ).encode()
        for at in range(count)
    ]  # fmt: skip


def framed(frames: list[bytes]) -> bytes:
    """The frames as a server puts them on the wire (RFC 6455, section 5.2): whole text messages below 64 KiB."""
    parts = []
    for content in frames:
        size = len(content)
        head = bytes([0x81, size]) if size < 126 else bytes([0x81, 126]) + size.to_bytes(2, "big")
        parts += [head, content]
    return b"".join(parts)


async def serve(content: bytes) -> None:
    """Send ``content`` to every client; print the port first, and go on until this process is ended."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        (key,) = [
            line.split(":", 1)[1].strip() for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key")
        ]
        answer = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                  f"Sec-WebSocket-Accept: {accept_key(key)}", "", "")  # fmt: skip
        writer.write("\r\n".join(answer).encode())
        try:
            for start in range(0, len(content), CHUNK):
                writer.write(content[start : start + CHUNK])
                await writer.drain()
            await reader.read()
        except ConnectionError:
            return  # the client has seen enough
        finally:
            writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    """``python -m bench.feed_venue SYMBOLS COUNT SEED``."""
    symbols, count, seed = (int(text) for text in sys.argv[1:])
    asyncio.run(serve(framed(make_frames(symbols, count, seed))))


if __name__ == "__main__":
    main()

"""Mark arrays of 600 symbols, decoded and taken into the state, against ccxt.pro's handler on the same frames."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bench.comparison import Comparison
from bench.equality import require_same, require_same_bits
from bench.measure import cpu_seconds, in_turns, timed
from crypto.market import Floats
from data.streams.binance import Binance
from data.streams.protocol import Channel, Route, Subscription
from data.streams.staleness import Field
from data.streams.state import MarketState
from data.streams.verdict import Verdict

LEAST_TIMES_CCXT = 20.0
STREAM = "!markPrice@arr@1s"
START_MS = 1_723_161_256_000
SETTLEMENT_MS = 1_723_161_600_000


@dataclass(frozen=True, slots=True)
class DecodingSize:
    """Symbols of an array, arrays of a run, and how often each side is timed."""

    symbols: int = 600
    arrays: int = 25
    repeats: int = 7


def make_frames(size: DecodingSize, seed: int) -> list[str]:
    """One array a second as Binance sends them, 8 decimals, prices from 1e-3 to 1e5 that walk by 1 bp a second."""
    rng = np.random.default_rng(seed)
    marks = 10.0 ** rng.uniform(-3.0, 5.0, size.symbols)
    frames = []
    for second in range(size.arrays):
        marks *= 1.0 + rng.normal(0.0, 1e-4, size.symbols)
        rates = rng.normal(1e-4, 1e-4, size.symbols)
        rows = [
            {
                "e": "markPriceUpdate", "E": START_MS + 1000 * second, "s": symbol_name(row), "p": f"{mark:.8f}",
                "ap": f"{mark:.8f}", "P": f"{mark:.8f}", "i": f"{mark * 1.0003:.8f}", "r": f"{rate:.8f}",
                "T": SETTLEMENT_MS, "st": 1,
            }
            for row, (mark, rate) in enumerate(zip(marks.tolist(), rates.tolist(), strict=True))
        ]  # fmt: skip
        frames.append(json.dumps(rows, separators=(",", ":")))
    return frames


def in_envelope(array: str) -> bytes:
    """The array as our connection gets it: with the stream's name. ccxt's connection carries bare arrays."""
    return f'{{"stream":"{STREAM}","data":{array}}}'.encode()


def symbol_name(row: int) -> str:
    """Name of a made-up contract."""
    return f"COIN{row}USDT"


class Ours:
    """Parser and state of the feed."""

    def __init__(self, symbols: int) -> None:
        self._venue = Binance()
        self._route: Route = self._venue.routes([Subscription("linear", Channel.PERP)])[0]
        self._symbols = symbols
        self.state = MarketState()

    def run(self, frames: Sequence[bytes]) -> None:
        """Take the frames in as after a new connection: the instruments are known, as they are to ccxt."""
        self.state.invalidate("binance", "linear")
        for at, frame in enumerate(frames, start=1):
            self.state.apply_all(self._venue.parse(self._route, frame), at)

    def prices(self) -> tuple[Floats, Floats]:
        """Marks and indices by symbol."""
        table = self.state.perps
        found = [table.row(("binance", "linear", symbol_name(row))) for row in range(self._symbols)]
        rows = [row for row in found if row is not None]
        require_same("symbols that were found", len(rows), self._symbols)
        return table.values[Field.MARK, rows].copy(), table.values[Field.INDEX, rows].copy()


class Ccxt:
    """ccxt.pro's own client and handler without a socket: what its receive loop calls with the text of a message."""

    def __init__(self, exchange: Any, symbols: int) -> None:
        self._symbols = symbols
        self.exchange = exchange
        self.exchange.set_markets([_market(row) for row in range(symbols)])
        self._client = self.exchange.client("wss://fstream.binance.com/market/ws/0")

    def run(self, frames: Sequence[str]) -> None:
        """Take the frames into ccxt's tickers."""
        handle: Callable[[str], None] = self._client.handle_text_or_binary_message
        for frame in frames:
            handle(frame)

    def prices(self) -> tuple[Floats, Floats]:
        """Marks and indices by symbol."""
        tickers = [self.exchange.tickers[f"COIN{row}/USDT:USDT"] for row in range(self._symbols)]
        marks = np.array([ticker["markPrice"] for ticker in tickers], dtype=np.float64)
        return marks, np.array([ticker["indexPrice"] for ticker in tickers], dtype=np.float64)


def _market(row: int) -> dict[str, Any]:
    base = f"COIN{row}"
    return {
        "id": symbol_name(row), "symbol": f"{base}/USDT:USDT", "base": base, "quote": "USDT", "settle": "USDT",
        "baseId": base, "quoteId": "USDT", "settleId": "USDT", "type": "swap", "spot": False, "swap": True,
        "future": False, "option": False, "linear": True, "inverse": False, "contract": True, "contractSize": 1.0,
        "active": True, "precision": {"amount": 0.001, "price": 1e-8}, "limits": {}, "info": {},
    }  # fmt: skip


def compare(size: DecodingSize) -> list[Comparison]:
    """Check that both hold the same prices after each frame, then time them in turns."""
    return asyncio.run(_compare(size))


async def _compare(size: DecodingSize) -> list[Comparison]:
    from ccxt import pro  # noqa: PLC0415 - ccxt takes a quarter of a second and 100 MB: only this item needs it

    frames = make_frames(size, seed=5)
    enveloped = [in_envelope(frame) for frame in frames]
    exchange = pro.binanceusdm()
    exchange.timeout_on_exit = 0
    try:
        ours, theirs = Ours(size.symbols), Ccxt(exchange, size.symbols)
        require_same_prices(ours, theirs, frames)
        timings = in_turns(
            {
                "ccxt": partial(timed, partial(theirs.run, frames)),
                "ours": partial(timed, partial(ours.run, enveloped)),
            },
            size.repeats,
        )
    finally:
        await exchange.close()
    require_same("verdicts", set(ours.state.verdicts), {Verdict.APPLIED})
    decoder = "orjson" if "orjson" in sys.modules else "json"
    return [
        Comparison(
            item=f"mark arrays of {size.symbols} symbols",
            unit="arrays/s",
            denominator_name=f"ccxt.pro, handler of its client, {decoder}",
            denominator=cpu_seconds(timings["ccxt"]).rates(size.arrays),
            figure_name="typed decoding and update of the state",
            figure=cpu_seconds(timings["ours"]).rates(size.arrays),
            goal=LEAST_TIMES_CCXT,
            note="marks and indices equal to the bit after each array",
        )
    ]


def require_same_prices(ours: Ours, theirs: Ccxt, frames: Sequence[str]) -> None:
    """After every frame both hold the same marks and indices, to the bit."""
    for at, frame in enumerate(frames):
        ours.run([in_envelope(frame)])
        theirs.run([frame])
        for name, left, right in zip(("marks", "indices"), ours.prices(), theirs.prices(), strict=True):
            require_same_bits(f"{name} after frame {at}", left, right)

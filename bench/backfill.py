"""Backfill: parsing pages against decoding alone, Parquet against zipped CSV, memory against what is asked for."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from bench.comparison import Comparison, Direction
from bench.equality import require_same, require_same_bits
from bench.measure import Sample, cpu_seconds, in_turns, timed
from crypto.units import MINUTE_MS, parse_iso
from data.sources.archive import parse_month
from data.sources.wire import binance, bybit
from data.sources.wire.columns import Candle
from data.store.lake import Lake, Provenance, SeriesKey
from data.store.rows import Columns

LEAST_OF_DECODER = 0.5
TIMES_ZIPPED_CSV = 8.0
# Peak memory may exceed the arrays asked for by this much of them: one series' file is open at a time.
MOST_OF_ARRAYS = 1.5
MOST_OF_SMALL_LAKE = 1.1
MINUTES_PER_YEAR = 365 * 24 * 60
START_MS = parse_iso("2025-01-01")
BYTES_PER_ROW = 5 * 8  # open, high, low, close, volume; the grid is shared
ROOT = Path(__file__).resolve().parent.parent


class _BybitResult(msgspec.Struct):
    rows: list[Candle] = msgspec.field(name="list")


class _BybitAnswer(msgspec.Struct):
    result: _BybitResult


TYPED: dict[str, object] = {"Binance klines": list[Candle], "Bybit klines": _BybitAnswer}


@dataclass(frozen=True, slots=True)
class BackfillSize:
    """Rows of a page, pages per timing; symbols in the lake, and how many of them are loaded at most and at least."""

    page_rows: int = 1000
    pages: int = 60
    symbols: int = 50
    fewest: int = 1
    most: int = 11
    minutes: int = MINUTES_PER_YEAR
    repeats: int = 7


def make_bars(minutes: int, seed: int) -> Columns:
    """A random walk of one-minute bars with prices to the cent and volumes to the thousandth."""
    rng = np.random.default_rng(seed)
    close = np.round(60_000 * np.exp(np.cumsum(rng.normal(0, 4e-4, minutes))), 2)
    opened = np.concatenate(([60_000.0], close[:-1]))
    spread = np.round(rng.exponential(10.0, (2, minutes)), 2)
    return {
        "time_ms": START_MS + MINUTE_MS * np.arange(minutes, dtype=np.int64),
        "open": opened,
        "high": np.round(np.maximum(opened, close) + spread[0], 2),
        "low": np.round(np.minimum(opened, close) - spread[1], 2),
        "close": close,
        "volume": np.round(rng.lognormal(1, 1, minutes), 3),
    }


def binance_rows(bars: Columns) -> list[list[object]]:
    """The rows as ``GET /fapi/v1/klines`` sends them: twelve elements, prices and volumes as texts."""
    columns = [bars[name].tolist() for name in ("time_ms", "open", "high", "low", "close", "volume")]
    return [
        [at, f"{o:.2f}", f"{h:.2f}", f"{low:.2f}", f"{c:.2f}", f"{v:.3f}", at + 59_999, f"{v * c:.5f}", 1234,
         f"{v / 2:.3f}", f"{v * c / 2:.5f}", "0"]
        for at, o, h, low, c, v in zip(*columns, strict=True)
    ]  # fmt: skip


def binance_page(bars: Columns) -> bytes:
    """One answer of Binance's klines."""
    return json.dumps(binance_rows(bars), separators=(",", ":")).encode()


def bybit_page(bars: Columns) -> bytes:
    """One answer of ``GET /v5/market/kline``: seven texts a row, newest first, in an envelope."""
    rows = [[str(row[0]), *row[1:6], row[7]] for row in reversed(binance_rows(bars))]
    result = {"category": "linear", "symbol": "BTCUSDT", "list": rows}
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1}).encode()


def compare(size: BackfillSize) -> list[Comparison]:
    """Check that every side gives the same rows, then measure."""
    with tempfile.TemporaryDirectory(prefix="carry-bench-") as folder:
        return [*_parsing(size), *_reading(size, Path(folder)), *_memory(size, Path(folder))]


def _parsing(size: BackfillSize) -> list[Comparison]:
    bars = make_bars(size.page_rows, seed=51)
    sides: tuple[tuple[str, bytes, Callable[[bytes], Columns]], ...] = (
        ("Binance klines", binance_page(bars), binance.bars),
        ("Bybit klines", bybit_page(bars), bybit.bars),
    )
    return [found for name, page, parse in sides for found in _parsing_of(name, page, parse, bars, size)]


def _parsing_of(
    name: str, page: bytes, parse: Callable[[bytes], Columns], bars: Columns, size: BackfillSize
) -> list[Comparison]:
    decode = msgspec.json.Decoder().decode
    typed = msgspec.json.Decoder(TYPED[name], strict=False).decode
    for column, values in parse(page).items():
        require_same_bits(f"{name}, {column}", values, bars[column])

    def run(side: Callable[[bytes], object]) -> None:
        for _ in range(size.pages):
            side(page)

    sides = {"decoder": decode, "typed": typed, "ours": parse}
    timings = in_turns({side: partial(timed, partial(run, call)) for side, call in sides.items()}, size.repeats)
    rows = size.pages * size.page_rows / 1e3
    denominators = (
        ("decoder", "msgspec decode alone, every value, untyped", LEAST_OF_DECODER),
        ("typed", "msgspec decode alone into our rows, texts made numbers", None),
    )
    return [
        Comparison(
            item=f"parsing pages of {size.page_rows} {name}",
            unit="k rows/s",
            denominator_name=words,
            denominator=cpu_seconds(timings[side]).rates(rows),
            figure_name="bytes to sorted, typed columns",
            figure=cpu_seconds(timings["ours"]).rates(rows),
            goal=goal,
            note="columns equal the generated ones to the bit",
        )
        for side, words, goal in denominators
    ]


def _reading(size: BackfillSize, folder: Path) -> list[Comparison]:
    bars = make_bars(size.minutes, seed=52)
    lake, key = Lake(folder / "one"), SeriesKey("binance", "spot", "S0USDT", "bars", "1m")
    lake.write(key, bars, Provenance("generated", synthetic=True))
    packed = _zipped(bars)
    (folder / "bars.zip").write_bytes(packed)
    read: dict[str, Callable[[], Columns]] = {
        "pandas": partial(_pandas_columns, folder / "bars.zip"),
        "arrow": partial(parse_month, packed, "bars", "spot"),
        "lake": lambda: dict(lake.read(key).columns),
    }
    for name, side in read.items():
        for column, values in side().items():
            require_same_bits(f"bars read by {name}, {column}", values, bars[column])
    timings = in_turns({name: partial(timed, side) for name, side in read.items()}, size.repeats)
    rates = {name: cpu_seconds(found).rates(size.minutes / 1e6) for name, found in timings.items()}
    names = (("pandas", "the same rows as zipped CSV, pandas", TIMES_ZIPPED_CSV),
             ("arrow", "the same, our archive reader (pyarrow's CSV, all threads)", None))  # fmt: skip
    return [
        Comparison(
            item=f"reading {size.minutes} bars",
            unit="M rows/s of processor time",
            denominator_name=words,
            denominator=rates[name],
            figure_name="Parquet from the lake, every row checked",
            figure=rates["lake"],
            goal=goal,
        )
        for name, words, goal in names
    ]


def _zipped(bars: Columns) -> bytes:
    """The bars in the form of a file of Binance's bulk archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bars.csv", "\n".join(",".join(map(str, row)) for row in binance_rows(bars)) + "\n")
    return content.getvalue()


def _pandas_columns(path: Path) -> Columns:
    frame = pd.read_csv(path, header=None, usecols=range(6))
    return dict(zip(("time_ms", "open", "high", "low", "close", "volume"), (frame[at].to_numpy() for at in range(6)),
                    strict=True))  # fmt: skip


def _memory(size: BackfillSize, folder: Path) -> list[Comparison]:
    lake, small = Lake(folder / "many"), Lake(folder / "few")
    _fill(lake, size.symbols, size.minutes)
    _fill(small, size.most, size.minutes)
    few, many = (_peak(lake, count, size.minutes) for count in (size.fewest, size.most))
    alone = _peak(small, size.most, size.minutes)
    per_symbol = (many - few) / (size.most - size.fewest)
    mib = 2.0**20
    year = f"{size.minutes} one-minute bars a symbol"
    return [
        Comparison(
            item=f"memory per symbol asked for, {size.symbols} in the lake, {year}",
            unit="MiB",
            denominator_name="its five columns as float64",
            denominator=Sample((size.minutes * BYTES_PER_ROW / mib,)),
            figure_name=f"peak of loading {size.most} less peak of {size.fewest}, per symbol",
            figure=Sample((per_symbol / mib,)),
            goal=MOST_OF_ARRAYS,
            direction=Direction.BELOW,
            note=f"all {size.symbols} would be {size.symbols / size.most:.3g} times the arrays of {size.most}: "
            "memory grows by symbol, and loading them all is the same loop",
        ),
        Comparison(
            item=f"memory of loading {size.most} symbols",
            unit="MiB",
            denominator_name=f"a lake of only those {size.most}",
            denominator=Sample((alone / mib,)),
            figure_name=f"a lake of {size.symbols}",
            figure=Sample((many / mib,)),
            goal=MOST_OF_SMALL_LAKE,
            direction=Direction.BELOW,
        ),
    ]


def _fill(lake: Lake, symbols: int, minutes: int) -> None:
    """One generated series under many names: links, so that the disk holds it once."""
    keys = [SeriesKey("binance", "spot", f"S{number}USDT", "bars", "1m") for number in range(symbols)]
    lake.write(keys[0], make_bars(minutes, seed=53), Provenance("generated", synthetic=True))
    for key in keys[1:]:
        lake.path(key).parent.mkdir(parents=True)
        os.link(lake.path(keys[0]), lake.path(key))


def _peak(lake: Lake, symbols: int, minutes: int) -> float:
    """Peak resident bytes of a process that loads that many symbols."""
    command = [sys.executable, "-m", "bench.backfill_load", str(lake.root), str(symbols)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(finished.stdout)
    require_same(f"bars loaded of {symbols} symbols", found["bars"], symbols * minutes)
    return float(found["peak_bytes"])

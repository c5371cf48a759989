"""Export to Lean's data folder against its plain form: the same texts encoded and deflated in series, in memory."""

from __future__ import annotations

import itertools
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bench.comparison import Comparison, Direction
from bench.equality import require_same
from bench.measure import Timing, cpu_seconds, in_turns, timed, wall_seconds
from crypto.units import DAY_MS, HOUR_MS, MINUTE_MS
from data.lean_folder.archives import packed
from data.lean_folder.export import ExportOptions, Outcome, export
from data.lean_folder.layout import Place
from data.lean_folder.lines import bar_rows, days_of, rate_rows, stamps_in, values_in
from data.store.lake import Lake
from data.store.rows import Columns, Origin
from data.store.series import Provenance, SeriesKey

LEAST_OF_PLAIN = 0.8
MOST_OF_FIRST_EXPORT = 0.05
START_MS = 1_577_836_800_000  # 2020-01-01
SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT")


@dataclass(frozen=True, slots=True)
class ExportSize:
    """Years of hourly bars per symbol (spot, perp, mark, funding), days of minute bars of the first spot, repeats."""

    years: float = 6.0
    minute_days: int = 60
    repeats: int = 7


def make_lake(root: Path, size: ExportSize, seed: int = 30) -> Lake:
    """A lake of random walks on ticks; marks and volumes have all the digits that a float has."""
    lake = Lake(root)
    rng = np.random.default_rng(seed)
    provenance = Provenance("bench", synthetic=True)
    hours = int(size.years * 365) * 24
    for symbol in SYMBOLS:
        for kind in ("spot", "linear"):
            lake.write(SeriesKey("binance", kind, symbol, "bars", "1h"), _bars(rng, hours, HOUR_MS), provenance)
        mark = _bars(rng, hours, HOUR_MS, decimals=8)
        mark.pop("volume")
        lake.write(SeriesKey("binance", "linear", symbol, "mark", "1h"), mark, provenance)
        rates = np.round(rng.normal(1e-4, 1e-4, hours // 8), 8)
        times = START_MS + np.arange(hours // 8, dtype=np.int64) * 8 * HOUR_MS
        columns: Columns = {"time_ms": times, "funding_rate": rates, "mark_price": mark["open"][::8][: len(times)]}
        lake.write(SeriesKey("binance", "linear", symbol, "funding"), columns, provenance)
    minutes = size.minute_days * DAY_MS // MINUTE_MS
    key = SeriesKey("binance", "spot", SYMBOLS[0], "bars", "1m")
    lake.write(key, _bars(rng, minutes, MINUTE_MS), provenance)
    return lake


def _bars(rng: np.random.Generator, count: int, bar_ms: int, decimals: int = 2) -> Columns:
    close = np.round(30_000 * np.exp(np.cumsum(rng.normal(0, 2e-3, count))), decimals)
    spread = np.round(np.abs(rng.normal(0, 20, (2, count))), decimals)
    low = np.round(np.maximum(close - spread[0], 0.01), decimals)
    return {
        "time_ms": START_MS + np.arange(count, dtype=np.int64) * bar_ms,
        "open": np.roll(close, 1),
        "high": np.round(close + spread[1], decimals),
        "low": low,
        "close": close,
        "volume": np.round(rng.lognormal(3, 1, count), 6),
    }


def plain_files(series: list[tuple[SeriesKey, Columns]]) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of every file, encoded and deflated in series; nothing is read, hashed, recorded or written."""
    for key, columns in series:
        market = "binancemark" if key.series == "mark" else "binance"
        kind = "crypto" if key.kind == "spot" else "cryptofuture"
        origin = Origin(str(key))
        if key.series == "funding":
            for owner, column in ((market, "funding_rate"), ("binancemark", "mark_price")):
                block = rate_rows(stamps_in(columns), values_in(columns, column), column, origin)
                yield Place(kind, owner, key.symbol).rate_path, block.bytes_of(0, block.rows)
            continue
        place = Place(kind, market, key.symbol, "minute" if key.timeframe == "1m" else "hour")
        block = bar_rows(columns, place.resolution, origin)
        days = days_of(stamps_in(columns)) if key.timeframe == "1m" else [("", 0, block.rows)]
        for day, first, last in days:
            yield place.bars_path(day), packed(place.entry_name(day), block.bytes_of(first, last))


def compare(size: ExportSize) -> list[Comparison]:
    """Check that the folder holds the plain form's files, then time a first export, a second one and the plain form."""
    with tempfile.TemporaryDirectory(prefix="carry-bench-") as folder:
        root = Path(folder)
        lake = make_lake(root / "lake", size)
        series = [(key, dict(lake.read(key).columns)) for key in lake.list()]
        checked = export(lake, root / "checked", ExportOptions())
        text_bytes = _check(root / "checked", checked, series)
        numbers = itertools.count()
        timings = in_turns(
            {
                "plain": partial(timed, lambda: sum(len(content) for _, content in plain_files(series))),
                "first": lambda: timed(partial(export, lake, root / f"new-{next(numbers)}", ExportOptions())),
                "second": partial(timed, partial(export, lake, root / "checked", ExportOptions())),
            },
            size.repeats,
        )
    return _comparisons(timings, text_bytes)


def _comparisons(timings: dict[str, tuple[Timing, ...]], text_bytes: int) -> list[Comparison]:
    plain, first, second = (wall_seconds(timings[name]) for name in ("plain", "first", "second"))
    megabytes = text_bytes / 1e6
    item = f"export to Lean's folder, {megabytes:.0f} MB of text"
    plain_core, first_core = (cpu_seconds(timings[name]).rates(megabytes) for name in ("plain", "first"))
    return [
        Comparison(
            item=item,
            unit="MB/s",
            denominator_name="encode and deflate in series, in memory",
            denominator=plain.rates(megabytes),
            figure_name="export of a new folder: read, check, encode, deflate, hash, sync, rename, manifest",
            figure=first.rates(megabytes),
            goal=LEAST_OF_PLAIN,
            note="the folder's files equal those of the plain form byte for byte",
        ),
        Comparison(
            item=f"{item}, per core",
            unit="MB/s",
            denominator_name="the same, per second of processor time",
            denominator=plain_core,
            figure_name="the same, per second of processor time",
            figure=first_core,
        ),
        Comparison(
            item="second export of an unchanged lake",
            unit="s",
            denominator_name="first export",
            denominator=first,
            figure_name="second export",
            figure=second,
            goal=MOST_OF_FIRST_EXPORT,
            direction=Direction.BELOW,
            note="it wrote no file",
        ),
    ]


def _check(root: Path, outcome: Outcome, series: list[tuple[SeriesKey, Columns]]) -> int:
    """Bytes of text in the folder, after comparing every file with the plain form's."""
    require_same("series left out", [item.name for item in outcome.skipped], [])
    total = files = 0
    for path, content in plain_files(series):
        require_same(f"bytes of {path}", (root / path).read_bytes() == content, True)
        total += _text_size(root / path)
        files += 1
    require_same("files written", sum(item.written for item in outcome.series), files)
    again = export(Lake(root.parent / "lake"), root, ExportOptions())
    require_same("files written by a second export", sum(item.written for item in again.series), 0)
    return total


def _text_size(path: Path) -> int:
    if path.suffix != ".zip":
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())

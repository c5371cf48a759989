"""Six years of three pairs: ingest, load and backtest against the time that backtrader takes for the bars alone."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from bench.comparison import Comparison, Direction
from bench.equality import require_same
from bench.market_files import write_freqtrade
from bench.markets import count_bars, legs, make_market, sum_close_ticks
from bench.measure import Sample, Timing, in_turns, wall_seconds
from bench.peers import process

# 2020 to 2025, of which two are leap years; the last hour is left out because it would end on a settlement.
HOURS = (6 * 365 + 2) * 24 - 1
MEMORY_LIMIT = 2**30
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class SixYearsSize:
    """Hours of the generated market, and how often each side is timed."""

    hours: int = HOURS
    repeats: int = 3


def compare(size: SixYearsSize, python: str) -> list[Comparison]:
    """Check that both sides see the same bars, then time whole processes in turns. ``python`` has backtrader."""
    process.require(python, "backtrader")
    market = make_market(size.hours, seed=30)
    bars, close_ticks = count_bars(market), sum_close_ticks(market)
    decimals = [leg.decimals for leg in legs()]
    with tempfile.TemporaryDirectory(prefix="carry-bench-") as text:
        folder = Path(text)
        files = write_freqtrade(market, folder / "freqtrade")
        del market
        lakes = (folder / f"lake-{number}" for number in count())
        check = process.backtrader(python, files, decimals, check=True)
        # The first run of ours compiles, into a cache that only this benchmark uses.
        first = _run_ours(folder, next(lakes))
        for name, answer in (("backtrader", check), ("our run", first)):
            require_same(f"bars seen by {name}", answer.values["bars"], bars)
            require_same(f"closes seen by {name}, ticks", answer.values["close_ticks"], close_ticks)
        answers: list[process.Answer] = []
        timings = in_turns(
            {
                "backtrader": partial(_time_backtrader, python, files, decimals),
                "ours": partial(_time_ours, folder, lakes, answers),
            },
            size.repeats,
        )
    for answer in answers:
        require_same("final equity of a repeated run", answer.values["final_equity"], first.values["final_equity"])
    return comparisons(timings, answers, str(check.values["version"]), bars, first.wall)


def comparisons(
    timings: dict[str, tuple[Timing, ...]],
    answers: list[process.Answer],
    version: str,
    bars: int,
    first_seconds: float,
) -> list[Comparison]:
    """Time and memory out of the timings ``backtrader`` and ``ours`` and the answers of our runs."""
    mebibyte = 2**20
    return [
        Comparison(
            item=f"{bars} bars from files to result, time",
            unit="s, whole process",
            denominator_name=f"backtrader {version}, import and empty strategy",
            denominator=wall_seconds(timings["backtrader"]),
            figure_name="ingest, load and backtest",
            figure=wall_seconds(timings["ours"]),
            goal=1.0,
            direction=Direction.BELOW,
            note=f"the first run, which compiles, took {first_seconds:.1f} s",
        ),
        Comparison(
            item=f"{bars} bars from files to result, memory",
            unit="MiB",
            denominator_name="limit",
            denominator=Sample((MEMORY_LIMIT / mebibyte,)),
            figure_name="peak resident memory",
            figure=Sample(tuple(answer.values["peak_bytes"] / mebibyte for answer in answers)),
            goal=1.0,
            direction=Direction.BELOW,
        ),
    ]


def _run_ours(folder: Path, lake: Path) -> process.Answer:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "machine-code"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bench.six_years_run", str(folder / "freqtrade"), str(lake)]
    return process.run_script(command, environment=environment)


def _time_ours(folder: Path, lakes: Iterator[Path], answers: list[process.Answer]) -> Timing:
    answer = _run_ours(folder, next(lakes))
    answers.append(answer)
    return Timing(answer.wall, answer.cpu)


def _time_backtrader(python: str, files: tuple[Path, ...], decimals: list[int]) -> Timing:
    answer = process.backtrader(python, files, decimals)
    return Timing(answer.wall, answer.cpu)

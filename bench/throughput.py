"""Bars per second and core: our whole pipeline, in Python and compiled, against nautilus_trader's empty callback."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import engine
from bench.comparison import Comparison
from bench.equality import require_same, require_same_result, require_traded
from bench.market_files import write_npz
from bench.markets import count_bars, make_market, sum_close_ticks
from bench.measure import Timing, cpu_seconds, in_turns, timed
from bench.peers import process

TIMES_NAUTILUS_PYTHON = 1.0
TIMES_NAUTILUS_COMPILED = 20.0


@dataclass(frozen=True, slots=True)
class ThroughputSize:
    """Hours of the generated market, and how often each side is timed."""

    hours: int = 2 * 365 * 24 - 1
    repeats: int = 5


def compare(size: ThroughputSize, python: str) -> list[Comparison]:
    """Check equality, then time all three in turns. ``python``: interpreter that has nautilus_trader."""
    process.require(python, "nautilus_trader")
    market = make_market(size.hours, seed=10)
    settings = engine.make_settings()
    with tempfile.TemporaryDirectory(prefix="carry-bench-") as folder:
        bars_file = Path(folder) / "bars.npz"
        write_npz(market, bars_file)
        check = process.nautilus(python, bars_file, check=True)
        require_same("bars seen by nautilus_trader", check.values["bars"], count_bars(market))
        require_same("closes seen by nautilus_trader, ticks", check.values["close_ticks"], sum_close_ticks(market))
        in_python = engine.run(settings, market, compiled=False)
        require_traded(in_python, market)
        require_same_result(in_python, engine.run(settings, market, compiled=True))
        del in_python
        timings = in_turns(
            {
                "nautilus": partial(_time_nautilus, python, bars_file),
                "python": partial(timed, partial(engine.run, settings, market, compiled=False)),
                "compiled": partial(timed, partial(engine.run, settings, market, compiled=True)),
            },
            size.repeats,
        )
    return comparisons(timings, count_bars(market), str(check.values["version"]))


def comparisons(timings: dict[str, tuple[Timing, ...]], bars: int, version: str) -> list[Comparison]:
    """The three ratios out of the timings ``nautilus``, ``python`` and ``compiled`` of that many bars."""
    rates = {name: cpu_seconds(found).rates(bars / 1e3) for name, found in timings.items()}
    nautilus_name = f"nautilus_trader {version}, empty on_bar"
    python_name, compiled_name = "whole pipeline, strategy in Python", "whole pipeline, compiled"
    unit = "k bars/s per core"
    return [
        Comparison(
            item=f"backtest of {bars} bars, Python",
            unit=unit,
            denominator_name=nautilus_name,
            denominator=rates["nautilus"],
            figure_name=python_name,
            figure=rates["python"],
            goal=TIMES_NAUTILUS_PYTHON,
        ),
        Comparison(
            item=f"backtest of {bars} bars, compiled",
            unit=unit,
            denominator_name=nautilus_name,
            denominator=rates["nautilus"],
            figure_name=compiled_name,
            figure=rates["compiled"],
            goal=TIMES_NAUTILUS_COMPILED,
        ),
        Comparison(
            item=f"backtest of {bars} bars, compiled",
            unit=unit,
            denominator_name=python_name,
            denominator=rates["python"],
            figure_name=compiled_name,
            figure=rates["compiled"],
            note="both forms gave the same ledger to the bit",
        ),
    ]


def _time_nautilus(python: str, bars_file: Path) -> Timing:
    values = process.nautilus(python, bars_file).values
    return Timing(wall=float(values["wall"]), cpu=float(values["cpu"]))

"""The backtest job: settings and a lake in, a result and its folder out."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from crypto.compiled import is_compiled
from crypto.errors import DataError
from crypto.market import MarketHistory
from crypto.result import BacktestResult
from crypto.settings import Settings
from crypto.simulator.fee_coin_tables import missing_bars
from crypto.simulator.loop import (
    Progress,
    Strategy,
    compile_loop,
    raise_for_gap,
    run_compiled,
    run_python,
    run_span,
)
from crypto.simulator.outcome import outcome
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from crypto.units import iso
from crypto.venues.discounts import fee_coins
from crypto.venues.registry import pair as find_pair
from data.grid import choose_series
from data.market import load_market
from data.oracle_history import with_oracle
from data.results import next_directory, write_results
from data.settings import config_hash, settings_as_mapping
from data.store.lake import Lake
from data.tiers import tiers_of
from research.report.page import render

BUNDLED_SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "lake"
DAY_MS = 86_400_000
VERSIONED = ("carry", "numpy", "numba", "pyarrow", "pandas")


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A result and the files that hold it."""

    result: BacktestResult
    directory: Path
    files: dict[str, Path]


def lake_of(settings: Settings) -> Path:
    """Folder of the lake that the settings name; the bundled synthetic sample when they name none."""
    return Path(settings.data.lake) if settings.data.lake else BUNDLED_SAMPLE


def load(settings: Settings) -> MarketHistory:
    """The market of a run from its lake.

    ``SettingsError`` names an unknown instrument, ``DataError`` what the lake does not hold. With ``oracle.enabled``
    the status of the composite price comes along.
    """
    pairs = [find_pair(item.spot, item.perp, settings.instruments) for item in settings.pairs]
    coins = fee_coins(settings)
    keys = [*(leg.key for pair in pairs for leg in (pair.spot, pair.perp)), *(coin.market for coin in coins)]
    spots = [pair.spot for pair in pairs] if settings.borrow.enabled else []
    lake = Lake(lake_of(settings))
    held = lake.list() if coins else []
    for coin in coins:
        if choose_series(held, coin.market, "bars", settings.run.timeframe) is None:
            raise missing_bars(coin)
    market = load_market(
        lake,
        keys,
        settings.run.timeframe,
        settings.run.start,
        settings.run.end,
        tolerance_ms=settings.data.settlement_tolerance_ms,
        borrow_assets=[(spot.venue, spot.base) for spot in spots],
    )
    _refuse_an_empty_stretch(market)
    return with_oracle(market, lake, settings)


def _refuse_an_empty_stretch(market: MarketHistory) -> None:
    """``DataError`` for over a day without any bar at either end: it would dilute every yearly figure of the run."""
    held = np.zeros(len(market.open_ms), dtype=bool)
    for history in market.instruments:
        held |= ~np.isnan(history.bars.close)
    seen = np.flatnonzero(held)
    first, last = (int(market.open_ms[seen[index]]) for index in (0, -1))
    begin, end = int(market.open_ms[0]), int(market.open_ms[-1])
    words = f"; bars are held from {iso(first)} to {iso(last + market.bar_ms)}"
    for key, gap, bound, limit in (
        ("run.start", first - begin, begin, first),
        ("run.end", end - last, end + market.bar_ms, last + market.bar_ms),
    ):
        if gap > DAY_MS:
            raise DataError(
                f"{key} {iso(bound)} is more than a day away from all data{words}",
                remedy=f"set it to {iso(limit)}, leave it out, or ingest more",
            )


def run_backtest(
    settings: Settings,
    market: MarketHistory,
    *,
    compiled: bool = True,
    strategy: Strategy | None = None,
    progress: Progress | None = None,
) -> BacktestResult:
    """Run the pipeline over a market. ``compiled``: the default strategy as one compiled loop.

    Otherwise, or when a ``strategy`` is given, stages are called in Python; with the default stages both forms give the
    same ledger to the bit. Raises ``DataError``, ``SettingsError`` or ``RefusedError`` for what can't be run.
    """
    setup = build(settings, market, tiers_of(settings))
    if compiled and strategy is None:
        world = run_compiled(setup.world, progress, setup.rearm_ms)
    else:
        world = run_python(setup.world, strategy or PythonPipeline(), progress, setup.rearm_ms)
    raise_for_gap(setup, world, market)
    provenance = {
        "config_hash": config_hash(settings),
        "data_hash": market.data_hash,
        "seed": settings.run.seed,
        "name": settings.run.name,
        "versions": dict(versions()),
        "synthetic": market.synthetic,
        "sources": dict(market.sources),
        "start": iso(int(market.open_ms[0])),
        "end": iso(int(market.open_ms[-1]) + market.bar_ms),
        "timeframe": settings.run.timeframe,
        "strategy": "compiled" if compiled and strategy is None else "python",
    }
    return outcome(setup, world, market, settings, provenance, settings_as_mapping(settings))


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "source tree"
    return found


def backtest(
    settings: Settings,
    *,
    compiled: bool = True,
    stage: Callable[[str, int | None], AbstractContextManager[Callable[..., None]]],
    announce: Callable[[str], None],
) -> FinishedRun:
    """Load, run, report and write.

    ``stage(name, total)`` wraps each part for a progress bar; ``announce`` tells news.
    """
    with stage("Loading the market", None):
        market = load(settings)
    if compiled and not is_compiled(run_span):
        announce("Compiling the simulator; this happens once for each version and takes about half a minute.")
        with stage("Compiling", None):
            compile_loop(build(settings, market, tiers_of(settings)).world)
    bars = int(market.open_ms.size)
    with stage("Running", bars) as advance:
        done = 0

        def report(now: int, _: int) -> None:
            nonlocal done
            advance(now - done)
            done = now

        result = run_backtest(settings, market, compiled=compiled, progress=report)
    directory = next_directory(Path(settings.output.directory), settings.run.name)
    with stage("Writing results", None):
        pages = {"report.html": render(result)} if settings.output.report else {}
        files = write_results(result, directory, pages=pages)
    return FinishedRun(result, directory, dict(files))

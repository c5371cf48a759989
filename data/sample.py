"""Writing a synthetic market to a lake: what `carry sample` does. The model is in docs/specs/sample.md."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crypto.errors import OutputError, RefusedError
from crypto.market import Bars, Integers
from crypto.scenario import Scenario
from crypto.synthetic import (
    OUTAGE_MINUTES,
    AssetMarket,
    asset_market,
    bar_opens,
    borrow_rates,
    borrow_times,
    borrowed_assets,
)
from crypto.synthetic_paths import Timeline, market_state
from crypto.units import DAY_MS, MINUTE_MS
from data.store.lake import Lake
from data.store.rows import Columns
from data.store.series import Provenance, SeriesInfo, SeriesKey

VENUE = "binance"
LABEL = "synthetic, carry sample"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WrittenSample:
    """What was written. Times in UTC milliseconds; ``end_ms`` and ``outage_end_ms`` are exclusive."""

    root: Path
    scenario: Scenario
    series: tuple[SeriesInfo, ...]
    start_ms: int
    end_ms: int
    crash_ms: int
    outage_start_ms: int
    outage_end_ms: int


def label(scenario: Scenario) -> str:
    """The source that every generated series names."""
    return f"{LABEL}, seed {scenario.seed}"


def step_count(scenario: Scenario) -> int:
    """How many times ``write_sample`` reports progress."""
    return len(scenario.assets) + 1


def write_sample(
    root: Path, scenario: Scenario, *, force: bool = False, progress: Progress | None = None
) -> WrittenSample:
    """Generate the market of ``scenario`` and write it to the lake at ``root``.

    Nothing is seen at ``root`` before the whole market is written. A folder that is not empty is refused
    (``RefusedError``); with ``force`` the series that an earlier `carry sample` left there are replaced and other files
    stay, but a folder that holds series from elsewhere is refused all the same. ``OutputError`` where ``root`` can't be
    written. ``progress`` is called with the name of each part when it is done.
    """
    report = progress or (lambda _: None)
    check_folder(root, force=force)
    with _staging(root) as staging:
        events = _write_series(Lake(staging), scenario, report)
        _publish(staging, root)
    lake = Lake(root)
    return WrittenSample(
        root=root,
        scenario=scenario,
        series=tuple(lake.info(key) for key in lake.list()),
        start_ms=scenario.start_ms,
        end_ms=scenario.start_ms + scenario.days * DAY_MS,
        crash_ms=scenario.start_ms + events.crash_minute * MINUTE_MS,
        outage_start_ms=scenario.start_ms + events.outage_minute * MINUTE_MS,
        outage_end_ms=scenario.start_ms + (events.outage_minute + OUTAGE_MINUTES) * MINUTE_MS,
    )


def check_folder(root: Path, *, force: bool) -> None:
    """Raise ``RefusedError`` or ``OutputError`` when no sample may be written to ``root``; see ``write_sample``."""
    if not root.exists():
        return
    if not root.is_dir():
        raise OutputError(f"output folder {root} is a file", remedy="name a folder")
    if not any(root.iterdir()):
        return
    if not force:
        raise RefusedError(
            f"output folder {root} is not empty",
            remedy="name a new folder, or pass --force to replace an earlier sample there",
        )
    lake = Lake(root)
    for key in lake.list():
        source = lake.info(key).provenance.source
        if not source.startswith(LABEL):
            raise RefusedError(
                f"output folder {root} holds {key} from {source!r}, which carry sample did not make",
                remedy="keep generated and recorded data in two lakes: name another folder",
            )


def asset_series(market: AssetMarket, open_ms: Integers, timeframe: str) -> Iterator[tuple[SeriesKey, Columns]]:
    """The lake series of one asset. Bars that the venue did not publish are rows that are not there."""
    spot, perp = market.parameters.spot.symbol, market.parameters.perp.symbol
    yield SeriesKey(VENUE, "spot", spot, "bars", timeframe), _bar_columns(market.spot, open_ms)
    yield SeriesKey(VENUE, "linear", perp, "bars", timeframe), _bar_columns(market.perp, open_ms)
    mark = _bar_columns(market.mark, open_ms)
    del mark["volume"]
    yield SeriesKey(VENUE, "linear", perp, "mark", timeframe), mark
    funding: Columns = {"time_ms": market.settlement_stamp_ms, "funding_rate": market.funding_rate}
    yield SeriesKey(VENUE, "linear", perp, "funding"), funding


def _bar_columns(bars: Bars, open_ms: Integers) -> Columns:
    held = ~np.isnan(bars.close)
    values = {"open": bars.open, "high": bars.high, "low": bars.low, "close": bars.close, "volume": bars.volume}
    return {"time_ms": open_ms[held], **{name: column[held] for name, column in values.items()}}


def _write_series(lake: Lake, scenario: Scenario, progress: Progress) -> Timeline:
    provenance = Provenance(label(scenario), synthetic=True)
    state = market_state(scenario)
    open_ms = bar_opens(scenario)
    for parameters in scenario.assets:
        market = asset_market(scenario, state, parameters)
        for key, columns in asset_series(market, open_ms, scenario.timeframe):
            lake.write(key, columns, provenance)
        progress(parameters.base)
    for asset in borrowed_assets(scenario):
        rates: Columns = {"time_ms": borrow_times(scenario), "hourly_rate": borrow_rates(scenario, asset)}
        lake.write(SeriesKey(VENUE, "asset", asset, "borrow"), rates, provenance)
    progress("borrow rates")
    return state.timeline


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A path beside ``root``, so on the same disk, that is gone afterwards."""
    with _writing(root):
        parent = root.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}.", suffix=".part", dir=parent) as folder:
            yield Path(folder) / "lake"


def _publish(staging: Path, root: Path) -> None:
    """Move what was written to ``root``: in one step where nothing is there, else file by file."""
    if not root.exists():
        staging.replace(root)
        return
    staged, lake = Lake(staging), Lake(root)
    fresh = staged.list()
    for key in fresh:
        lake.path(key).parent.mkdir(parents=True, exist_ok=True)
        staged.path(key).replace(lake.path(key))
    for key in lake.list():
        if key not in fresh:
            lake.path(key).unlink()


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Say which folder could not be written: the paths in the errors below it are those of the staging folder."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(root, error.strerror or str(error)) from error
    except OutputError as error:
        cause = error.__cause__
        detail = cause.strerror if isinstance(cause, OSError) and cause.strerror else error.message
        raise _cannot_write(root, detail) from error


def _cannot_write(root: Path, detail: str) -> OutputError:
    return OutputError(
        f"cannot write the output folder {root}: {detail}",
        remedy="name a folder that you may write, on a disk with space",
    )

"""``carry fetch``: history, filters and tiers from venues into the lake."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import JsonFlag, note, progress
from cli.fetch_view import emit_file, emit_series
from cli.options import flattened
from cli.output import writable_folder
from crypto.errors import OutputError, UsageError
from crypto.units import DAY_MS, parse_iso
from data.store.lake import Lake

if TYPE_CHECKING:
    from data.credentials import Credentials
    from data.sources.client import ClientOptions

Venue = Annotated[str, typer.Option("--venue", help="binance, bybit, okx, hyperliquid or dydx.")]
Symbols = Annotated[list[str] | None, typer.Option("--symbol", help="Symbol such as BTCUSDT; repeatable.")]
Assets = Annotated[list[str] | None, typer.Option("--symbol", help="Asset such as USDT; repeatable.")]
All = Annotated[bool, typer.Option("--all", help="Every perpetual (or spot pair) of the kind that trades now.")]
From = Annotated[str, typer.Option("--from", help="First day or instant, ISO, UTC.")]
To = Annotated[str, typer.Option("--to", help="End, excluded; else up to now.")]
Kind = Annotated[str, typer.Option("--kind", help="spot (bars and markets only), linear or inverse.")]
Perpetual = Annotated[str, typer.Option("--kind", help="linear or inverse.")]
Timeframe = Annotated[str, typer.Option("--timeframe", help="Length of the bars, for example 1m or 1h.")]
SourceOption = Annotated[
    str,
    typer.Option(
        "--source",
        help="auto: whole past months from the bulk archive where there is one, else REST; archive: also contracts "
        "that are not listed any more; rest: REST alone.",
    ),
]
Replace = Annotated[bool, typer.Option("--replace", help="Let fetched rows win over held ones that contradict them.")]
AtOnce = Annotated[int, typer.Option("--at-once", min=1, help="Symbols that are fetched at the same time.")]
BaseUrl = Annotated[str, typer.Option("--base-url", help="Scheme and host instead of the venue's own, for a proxy.")]
Keys = Annotated[
    Path | None, typer.Option("--credentials", help="TOML file with keys; only you may have rights to it.")
]
LakeOption = Annotated[Path, typer.Option("--lake", callback=writable_folder, help="Folder of the lake.")]

DEFAULT_LAKE = Path("data/lake")
EXIT_PARTIAL = 4
_PRICES = {
    "bars": """Fetch traded bars.

    Binance's past months come from its bulk archive, checksums verified, the rest from REST. Bars that are not over are
    left out. Exit code 4 when a symbol stayed partial: what was fetched is kept, and the same command goes on.

    Example: carry fetch bars --venue binance --symbol BTCUSDT --kind spot --from 2020-01-01 --timeframe 1h
    """,
    "mark": """Fetch bars of the mark price: binance, bybit, okx.

    Runs pay a settlement whose row has no mark price (Binance's archive) on the open of the mark bar of that instant.

    Example: carry fetch mark --venue bybit --symbol BTCUSDT --symbol ETHUSDT --from 2023-01-01
    """,
    "index": """Fetch bars of the index price: binance, bybit, okx.

    Example: carry fetch index --venue binance --symbol BTCUSDT --from 2024-01-01
    """,
}


@dataclass(frozen=True, slots=True)
class History:
    """Which history is fetched, and how."""

    venue: Venue
    start: From
    symbol: Symbols = None
    every: All = False
    to: To = ""
    source: SourceOption = "auto"
    replace: Replace = False
    at_once: AtOnce = 8


@dataclass(frozen=True, slots=True)
class Where:
    """Where it comes from and goes to."""

    base_url: BaseUrl = ""
    lake: LakeOption = DEFAULT_LAKE
    json: JsonFlag = False


def register(app: typer.Typer) -> None:
    """Add ``carry fetch`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Fetch history, filters and tiers from venues into the lake. A stopped fetch goes on where it was."
        "\n\nExample: carry fetch funding --venue binance --symbol BTCUSDT --from 2020-01-01",
    )
    for series, words in _PRICES.items():
        group.command(series)(flattened(_fetch_prices(series, words)))
    for command in (fetch_funding, fetch_borrow, fetch_markets, fetch_tiers):
        group.command(command.__name__.removeprefix("fetch_"))(flattened(command))
    app.add_typer(group, name="fetch")


def _fetch_prices(series: str, words: str) -> Callable[..., None]:
    """The command of a series of bars: bars, mark and index take the same flags."""

    def command(history: History, where: Where, kind: Kind = "linear", timeframe: Timeframe = "1h") -> None:
        _series(_Asked(history, series, kind, timeframe), where)

    command.__doc__ = words
    return command


def fetch_funding(history: History, where: Where, kind: Perpetual = "linear") -> None:
    """Fetch realised funding rates, with the mark price of the settlement where the venue tells it.

    Binance's past months come from its bulk archive, checksums verified, the rest from REST. The archive tells no mark
    price: runs then pay on the open of the mark bar at the settlement (carry fetch mark). --source rest has the venue's
    own price of each settlement, adds it to rows that lack it, and takes half an hour for all of Binance's contracts.

    Example: carry fetch funding --venue binance --symbol BTCUSDT --from 2020-01-01

    Example: carry fetch funding --venue binance --symbol BTCUSDT --from 2020-01-01 --source rest
    """
    _series(_Asked(history, "funding", kind, ""), where)


def fetch_borrow(
    venue: Venue,
    start: From,
    symbol: Assets = None,
    to: To = "",
    replace: Replace = False,
    at_once: AtOnce = 8,
    credentials: Keys = None,
    *,
    where: Where,
) -> None:
    """Fetch borrow rates of assets as rates per hour: binance, bybit. Needs a key; a read-only one is enough.

    The key comes from CARRY_BINANCE_KEY and CARRY_BINANCE_SECRET (CARRY_BYBIT_...), or from a file of yours.

    Example: carry fetch borrow --venue binance --symbol USDT --symbol BTC --from 2024-01-01
    """
    history = History(venue, start, symbol, to=to, source="rest", replace=replace, at_once=at_once)
    _series(_Asked(history, "borrow", "asset", ""), where, credentials)


def fetch_markets(
    venue: Venue,
    symbol: Symbols = None,
    kind: Kind = "linear",
    *,
    where: Where,
) -> None:
    """Fetch filters (tick, lot, smallest order) into a file for carry backtest --instruments: binance, bybit.

    Example: carry fetch markets --venue binance --kind linear
    """
    from data.sources import filters

    options = _client_options(where.base_url)
    outcome = filters.fetch_markets(venue, kind, symbol or (), Lake(where.lake), options, on_wait=note)
    emit_file(outcome, "instruments", where.json)
    _end(is_partial=outcome.is_partial)


def fetch_tiers(
    venue: Venue,
    symbol: Symbols = None,
    kind: Perpetual = "linear",
    credentials: Keys = None,
    *,
    where: Where,
) -> None:
    """Fetch today's leverage tiers into a file for --tiers: bybit, and binance with a key (a read-only one).

    Example: carry fetch tiers --venue bybit --symbol BTCUSDT
    """
    from data.sources import tier_file

    keys = _credentials(venue, credentials)
    options = _client_options(where.base_url)
    outcome = tier_file.fetch_tiers(venue, kind, symbol or (), Lake(where.lake), options, keys, on_wait=note)
    emit_file(outcome, "contracts", where.json)
    _end(is_partial=outcome.is_partial)


class _Asked:
    """The flags that every series has."""

    def __init__(self, history: History, series: str, kind: str, timeframe: str) -> None:
        self.venue, self.series, self.kind, self.timeframe = history.venue, series, kind, timeframe
        self.symbols, self.every = tuple(history.symbol or ()), history.every
        self.source, self.replace, self.at_once = history.source, history.replace, history.at_once
        self.lo_ms = _instant("--from", history.start)
        self.hi_ms = _instant("--to", history.to) if history.to else None
        if self.every == bool(self.symbols):
            raise UsageError("give either --symbol or --all", remedy="for example --symbol BTCUSDT --symbol ETHUSDT")


def _series(asked: _Asked, where: Where, credentials: Path | None = None) -> None:
    from data.sources import job
    from data.sources.series import SeriesOptions, Source

    if asked.source not in list(Source):
        raise UsageError(f"--source {asked.source} is unknown", remedy=f"use one of {', '.join(Source)}")
    request = job.FetchRequest(
        venue=asked.venue,
        series=asked.series,
        kind=asked.kind,
        symbols=asked.symbols,
        lo_ms=asked.lo_ms,
        hi_ms=asked.hi_ms,
        timeframe=asked.timeframe,
        options=SeriesOptions(Source(asked.source), asked.replace),
        symbols_at_once=asked.at_once,
        every_symbol=asked.every,
    )
    keys = _credentials(asked.venue, credentials) if asked.series == "borrow" else None
    with ExitStack() as stack:
        advance: list[Callable[..., None]] = []

        def start(total_ms: int) -> None:
            advance.append(stack.enter_context(progress(f"Fetching {asked.series}, days", total_ms / DAY_MS)))

        outcome = job.fetch(
            request,
            Lake(where.lake),
            client_options=_client_options(where.base_url),
            credentials=keys,
            on_start=start,
            on_progress=lambda ms: advance[0](ms / DAY_MS),
            on_wait=note,
        )
    emit_series(outcome, where.lake, where.json)
    if any(isinstance(entry.error, OutputError) for entry in outcome.series):
        raise typer.Exit(OutputError.exit_code)
    _end(is_partial=outcome.status != "complete")


def _end(*, is_partial: bool) -> None:
    if is_partial:
        raise typer.Exit(EXIT_PARTIAL)


def _credentials(venue: str, path: Path | None) -> Credentials | None:
    from data.credentials import find_credentials

    return find_credentials(venue, os.environ, path)


def _client_options(base_url: str) -> ClientOptions:
    from data.sources.client import ClientOptions

    if base_url and not re.match(r"https?://[^/\s]+", base_url):
        raise UsageError(f"--base-url {base_url} is no address", remedy="for example http://127.0.0.1:8080")
    return ClientOptions(base=base_url)


def _instant(flag: str, text: str) -> int:
    try:
        return parse_iso(text)
    except UsageError as error:
        raise UsageError(f"{flag}: {error.message}", remedy=error.remedy) from error

"""``carry fetch``: history, filters and tiers from venues into the lake."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.console import JsonFlag, emit, note, out, progress
from cli.output import writable_folder
from crypto.errors import OutputError, UsageError
from crypto.units import DAY_MS, iso, parse_iso
from data.store.lake import Lake

if TYPE_CHECKING:
    from data.credentials import Credentials
    from data.sources.client import ClientOptions
    from data.sources.filters import MarketsOutcome
    from data.sources.job import FetchOutcome, SeriesOutcome
    from data.sources.tier_file import TiersOutcome

Venue = Annotated[str, typer.Option("--venue", help="binance, bybit, okx, hyperliquid or dydx.")]
Symbols = Annotated[list[str] | None, typer.Option("--symbol", help="Symbol such as BTCUSDT; repeatable.")]
Assets = Annotated[list[str] | None, typer.Option("--symbol", help="Asset such as USDT; repeatable.")]
All = Annotated[bool, typer.Option("--all", help="Every perpetual (or spot pair) of the kind that trades now.")]
From = Annotated[str, typer.Option("--from", help="First day or instant, ISO, UTC.")]
To = Annotated[str, typer.Option("--to", help="End, excluded; else up to now.")]
Kind = Annotated[str, typer.Option("--kind", help="spot, linear or inverse.")]
Perpetual = Annotated[str, typer.Option("--kind", help="linear or inverse.")]
Timeframe = Annotated[str, typer.Option("--timeframe", help="Length of the bars, for example 1m or 1h.")]
SourceOption = Annotated[str, typer.Option("--source", help="auto, archive (bulk files first) or rest.")]
Replace = Annotated[bool, typer.Option("--replace", help="Let fetched rows win over held ones that contradict them.")]
AtOnce = Annotated[int, typer.Option("--at-once", min=1, help="Symbols that are fetched at the same time.")]
BaseUrl = Annotated[str, typer.Option("--base-url", help="Scheme and host instead of the venue's own, for a proxy.")]
Keys = Annotated[
    Path | None, typer.Option("--credentials", help="TOML file with keys; only you may have rights to it.")
]
LakeOption = Annotated[Path, typer.Option("--lake", callback=writable_folder, help="Folder of the lake.")]

DEFAULT_LAKE = Path("data/lake")
EXIT_PARTIAL = 4
_GAPS_SHOWN = 8
_LEFT_OUT_SHOWN = 5
_COLOURS = {"complete": "green", "partial": "yellow", "failed": "bold red"}


def register(app: typer.Typer) -> None:
    """Add ``carry fetch`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Fetch history, filters and tiers from venues into the lake. A stopped fetch goes on where it was."
        "\n\nExample: carry fetch funding --venue binance --symbol BTCUSDT --from 2020-01-01",
    )
    for command in (fetch_bars, fetch_mark, fetch_index, fetch_funding, fetch_borrow, fetch_markets, fetch_tiers):
        group.command(command.__name__.removeprefix("fetch_"))(command)
    app.add_typer(group, name="fetch")


def fetch_bars(
    venue: Venue,
    start: From,
    symbol: Symbols = None,
    every: All = False,
    to: To = "",
    kind: Kind = "linear",
    timeframe: Timeframe = "1h",
    source: SourceOption = "auto",
    replace: Replace = False,
    at_once: AtOnce = 8,
    base_url: BaseUrl = "",
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonFlag = False,
) -> None:
    """Fetch traded bars.

    Binance's months come from its bulk archive, checksums verified, the rest from REST. Bars that are not over are left
    out. Exit code 4 when a symbol stayed partial: what was fetched is kept, and the same command goes on.

    Example: carry fetch bars --venue binance --symbol BTCUSDT --kind spot --from 2020-01-01 --timeframe 1h
    """
    asked = _Asked(venue, "bars", kind, symbol, every, start, to, timeframe, source, replace, at_once)
    _series(asked, base_url, None, lake, json)


def fetch_mark(
    venue: Venue,
    start: From,
    symbol: Symbols = None,
    every: All = False,
    to: To = "",
    kind: Perpetual = "linear",
    timeframe: Timeframe = "1h",
    source: SourceOption = "auto",
    replace: Replace = False,
    at_once: AtOnce = 8,
    base_url: BaseUrl = "",
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonFlag = False,
) -> None:
    """Fetch bars of the mark price: binance, bybit, okx.

    Example: carry fetch mark --venue bybit --symbol BTCUSDT --symbol ETHUSDT --from 2023-01-01
    """
    asked = _Asked(venue, "mark", kind, symbol, every, start, to, timeframe, source, replace, at_once)
    _series(asked, base_url, None, lake, json)


def fetch_index(
    venue: Venue,
    start: From,
    symbol: Symbols = None,
    every: All = False,
    to: To = "",
    kind: Perpetual = "linear",
    timeframe: Timeframe = "1h",
    source: SourceOption = "auto",
    replace: Replace = False,
    at_once: AtOnce = 8,
    base_url: BaseUrl = "",
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonFlag = False,
) -> None:
    """Fetch bars of the index price: binance, bybit, okx.

    Example: carry fetch index --venue binance --symbol BTCUSDT --from 2024-01-01
    """
    asked = _Asked(venue, "index", kind, symbol, every, start, to, timeframe, source, replace, at_once)
    _series(asked, base_url, None, lake, json)


def fetch_funding(
    venue: Venue,
    start: From,
    symbol: Symbols = None,
    every: All = False,
    to: To = "",
    kind: Perpetual = "linear",
    source: SourceOption = "auto",
    replace: Replace = False,
    at_once: AtOnce = 8,
    base_url: BaseUrl = "",
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonFlag = False,
) -> None:
    """Fetch realised funding rates, with the mark price of the settlement where the venue tells it.

    Binance's archive lacks that price, which funding is paid on: it is used with --source archive only, which costs no
    calls and has contracts that ended. REST takes about half an hour for all of Binance's contracts.

    Example: carry fetch funding --venue binance --symbol BTCUSDT --from 2020-01-01
    """
    asked = _Asked(venue, "funding", kind, symbol, every, start, to, "", source, replace, at_once)
    _series(asked, base_url, None, lake, json)


def fetch_borrow(
    venue: Venue,
    start: From,
    symbol: Assets = None,
    to: To = "",
    replace: Replace = False,
    at_once: AtOnce = 8,
    base_url: BaseUrl = "",
    credentials: Keys = None,
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonFlag = False,
) -> None:
    """Fetch borrow rates of assets as rates per hour: binance, bybit. Needs a key; a read-only one is enough.

    The key comes from CARRY_BINANCE_KEY and CARRY_BINANCE_SECRET (CARRY_BYBIT_...), or from a file of yours.

    Example: carry fetch borrow --venue binance --symbol USDT --symbol BTC --from 2024-01-01
    """
    asked = _Asked(venue, "borrow", "asset", symbol, False, start, to, "", "rest", replace, at_once)
    _series(asked, base_url, credentials, lake, json)


def fetch_markets(
    venue: Venue,
    symbol: Symbols = None,
    kind: Kind = "linear",
    base_url: BaseUrl = "",
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonFlag = False,
) -> None:
    """Fetch filters (tick, lot, smallest order) into a file for carry backtest --instruments: binance, bybit.

    Example: carry fetch markets --venue binance --kind linear
    """
    from data.sources import filters

    outcome = filters.fetch_markets(venue, kind, symbol or (), Lake(lake), _client_options(base_url))
    _emit_file(outcome, "instruments", json)


def fetch_tiers(
    venue: Venue,
    symbol: Symbols = None,
    kind: Perpetual = "linear",
    base_url: BaseUrl = "",
    credentials: Keys = None,
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonFlag = False,
) -> None:
    """Fetch today's leverage tiers into a file for --tiers: bybit, and binance with a key (a read-only one).

    Example: carry fetch tiers --venue bybit --symbol BTCUSDT
    """
    from data.sources import tier_file

    keys = _credentials(venue, credentials)
    outcome = tier_file.fetch_tiers(venue, kind, symbol or (), Lake(lake), _client_options(base_url), keys)
    _emit_file(outcome, "contracts", json)


class _Asked:
    """The flags that every series has."""

    def __init__(
        self,
        venue: str,
        series: str,
        kind: str,
        symbols: Sequence[str] | None,
        every: bool,
        start: str,
        to: str,
        timeframe: str,
        source: str,
        replace: bool,
        at_once: int,
    ) -> None:
        self.venue, self.series, self.kind, self.timeframe = venue, series, kind, timeframe
        self.symbols, self.every = tuple(symbols or ()), every
        self.source, self.replace, self.at_once = source, replace, at_once
        self.lo_ms = _instant("--from", start)
        self.hi_ms = _instant("--to", to) if to else None
        if every == bool(self.symbols):
            raise UsageError("give either --symbol or --all", remedy="for example --symbol BTCUSDT --symbol ETHUSDT")


def _series(asked: _Asked, base_url: str, credentials: Path | None, lake: Path, json: bool) -> None:
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
            Lake(lake),
            client_options=_client_options(base_url),
            credentials=keys,
            on_start=start,
            on_progress=lambda ms: advance[0](ms / DAY_MS),
        )
    for words in outcome.notes:
        note(f"note: {words}")
    emit(_plain(outcome, lake), json, lambda: out.print(_view(outcome, lake)))
    if any(isinstance(entry.error, OutputError) for entry in outcome.series):
        raise typer.Exit(OutputError.exit_code)
    if any(entry.status != "complete" for entry in outcome.series):
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


def _plain(outcome: FetchOutcome, lake: Path) -> dict[str, Any]:
    statuses = {entry.status for entry in outcome.series}
    return {
        "lake": str(lake),
        "status": "complete" if statuses <= {"complete"} else "failed" if statuses == {"failed"} else "partial",
        "calls": outcome.calls,
        "waited_seconds": outcome.waited_s,
        "notes": list(outcome.notes),
        "series": [_plain_series(entry) for entry in outcome.series],
    }


def _plain_series(entry: SeriesOutcome) -> dict[str, Any]:
    return {
        "series": str(entry.key),
        "status": entry.status,
        "from": iso(entry.lo_ms),
        "to": iso(entry.hi_ms),
        "expected": entry.proof.expected,
        "rows": entry.proof.got,
        "added": entry.tally.added,
        "replaced": entry.tally.replaced,
        "calls": entry.tally.calls,
        "archive_files": entry.tally.archive_files,
        "gaps": [
            {"from": iso(gap.lo_ms), "to": iso(gap.hi_ms), "rows": gap.rows, "reason": gap.reason.value}
            for gap in entry.proof.gaps
        ],
        "error": None if entry.error is None else {"message": entry.error.message, "remedy": entry.error.remedy},
    }


def _view(outcome: FetchOutcome, lake: Path) -> Group:
    added = sum(entry.tally.added for entry in outcome.series)
    keys = [entry.key for entry in outcome.series]
    # One request is of one venue, kind, series and timeframe: said once, so that the rows fit 80 columns.
    what = f"{keys[0].venue} {keys[0].kind} {keys[0].series} {keys[0].timeframe}".rstrip() if keys else "no symbol"
    title = Text(f"{what}: {added:,} rows added to {lake}", style="bold")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("symbol", overflow="fold")
    for heading in ("expected", "held", "missing", "added", "calls", "files"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for entry in outcome.series:
        missing = sum(gap.rows for gap in entry.proof.gaps)
        expected = "" if entry.proof.expected is None else f"{entry.proof.expected:,}"
        counts = (expected, f"{entry.proof.got:,}", f"{missing:,}", f"{entry.tally.added:,}", f"{entry.tally.calls:,}")
        status = Text(entry.status.upper() if entry.status != "complete" else "complete", _COLOURS[entry.status])
        table.add_row(entry.key.symbol, *counts, f"{entry.tally.archive_files:,}", status)
    return Group(title, table, *(line for entry in outcome.series for line in _explained(entry)))


def _explained(entry: SeriesOutcome) -> list[Text]:
    """A line per gap with its reason, and the error that ended the fetch."""
    lines = []
    if entry.proof.gaps or entry.error:
        lines.append(Text(str(entry.key), style="bold"))
    for gap in entry.proof.gaps[:_GAPS_SHOWN]:
        rows = f"{gap.rows:,} missing, " if gap.rows else ""
        lines.append(Text(f"  {rows}{iso(gap.lo_ms)} .. {iso(gap.hi_ms)}: {gap.reason.value}", style="dim"))
    if len(entry.proof.gaps) > _GAPS_SHOWN:
        lines.append(Text(f"  and {len(entry.proof.gaps) - _GAPS_SHOWN} more gaps: --json lists them", style="dim"))
    if entry.error is not None:
        lines.append(Text(f"  {entry.error.message}", style="red"))
        lines.append(Text(f"  what to do: {entry.error.remedy}"))
    return lines


def _emit_file(outcome: MarketsOutcome | TiersOutcome, noun: str, json: bool) -> None:
    for words in outcome.notes:
        note(f"note: {words}")
    payload = {
        "file": str(outcome.path),
        noun: list(outcome.written),
        "left_out": outcome.left_out,
        "notes": list(outcome.notes),
    }

    def view() -> None:
        out.print(f"{len(outcome.written):,} {noun}: {outcome.path}", soft_wrap=True)
        for symbol, reason in list(outcome.left_out.items())[:_LEFT_OUT_SHOWN]:
            out.print(Text(f"  left out {symbol}: {reason}", style="dim"))
        if len(outcome.left_out) > _LEFT_OUT_SHOWN:
            out.print(Text(f"  and {len(outcome.left_out) - _LEFT_OUT_SHOWN} more: --json lists them", style="dim"))

    emit(payload, json, view)

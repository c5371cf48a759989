"""``carry feed``: holds the sockets, records what they bring, serves snapshots; replays and exports recordings."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from cli import console
from cli.console import JsonFlag, emit
from cli.feed_view import (
    export_payload,
    export_view,
    logging_to_stderr,
    replay_payload,
    replay_view,
    show,
    summary,
)
from cli.output import writable_folder
from crypto.errors import DataError, UsageError

if TYPE_CHECKING:
    from data.feed.book_sync import BookReader
    from data.feed.feed import Feed, FeedOptions, FeedPlan
    from data.feed.readback import FundingReader

SOCKET_NAME = "feed.sock"
ROWS_NAME = "rows"
BOOK_LEVELS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class AddressForm:
    """A flag that takes venue=address, and the schemes of such addresses."""

    flag: str
    schemes: tuple[str, str]

    @property
    def remedy(self) -> str:
        """An example of what it takes."""
        return f"for example binance={self.schemes[0]}localhost:9000"


WEB_SOCKET = AddressForm("--url", ("ws://", "wss://"))
HTTP = AddressForm("--rest-url", ("http://", "https://"))

Venues = Annotated[list[str] | None, typer.Option("--venue", help="Venue to listen to; may be given again.")]
Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbol", help="BTCUSDT, for all kinds and venues asked for, or venue:kind:SYMBOL. Repeatable."),
]
Kinds = Annotated[list[str] | None, typer.Option("--kind", help="linear, inverse or spot. Default: linear and spot.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the recording.")]
Duration = Annotated[float | None, typer.Option("--duration", min=0.0, help="Stop after so many seconds.")]
Rows = Annotated[
    Path | None, typer.Option("--rows", help="Folder for the rows that Lean polls. Default: rows in the recording's.")
]
RowSeconds = Annotated[
    float, typer.Option(min=0.7, help="Least time between two rows: 0.7 for Lean's tick resolution, 2.5 for second.")
]
Socket = Annotated[
    Path | None, typer.Option("--socket", help="Unix socket for snapshots. Default: feed.sock in the recording's.")
]
Urls = Annotated[
    list[str] | None,
    typer.Option("--url", help="venue=ws://host:port, dialled in place of the venue (proxy, test server)."),
]
Settled = Annotated[
    bool, typer.Option("--settled/--no-settled", help="Ask the venue for each settled rate after its settlement.")
]
Book = Annotated[
    int | None,
    typer.Option(
        "--book", metavar="DEPTH", min=1, max=50, help="Keep whole books (Binance, Bybit), serve so many levels."
    ),
]
RestUrls = Annotated[
    list[str] | None,
    typer.Option("--rest-url", help="venue=http://host:port, asked in place of the venue (proxy, test server)."),
]
BansLake = Annotated[
    Path, typer.Option("--lake", help="Lake whose noted bans (of carry fetch) hold for settled rates and books, too.")
]
Seed = Annotated[int, typer.Option(help="Seed of the random part of waits between connection attempts.")]
Recording = Annotated[Path, typer.Argument(help="Folder of a recording, or one of its segments.")]
LakeOption = Annotated[Path, typer.Option("--lake", callback=writable_folder, help="Folder of the lake.")]


def register(app: typer.Typer) -> None:
    """Add ``carry feed`` to the command line."""
    group = typer.Typer(
        invoke_without_command=True,
        help="Live market data: held, recorded, served.\n\n"
        "Example: carry feed --venue binance --venue bybit --symbol BTCUSDT --out live/feed",
    )
    group.callback()(feed)
    group.command("replay")(replay)
    group.command("export")(export)
    app.add_typer(group, name="feed")


def feed(
    context: typer.Context,
    venue: Venues = None,
    symbol: Symbols = None,
    kind: Kinds = None,
    out: Out = Path("live/feed"),
    duration: Duration = None,
    rows: Rows = None,
    row_seconds: RowSeconds = 1.0,
    socket: Socket = None,
    url: Urls = None,
    rest_url: RestUrls = None,
    settled: Settled = True,
    book: Book = None,
    lake: BansLake = Path("data/lake"),
    seed: Seed = 1,
    json: JsonFlag = False,
) -> None:
    """Hold the sockets until Ctrl-C, record every frame, write rows for Lean and serve snapshots.

    Example: carry feed --venue binance --venue bybit --symbol BTCUSDT --out live/feed
    """
    if context.invoked_subcommand is not None:
        return
    from data.feed.choice import check_asked, make_plans
    from data.feed.feed import FeedOptions

    plans = make_plans(
        venue or ["binance", "bybit"], symbol or [], kind or ["linear", "spot"], _pairs(url or [], WEB_SOCKET),
        with_books=book is not None,
    )  # fmt: skip
    rest_bases = _pairs(rest_url or [], HTTP)
    check_asked(HTTP.flag, rest_bases, {plan.protocol.venue for plan in plans})
    options = FeedOptions(
        out, rows or out / ROWS_NAME, row_seconds, socket or out / SOCKET_NAME, seed=seed, proxy=not url,
        book_levels=book or 0,
    )  # fmt: skip
    with logging_to_stderr():
        status, stopped_by = asyncio.run(_run(plans, options, duration, rest_bases, lake, settled=settled))
    interrupted = stopped_by == signal.SIGINT
    if not status["frames"] and not interrupted:
        raise _nothing_came(status)
    emit(status | {"interrupted": interrupted}, json, lambda: console.out.print(summary(status)))
    if interrupted:
        raise typer.Exit(console.EXIT_INTERRUPTED)


def replay(recording: Recording, json: JsonFlag = False) -> None:
    """Run a recording again and show the state that it ends with, as the live feed had it, bit for bit.

    Example: carry feed replay live/feed
    """
    from data.feed import replay as replaying
    from data.feed.choice import adapters
    from data.feed.options import FeedTimes
    from data.feed.reading import RecordingReader
    from data.feed.view import Board

    reader = RecordingReader(recording)
    with console.progress("Replaying segments", len(reader.paths)) as advance:
        replayed = replaying.replay(reader, adapters(), on_segment=lambda: advance(1))
    board = Board(replayed.engine, FeedTimes(), book_levels=BOOK_LEVELS_SHOWN if len(replayed.engine.books) else 0)
    payload = replay_payload(replayed, board.snapshot(None, replayed.last_ns))
    emit(payload, json, lambda: console.out.print(replay_view(payload)))


def export(recording: Recording, lake: LakeOption = Path("data/lake"), json: JsonFlag = False) -> None:
    """Add one-minute marks and indexes and the settled funding of a recording to the lake.

    Only minutes of which nothing was missed become bars. Doing it again changes nothing.

    Example: carry feed export live/feed --lake data/lake
    """
    from data.feed import export as exporting
    from data.feed.choice import adapters
    from data.feed.reading import RecordingReader
    from data.store.lake import Lake

    reader = RecordingReader(recording)
    with console.progress("Reading segments", len(reader.paths)) as advance:
        exported = exporting.export(reader, adapters(), Lake(lake), on_segment=lambda: advance(1))
    payload = export_payload(exported, lake)
    emit(payload, json, lambda: console.out.print(export_view(payload)))


def _pairs(texts: list[str], form: AddressForm) -> dict[str, str]:
    """``venue=ws://host:port`` as a mapping."""
    found = {}
    for text in texts:
        venue, mark, address = text.partition("=")
        if not (venue and mark and address.startswith(form.schemes)):
            raise UsageError(f"{form.flag} {text!r} is not venue={form.schemes[0]}host:port", remedy=form.remedy)
        _check_address(venue, address, form)
        found[venue] = address.rstrip("/")
    return found


def _check_address(venue: str, address: str, form: AddressForm) -> None:
    """``UsageError`` for what can't be dialled, and for a password, which would be in the recording."""
    try:
        parts = urlsplit(address)
        has_password, host, port = "@" in parts.netloc, (parts.hostname or "").encode("idna"), parts.port
    except ValueError as error:  # UnicodeError is one
        raise UsageError(f"{form.flag} {venue}={address} is no address: {error}", remedy=form.remedy) from error
    if has_password:
        raise UsageError(
            f"{form.flag} {venue}=... holds a name or password", remedy="the recording would hold it: leave it out"
        )
    if not host or port == 0 or parts.query or parts.fragment:
        raise UsageError(f"{form.flag} {venue}={address} is no scheme, host and port", remedy=form.remedy)


def _nothing_came(status: Mapping[str, Any]) -> DataError:
    words = [
        f"{route['venue']} {route['route']}: {route['reconnect_reason'] or 'connected, but silent'}"
        for route in status["routes"]
    ]
    return DataError(
        f"nothing was received from any venue: {'; '.join(words)}",
        remedy="check the network, the proxy settings and the symbols; the recording holds what was tried",
    )


async def _run(
    plans: list[FeedPlan],
    options: FeedOptions,
    duration: float | None,
    rest_bases: Mapping[str, str],
    lake: Path,
    *,
    settled: bool,
) -> tuple[dict[str, Any], int]:
    """Run a feed until it is told to stop; its last status, and the signal that ended it (0: none)."""
    from data.feed.feed import Feed

    async with AsyncExitStack() as stack:
        reader, book_reader = await _readers(stack, rest_bases, lake, settled=settled, books=options.book_levels > 0)
        feed = Feed(plans, options, reader, book_reader=book_reader)
        received: list[int] = []
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stopped, number, received, feed)
        if duration is not None:
            loop.call_later(duration, feed.stop)
        showing = asyncio.create_task(show(feed))
        try:
            await feed.run()
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
        return feed.status() | {"state": feed.engine.fingerprint()}, received[0] if received else 0


async def _readers(
    stack: AsyncExitStack, rest_bases: Mapping[str, str], lake: Path, *, settled: bool, books: bool
) -> tuple[FundingReader | None, BookReader | None]:
    """What is asked for over REST. ccxt, which that needs, is imported only then."""
    if not (settled or books):
        return None, None
    from data.feed.book_reader import RestBookReader
    from data.feed.funding_reader import RestFundingReader
    from data.feed.rest import RestClients
    from data.store.lake import Lake

    clients = await stack.enter_async_context(RestClients(rest_bases, Lake(lake)))
    return RestFundingReader(clients) if settled else None, RestBookReader(clients) if books else None


def _stopped(number: int, received: list[int], feed: Feed) -> None:
    received.append(number)
    feed.stop()

"""``carry ingest``: market data that you have, into the lake."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.console import JsonFlag, emit, note, out, progress
from cli.options import DEFAULT_LAKE, LakeOption, flattened
from cli.output import writable_folder
from crypto.errors import UsageError
from crypto.units import iso
from crypto.venues.liquidation_rules import RULES
from data.store import delimited, freqtrade, funding_table
from data.store.lake import Lake, SeriesKey
from data.store.pieces import Ingested, IngestOptions, Piece, ingest_piece, instrument_symbol


def _noted_venue(venue: str) -> str:
    """The venue as given: any name is taken, but one that looks like a slip of the pen is pointed out."""
    close = [] if venue in RULES else get_close_matches(venue, list(RULES), n=1, cutoff=0.75)
    if close:
        note(f"--venue {venue} is taken as a venue of its own; if {close[0]} was meant, delete {venue} from the lake")
    return venue


Venue = Annotated[
    str,
    typer.Option("--venue", help="Venue that the data come from, for example binance or bybit.", callback=_noted_venue),
]
KindOption = Annotated[str, typer.Option("--kind", help="spot, linear or inverse; asset for borrow rates.")]
Symbol = Annotated[str, typer.Option("--symbol", help="Symbol such as BTCUSDT; the asset for borrow rates.")]
SeriesOption = Annotated[str, typer.Option("--series", help="bars, mark, index, funding or borrow.")]
Timeframe = Annotated[str, typer.Option("--timeframe", help="Length of the bars, for example 5m or 1h.")]
OnlySymbols = Annotated[str, typer.Option("--symbols", help="Only these, separated by commas.")]
TimeColumn = Annotated[str, typer.Option("--time-column", help="Column with the bar open or settlement.")]

_SERIES_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Bars:
    """What is done to bars on the way."""

    resample: Annotated[
        str, typer.Option("--resample", help="Make bars of this length out of shorter ones (complete only).")
    ] = ""
    drop_last: Annotated[
        bool, typer.Option("--drop-last", help="Leave out the last bar of each file: it may be unfinished.")
    ] = False


@dataclass(frozen=True, slots=True)
class Target:
    """Where rows go and under which label."""

    replace: Annotated[
        bool, typer.Option("--replace", help="Let new rows win over held ones that contradict them.")
    ] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False
    source: Annotated[str, typer.Option("--source", help="Label of where the data come from, kept in the lake.")] = ""
    lake: LakeOption = DEFAULT_LAKE
    json: JsonFlag = False


@dataclass(frozen=True, slots=True)
class Fields:
    """How a delimited text file is read."""

    time_unit: Annotated[str, typer.Option("--time-unit", help="s, ms, us or iso (UTC).")] = "ms"
    columns: Annotated[
        str, typer.Option("--columns", help="Names in the file where they differ: open=o,high=h or symbol=coin.")
    ] = ""
    where: Annotated[str, typer.Option("--where", help="Only rows with these values: symbol=BTCUSDT.")] = ""
    repair: Annotated[str, typer.Option("--repair", help="sort, dedupe (exact repeats) or both: sort,dedupe.")] = ""
    delimiter: Annotated[str, typer.Option("--delimiter", help="Character between the fields.")] = ","

    def layout(self, time_column: str, names: str = "") -> delimited.Layout:
        """The layout of the file that these options describe."""
        return delimited.Layout(
            time_column=time_column,
            time_unit=self.time_unit,
            columns=delimited.parse_assignments("columns", self.columns),
            names=tuple(_list(names)),
            where=delimited.parse_assignments("where", self.where),
            repair=tuple(_list(self.repair)),
            delimiter=self.delimiter,
        )


def register(app: typer.Typer) -> None:
    """Add ``carry ingest`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Bring market data that you have into the lake.\n\n"
        "Example: carry ingest freqtrade user_data/data/binance --venue binance",
    )
    group.command("freqtrade")(flattened(ingest_freqtrade))
    group.command("csv")(flattened(ingest_csv))
    group.command("lean")(flattened(ingest_lean))
    group.command("funding-table")(flattened(ingest_funding_table))
    app.add_typer(group, name="ingest")


def ingest_freqtrade(
    *,
    venue: Venue,
    folder: Annotated[Path | None, typer.Argument(help="freqtrade's data folder of one venue.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="One feather file of any name, instead of a folder.")
    ] = None,
    kind: KindOption = "",
    symbol: Symbol = "",
    series: SeriesOption = "bars",
    timeframe: Timeframe = "",
    symbols: OnlySymbols = "",
    timeframes: Annotated[str, typer.Option("--timeframes", help="Only these, separated by commas.")] = "",
    bars: Bars,
    target: Target,
) -> None:
    """Read freqtrade's feather files: spot and perp bars, mark and index prices, funding rates.

    Files are told apart by name (BTC_USDT-1h.feather is spot, BTC_USDT_USDT-1h-futures.feather a linear perp) and may
    overlap with what is held; rows that contradict held ones are refused. For a file with another name use --file.

    Example: carry ingest freqtrade user_data/data/binance --venue binance --symbols BTCUSDT,ETHUSDT

    Example: carry ingest freqtrade --file btc.feather --venue bybit --kind spot --symbol BTCUSDT --timeframe 1h
    """
    options = _options(bars, target)
    skipped: list[freqtrade.Skipped] = []
    if file is not None and folder is None:
        key = SeriesKey(venue, kind, instrument_symbol(symbol), series, timeframe)
        files, label = [freqtrade.single_file(file, key)], target.source or f"freqtrade {file.name}"
    elif folder is not None and file is None:
        found, skipped = freqtrade.find_files(folder, venue)
        files = freqtrade.select(found, _list(symbols), _list(timeframes))
        label = target.source or f"freqtrade {folder.resolve().name}"
    else:
        raise UsageError("name either a folder or --file", remedy="see carry ingest freqtrade --help")
    outcomes = _ingest_all(Lake(target.lake), freqtrade.read_files(files, label), len(files), options)
    _report(outcomes, skipped, options, target)


def ingest_csv(
    *,
    path: Annotated[Path, typer.Argument(help="CSV file, may be gzipped (.gz).")],
    venue: Venue,
    kind: KindOption,
    symbol: Symbol,
    series: SeriesOption = "bars",
    timeframe: Timeframe = "",
    time_column: TimeColumn = "time",
    names: Annotated[str, typer.Option("--names", help="Column names of a file without header.")] = "",
    fields: Fields,
    bars: Bars,
    target: Target,
) -> None:
    """Read a delimited text file. A bad row is refused with its number; nothing is dropped or mended unless asked.

    Bars need open, high, low, close, volume; mark and index the same without volume; funding needs funding_rate (and
    takes mark_price); borrow needs hourly_rate, or daily_rate, which is divided by 24.

    Example: carry ingest csv btc.csv --venue binance --kind spot --symbol BTCUSDT --timeframe 1h --time-column ts
    --time-unit s --columns open=o,high=h,low=l,close=c,volume=v
    """
    options = _options(bars, target)
    name = symbol if kind == "asset" else instrument_symbol(symbol)
    key = SeriesKey(venue, kind, name, series, timeframe)
    layout = fields.layout(time_column, names)
    piece = delimited.read_file(path, key, layout, target.source or f"csv {path.name}")
    _report(_ingest_all(Lake(target.lake), [piece], 1, options), [], options, target)


def ingest_lean(
    *,
    folder: Annotated[Path, typer.Argument(help="Lean's data folder: it has crypto/ and cryptofuture/ in it.")],
    venue: Annotated[str, typer.Option("--venue", help="Only this venue; all in the folder without it.")] = "",
    symbols: OnlySymbols = "",
    timeframes: Annotated[str, typer.Option("--timeframes", help="Only 1m, 1h or 1d, separated by commas.")] = "",
    bars: Bars,
    target: Target,
) -> None:
    """Read a data folder of QuantConnect Lean: trade bars of spot and perpetuals, funding, and what we store beside.

    A folder that carry lean export wrote comes back to the last digit. Quote bars, ticks and seconds are left alone.

    Example: carry ingest lean data/lean --venue binance --symbols BTCUSDT
    """
    from data.lean_folder import read_back

    options = _options(bars, target)
    found = read_back.find_series(folder, venue)
    chosen = read_back.select(found, _list(symbols), _list(timeframes))
    outcomes = _ingest_all(Lake(target.lake), read_back.read_series(found, chosen, target.source), len(chosen), options)
    _report(outcomes, list(found.skipped), options, target)


def ingest_funding_table(
    *,
    path: Annotated[Path, typer.Argument(help="Long table: CSV (may be gzipped) or Parquet.")],
    venue: Venue,
    kind: Annotated[str, typer.Option("--kind", help="linear or inverse.")] = "linear",
    symbols: OnlySymbols = "",
    suffix: Annotated[str, typer.Option("--suffix", help="Put behind each symbol: USDT where the file says BTC.")] = "",
    time_column: TimeColumn = "timestamp",
    fields: Fields,
    target: Target,
) -> None:
    """Read funding of many symbols out of one long table, a row per settlement and symbol.

    Columns timestamp, symbol, funding_rate and, if known, mark_price. Each symbol becomes a series of the lake.

    Example: carry ingest funding-table funding_all_symbols.csv.gz --venue binance
    """
    layout = funding_table.TableLayout(
        fields.layout(time_column), suffix, tuple(instrument_symbol(name) for name in _list(symbols))
    )
    options = _options(Bars(), target)
    pieces = funding_table.read_table(path, venue, kind, layout, target.source or f"funding table {path.name}")
    _report(_ingest_all(Lake(target.lake), pieces, len(pieces), options), [], options, target)


def _options(bars: Bars, target: Target) -> IngestOptions:
    """How to ingest, when the lake can be written or need not be."""
    if not target.dry_run:
        writable_folder(target.lake)
    now_ms = time.time_ns() // 1_000_000
    return IngestOptions(bars.resample, bars.drop_last, target.replace, target.dry_run, now_ms=now_ms)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _ingest_all(lake: Lake, pieces: Iterable[Piece], total: int, options: IngestOptions) -> list[Ingested]:
    outcomes = []
    with progress("Ingesting files", total) as advance:
        for piece in pieces:
            outcomes.append(ingest_piece(lake, piece, options))
            advance(1)
    return outcomes


def _report(outcomes: list[Ingested], skipped: list[freqtrade.Skipped], options: IngestOptions, target: Target) -> None:
    content = {
        "lake": str(target.lake),
        "dry_run": options.dry_run,
        "files": [_plain(outcome) for outcome in outcomes],
        "skipped": [{"file": file.name, "reason": file.reason} for file in skipped],
    }
    emit(content, target.json, lambda: out.print(_view(outcomes, skipped, options, target.lake)))


def _plain(outcome: Ingested) -> dict[str, Any]:
    merge = outcome.merge
    return {
        "file": outcome.file,
        "series": str(merge.key),
        "read": outcome.rows,
        "added": merge.added,
        "identical": merge.identical,
        "replaced": merge.replaced,
        "held": merge.rows,
        "first": iso(merge.first_ms),
        "last": iso(merge.last_ms),
        "notes": list(outcome.notes),
    }


def _view(outcomes: list[Ingested], skipped: list[freqtrade.Skipped], options: IngestOptions, lake: Path) -> Group:
    added = sum(outcome.merge.added for outcome in outcomes)
    verb = "would be added (dry run, nothing written)" if options.dry_run else "added"
    parts: list[Table | Text] = [Text(f"{added:,} rows {verb}: {lake}", style="bold"), _table(outcomes[:_SERIES_SHOWN])]
    if len(outcomes) > _SERIES_SHOWN:
        parts.append(
            Text(f"and {len(outcomes) - _SERIES_SHOWN:,} more series (carry data list shows all)", style="dim")
        )
    parts += [Text(f"{file.name}: skipped, {file.reason}", style="yellow") for file in skipped]
    return Group(*parts)


def _table(outcomes: list[Ingested]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("series", overflow="fold")
    for heading in ("added", "same", "held"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("to", no_wrap=True)
    for outcome in outcomes:
        merge = outcome.merge
        replaced = (f"{merge.replaced:,} held rows replaced",) if merge.replaced else ()
        name = Text("\n").join(
            [Text(str(merge.key)), *(Text(f"  {note}", style="dim") for note in (*outcome.notes, *replaced))]
        )
        counts = (f"{merge.added:,}", f"{merge.identical:,}", f"{merge.rows:,}")
        table.add_row(name, *counts, iso(merge.first_ms)[:10], iso(merge.last_ms)[:10])
    return table

"""``carry funding``: research on the funding rates that the lake holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import funding_view
from cli.console import JsonFlag, emit, note, out, progress
from cli.options import DEFAULT_LAKE, LakeOption, Symbols, Venues, flattened
from cli.output import writable_file, writable_folder
from crypto.errors import UsageError

if TYPE_CHECKING:  # pandas and the study are imported when a command runs, so that other commands start fast
    import pandas as pd

    from research.funding.carry import Costs
    from research.funding.history import FundingHistories

_ROWS = 40

WindowHours = Annotated[int, typer.Option("--window-hours", help="Common clock of both venues.", min=1)]


def _table_file(value: Path | None) -> Path | None:
    """The file that ``--out`` names, when a table can be written to it."""
    if value is not None:
        from data.tables import check_ending

        check_ending(value)
    return writable_file(value)


@dataclass(frozen=True, slots=True)
class Rates:
    """Which rates are read, and how far off its full hour a settlement may be stamped."""

    lake: LakeOption = DEFAULT_LAKE
    symbol: Symbols = None
    venue: Venues = None
    start: Annotated[str, typer.Option("--from", help="First settlement, ISO, UTC.")] = ""
    end: Annotated[str, typer.Option("--to", help="End (excluded), ISO, UTC.")] = ""
    tolerance_ms: Annotated[int, typer.Option("--tolerance-ms", help="How far a stamp may be off its full hour.")] = (
        60_000
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """Where a table goes."""

    out_file: Annotated[
        Path | None, typer.Option("--out", callback=_table_file, help="Write the whole table here: .csv or .parquet.")
    ] = None
    rows: Annotated[int, typer.Option("--rows", help="Rows shown; files and --json hold all.", min=1)] = _ROWS
    json: JsonFlag = False


@dataclass(frozen=True, slots=True)
class Position:
    """How long a position is meant to be held and what it costs."""

    holding_days: Annotated[
        float, typer.Option("--holding-days", help="How long a position is meant to be held.", min=0.05)
    ] = 30.0
    slippage_bps: Annotated[
        float, typer.Option("--slippage-bps", help="Slippage per fill, four fills in all.", min=0.0)
    ] = 0.5
    fee_tier: Annotated[str, typer.Option("--fee-tier", help="Fee tier of the venues.")] = "VIP0"
    cost_bps: Annotated[
        float | None,
        typer.Option("--cost-bps", help="Whole round trip in bps, in place of fees and slippage.", min=0.0),
    ] = None


@dataclass(frozen=True, slots=True)
class Recent:
    """What of the past tells a contract's rate."""

    lookback_days: Annotated[
        float, typer.Option("--lookback-days", help="Days before the end that are looked at.", min=1.0)
    ] = 30.0
    half_life_hours: Annotated[
        float, typer.Option("--half-life-hours", help="Half-life of the strategy's forecast.", min=0.1)
    ] = 72.0


def register(app: typer.Typer) -> None:
    """Add ``carry funding`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Research on funding rates: each contract on the settlement spacing that its own rows tell.\n\n"
        "Example: carry funding screen --lookback-days 30",
    )
    for name, table, text in _PLAIN:
        group.command(name)(flattened(_plain_command(name, table, text)))
    for command in (seasonality, persistence, spread, forecast, screen, pairs, report):
        group.command(command.__name__)(flattened(command))
    group.command("carry")(flattened(net_carry))
    app.add_typer(group, name="funding")


_PLAIN = (
    ("rates", "rates", "Every settlement with its own interval and annual rate."),
    ("summary", "summary", "Distribution of each contract's rates, weighted by the hours that each rate covers."),
    ("years", "by_year", "Sum of all settlements of each year, per cent of notional."),
    ("signs", "sign_flips", "How often the sign flips and how long it lasts."),
    ("caps", "caps", "Settlements at what looks like the venue's limit."),
)


def _plain_command(name: str, table: str, text: str) -> Callable[..., None]:
    """A command that shows one table and needs no flags of its own."""

    def command(rates: Rates, shown: Shown) -> None:
        from research.scripts import funding

        histories = _load(rates)
        _show(name, getattr(funding, table)(histories), histories, shown)

    command.__name__ = f"funding_{name}"
    command.__doc__ = f"{text}\n\nExample: carry funding {name} --symbol BTCUSDT"
    return command


def seasonality(
    *,
    by: Annotated[str, typer.Option("--by", help="hour (UTC hour of settlement) or weekday.")] = "hour",
    rates: Rates,
    shown: Shown,
) -> None:
    """Mean rate by hour of settlement or by weekday, with 95 % intervals that allow for serial correlation.

    Example: carry funding seasonality --symbol BTCUSDT --by weekday
    """
    from research.scripts import funding

    tables = {"hour": funding.by_hour, "weekday": funding.by_weekday}
    if by not in tables:
        raise UsageError(f"--by {by} is unknown", remedy="use hour or weekday")
    histories = _load(rates)
    _show(f"seasonality by {by}", tables[by](histories), histories, shown)


def persistence(
    *,
    lags: Annotated[str, typer.Option("--lags", help="Autocorrelation at these lags in hours instead: 8,24,168.")] = "",
    rates: Rates,
    shown: Shown,
) -> None:
    """Autoregression and half-life per settlement interval, or with --lags the autocorrelation.

    Example: carry funding persistence --symbol BTCUSDT --lags 8,24,168
    """
    from research.scripts import funding

    histories = _load(rates)
    if lags:
        table = funding.autocorrelations(histories, [int(hours) for hours in _numbers("--lags", lags)])
    else:
        table = funding.persistence(histories)
    _show("persistence", table, histories, shown)


def spread(
    *,
    window_hours: WindowHours = 8,
    rates: Rates,
    shown: Shown,
) -> None:
    """Funding of one venue less that of another on the same asset, on a common clock, and their correlation.

    Example: carry funding spread --symbol BTCUSDT --window-hours 24
    """
    from research.scripts import funding

    histories = _load(rates)
    table = funding.spreads(histories, window_hours)
    if table.empty:
        note("no base asset has funding on two venues at once: ingest another venue, or widen --symbol")
    _show("spread", table, histories, shown)


def forecast(
    *,
    half_lives: Annotated[
        str, typer.Option("--half-lives", help="Half-lives in hours of the strategy's forecast to compare.")
    ] = "24,72,168",
    horizons: Annotated[
        str, typer.Option("--horizons", help="Hours ahead, besides the next settlement.")
    ] = "24,168,720",
    predicted: Annotated[
        Path | None,
        typer.Option("--predicted", help="Predicted rates: the rows folder of carry feed, or a table (see docs)."),
    ] = None,
    rates: Rates,
    shown: Shown,
) -> None:
    """Errors of the strategy's forecast, the last rate and others; with --predicted those of the venue's prediction.

    Example: carry funding forecast --symbol BTCUSDT --half-lives 24,72

    Example: carry funding forecast --symbol BTCUSDT --venue binance --predicted recording/rows
    """
    from research.scripts import funding

    histories = _load(rates)
    if predicted is not None:
        if len(histories.contracts) != 1:
            names = ", ".join(contract.name for contract in histories.contracts[:6])
            raise UsageError(
                f"--predicted is of one contract, but there are {names}", remedy="use --symbol and --venue"
            )
        contract = histories.contracts[0]
        table = funding.prediction_errors(contract, funding.read_predictions(predicted, contract.key))
    else:
        ahead = [int(hours) for hours in _numbers("--horizons", horizons)]
        table = funding.forecast_errors(histories, _numbers("--half-lives", half_lives), ahead)
    _show("forecast", table, histories, shown)


def net_carry(position: Position, rates: Rates, shown: Shown) -> None:
    """Net carry of long spot and short perp after costs, break-even time, and what past holds would have left.

    Example: carry funding carry --symbol BTCUSDT --holding-days 90
    """
    from research.scripts import funding

    costs = _costs(position)
    histories = _load(rates)
    _show("carry", funding.net_carry(histories, costs), histories, shown)


def screen(recent: Recent, position: Position, rates: Rates, shown: Shown) -> None:
    """Every contract by net carry over the days before the end, and what the list leaves out (survivorship).

    Example: carry funding screen --lookback-days 14 --rows 20 --out screen.csv
    """
    from research.scripts import funding

    costs = _costs(position)
    histories = _load(rates)
    table = _screened(histories, recent, costs)
    word = funding.survivorship(histories, table)
    _show("screen", table, histories, shown, {"survivorship": word})


def pairs(
    *,
    least_net: Annotated[float, typer.Option("--least-net", help="Least net carry, per cent a year.")] = 0.0,
    most: Annotated[int, typer.Option("--most", help="At most so many pairs.", min=1)] = 10,
    recent: Recent,
    position: Position,
    rates: Rates,
    shown: Shown,
) -> None:
    """The screen as pairs to trade, in the form of a settings file, and why the other contracts are left out.

    Example: carry funding pairs --most 5 --least-net 2
    """
    from research.scripts import funding

    costs = _costs(position)
    histories = _load(rates)
    screened = _screened(histories, recent, costs)
    table = funding.tradable_pairs(screened, least_net_percent_a_year=least_net, most=most)
    words = {
        "survivorship": funding.survivorship(histories, screened),
        "settings": funding.settings_text(table) or "# no pair is tradable",
    }
    _show("pairs", table, histories, shown, words)


def report(
    *,
    folder: Annotated[
        Path | None, typer.Option("--out", help="New folder for the page and the tables [results/funding-NNNN].")
    ] = None,
    recent: Recent,
    window_hours: WindowHours = 8,
    position: Position,
    rates: Rates,
    json: JsonFlag = False,
) -> None:
    """Write every table (CSV and Parquet) and an HTML page with pictures into a new folder.

    Example: carry funding report --out results/funding-2026
    """
    from data.results import next_directory
    from research.funding.report import STEPS, study, write

    to = folder or next_directory(Path("results"), "funding")
    if to.exists():
        raise UsageError(f"--out {to} exists already", remedy="name a new folder, or leave --out out")
    writable_folder(to)
    costs = _costs(position)
    histories = _load(rates)
    with progress("Studying", STEPS) as advance:
        made = study(
            histories,
            costs,
            lookback_days=recent.lookback_days,
            half_life_hours=recent.half_life_hours,
            window_hours=window_hours,
            on_step=lambda: advance(1),
        )
        files = write(made, to)
        advance(1)
    payload = _head(histories) | {
        "folder": str(to),
        "files": sorted(files),
        "survivorship": made.survivorship,
    }
    emit(payload, json, lambda: out.print(funding_view.report_view(made, to)))


def _load(rates: Rates) -> FundingHistories:
    from data.quality import choose
    from data.store.lake import Lake
    from research.scripts import funding

    held = [key for key in choose(Lake(rates.lake).list(), rates.symbol or ()) if key.series == "funding"]
    with progress("Reading funding", len(held)) as advance:
        return funding.load(
            rates.lake,
            rates.symbol or (),
            venues=rates.venue or (),
            start=rates.start,
            end=rates.end,
            tolerance_ms=rates.tolerance_ms,
            on_contract=lambda _, __: advance(1),
        )


def _costs(position: Position) -> Costs:
    from research.scripts import funding

    return funding.Costs(24.0 * position.holding_days, position.slippage_bps, position.fee_tier, position.cost_bps)


def _screened(histories: FundingHistories, recent: Recent, costs: Costs) -> pd.DataFrame:
    from research.scripts import funding

    return funding.screen(histories, costs, lookback_days=recent.lookback_days, half_life_hours=recent.half_life_hours)


def _numbers(flag: str, text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{flag} {text!r} is not a list of numbers", remedy=f"for example {flag} 24,72") from error
    if not all(0 < value < float("inf") for value in found):
        raise UsageError(f"{flag} {text!r} has a number that is not positive", remedy=f"for example {flag} 24,72")
    return found


def _head(histories: FundingHistories) -> dict[str, Any]:
    return {
        "contracts": len(histories.contracts),
        "synthetic": histories.synthetic,
        "skipped": [{"series": name, "reason": reason} for name, reason in histories.skipped],
    }


def _show(
    title: str, table: pd.DataFrame, histories: FundingHistories, shown: Shown, words: dict[str, str] | None = None
) -> None:
    """Write the table if asked, then print it: whole as JSON, its first rows for people."""
    path = shown.out_file
    if path is not None:
        from data.tables import write_table

        write_table(path, table)
    payload = _head(histories) | (words or {}) | {"rows": funding_view.records(table)}
    if path is not None:
        payload["file"] = str(path)

    def show() -> None:
        out.print(funding_view.table_view(title, table, histories, shown.rows, words or {}, path))

    emit(payload, shown.json, show)

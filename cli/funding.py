"""``carry funding``: research on the funding rates that the lake holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import funding_view
from cli.console import JsonFlag, emit, note, out, progress
from crypto.errors import UsageError

if TYPE_CHECKING:  # pandas and the study are imported when a command runs, so that other commands start fast
    import pandas as pd

    from research.funding.carry import Costs
    from research.funding.history import FundingHistories

DEFAULT_LAKE = Path("data/lake")
_ROWS = 40

LakeOption = Annotated[Path, typer.Option("--lake", help="Folder of the lake.")]
Symbols = Annotated[
    list[str] | None, typer.Option("--symbol", help="Only this symbol or venue:kind:SYMBOL; repeatable.")
]
Venues = Annotated[list[str] | None, typer.Option("--venue", help="Only this venue; repeatable.")]
Start = Annotated[str, typer.Option("--from", help="First settlement, ISO, UTC.")]
End = Annotated[str, typer.Option("--to", help="End (excluded), ISO, UTC.")]
Tolerance = Annotated[int, typer.Option("--tolerance-ms", help="How far a stamp may be off its full hour.")]
OutFile = Annotated[Path | None, typer.Option("--out", help="Write the whole table here: .csv or .parquet.")]
Rows = Annotated[int, typer.Option("--rows", help="Rows shown; files and --json hold all.", min=1)]
Holding = Annotated[float, typer.Option("--holding-days", help="How long a position is meant to be held.", min=0.05)]
Slippage = Annotated[float, typer.Option("--slippage-bps", help="Slippage per fill, four fills in all.", min=0.0)]
Tier = Annotated[str, typer.Option("--fee-tier", help="Fee tier of the venues.")]
CostBps = Annotated[
    float | None, typer.Option("--cost-bps", help="Whole round trip in bps, in place of fees and slippage.", min=0.0)
]
Lookback = Annotated[float, typer.Option("--lookback-days", help="Days before the end that are looked at.", min=1.0)]
HalfLife = Annotated[float, typer.Option("--half-life-hours", help="Half-life of the strategy's forecast.", min=0.1)]


def register(app: typer.Typer) -> None:
    """Add ``carry funding`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Research on funding rates: each contract on the settlement spacing that its own rows tell.\n\n"
        "Example: carry funding screen --lookback-days 30",
    )
    for name, table, text in _PLAIN:
        group.command(name)(_plain_command(name, table, text))
    group.command("seasonality")(seasonality)
    group.command("persistence")(persistence)
    group.command("spread")(spread)
    group.command("forecast")(forecast)
    group.command("carry")(net_carry)
    group.command("screen")(screen)
    group.command("pairs")(pairs)
    group.command("report")(report)
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

    def command(
        lake: LakeOption = DEFAULT_LAKE,
        symbol: Symbols = None,
        venue: Venues = None,
        start: Start = "",
        end: End = "",
        tolerance_ms: Tolerance = 60_000,
        out_file: OutFile = None,
        rows: Rows = _ROWS,
        json: JsonFlag = False,
    ) -> None:
        from research.scripts import funding

        histories = _load(lake, symbol, venue, start, end, tolerance_ms)
        _show(name, getattr(funding, table)(histories), histories, out_file, rows, json)

    command.__name__ = f"funding_{name}"
    command.__doc__ = f"{text}\n\nExample: carry funding {name} --symbol BTCUSDT"
    return command


def seasonality(
    by: Annotated[str, typer.Option("--by", help="hour (UTC hour of settlement) or weekday.")] = "hour",
    lake: LakeOption = DEFAULT_LAKE,
    symbol: Symbols = None,
    venue: Venues = None,
    start: Start = "",
    end: End = "",
    tolerance_ms: Tolerance = 60_000,
    out_file: OutFile = None,
    rows: Rows = _ROWS,
    json: JsonFlag = False,
) -> None:
    """Mean rate by hour of settlement or by weekday, with 95 % intervals that allow for serial correlation.

    Example: carry funding seasonality --symbol BTCUSDT --by weekday
    """
    from research.scripts import funding

    tables = {"hour": funding.by_hour, "weekday": funding.by_weekday}
    if by not in tables:
        raise UsageError(f"--by {by} is unknown", remedy="use hour or weekday")
    histories = _load(lake, symbol, venue, start, end, tolerance_ms)
    _show(f"seasonality by {by}", tables[by](histories), histories, out_file, rows, json)


def persistence(
    lags: Annotated[str, typer.Option("--lags", help="Autocorrelation at these lags in hours instead: 8,24,168.")] = "",
    lake: LakeOption = DEFAULT_LAKE,
    symbol: Symbols = None,
    venue: Venues = None,
    start: Start = "",
    end: End = "",
    tolerance_ms: Tolerance = 60_000,
    out_file: OutFile = None,
    rows: Rows = _ROWS,
    json: JsonFlag = False,
) -> None:
    """Autoregression and half-life per settlement interval, or with --lags the autocorrelation.

    Example: carry funding persistence --symbol BTCUSDT --lags 8,24,168
    """
    from research.scripts import funding

    histories = _load(lake, symbol, venue, start, end, tolerance_ms)
    if lags:
        table = funding.autocorrelations(histories, _whole_hours("--lags", lags))
    else:
        table = funding.persistence(histories)
    _show("persistence", table, histories, out_file, rows, json)


def spread(
    window_hours: Annotated[int, typer.Option("--window-hours", help="Common clock of both venues.", min=1)] = 8,
    lake: LakeOption = DEFAULT_LAKE,
    symbol: Symbols = None,
    venue: Venues = None,
    start: Start = "",
    end: End = "",
    tolerance_ms: Tolerance = 60_000,
    out_file: OutFile = None,
    rows: Rows = _ROWS,
    json: JsonFlag = False,
) -> None:
    """Funding of one venue less that of another on the same asset, on a common clock, and their correlation.

    Example: carry funding spread --symbol BTCUSDT --window-hours 24
    """
    from research.scripts import funding

    histories = _load(lake, symbol, venue, start, end, tolerance_ms)
    table = funding.spreads(histories, window_hours)
    if table.empty:
        note(
            "no two venues cover two whole windows of one asset: ingest another venue, widen --symbol, shorten windows"
        )
    _show("spread", table, histories, out_file, rows, json)


def forecast(
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
    lake: LakeOption = DEFAULT_LAKE,
    symbol: Symbols = None,
    venue: Venues = None,
    start: Start = "",
    end: End = "",
    tolerance_ms: Tolerance = 60_000,
    out_file: OutFile = None,
    rows: Rows = _ROWS,
    json: JsonFlag = False,
) -> None:
    """Errors of the strategy's forecast, the last rate and others; with --predicted those of the venue's prediction.

    Example: carry funding forecast --symbol BTCUSDT --half-lives 24,72

    Example: carry funding forecast --symbol BTCUSDT --venue binance --predicted recording/rows
    """
    from research.scripts import funding

    histories = _load(lake, symbol, venue, start, end, tolerance_ms)
    if predicted is not None:
        if len(histories.contracts) != 1:
            names = ", ".join(contract.name for contract in histories.contracts[:6])
            raise UsageError(
                f"--predicted is of one contract, but there are {names}", remedy="use --symbol and --venue"
            )
        contract = histories.contracts[0]
        rates = funding.read_predictions(predicted, contract.key)
        table = funding.prediction_errors(contract, rates)
        counted = int(table["predictions"].sum())
        if counted < len(rates):
            note(f"{len(rates) - counted:,} of {len(rates):,} predictions are too early, too late or of no settlement")
    else:
        ahead = _whole_hours("--horizons", horizons)
        table = funding.forecast_errors(histories, _numbers("--half-lives", half_lives), ahead)
    _show("forecast", table, histories, out_file, rows, json)


def net_carry(
    holding_days: Holding = 30.0,
    slippage_bps: Slippage = 0.5,
    fee_tier: Tier = "VIP0",
    cost_bps: CostBps = None,
    lake: LakeOption = DEFAULT_LAKE,
    symbol: Symbols = None,
    venue: Venues = None,
    start: Start = "",
    end: End = "",
    tolerance_ms: Tolerance = 60_000,
    out_file: OutFile = None,
    rows: Rows = _ROWS,
    json: JsonFlag = False,
) -> None:
    """Net carry of long spot and short perp after costs, break-even time, and what past holds would have left.

    Example: carry funding carry --symbol BTCUSDT --holding-days 90
    """
    from research.scripts import funding

    costs = _costs(holding_days, slippage_bps, fee_tier, cost_bps)
    histories = _load(lake, symbol, venue, start, end, tolerance_ms)
    _show("carry", funding.net_carry(histories, costs), histories, out_file, rows, json)


def screen(
    lookback_days: Lookback = 30.0,
    half_life_hours: HalfLife = 72.0,
    holding_days: Holding = 30.0,
    slippage_bps: Slippage = 0.5,
    fee_tier: Tier = "VIP0",
    cost_bps: CostBps = None,
    lake: LakeOption = DEFAULT_LAKE,
    symbol: Symbols = None,
    venue: Venues = None,
    start: Start = "",
    end: End = "",
    tolerance_ms: Tolerance = 60_000,
    out_file: OutFile = None,
    rows: Rows = _ROWS,
    json: JsonFlag = False,
) -> None:
    """Every contract by net carry over the days before the end, and what the list leaves out (survivorship).

    Example: carry funding screen --lookback-days 14 --rows 20 --out screen.csv
    """
    from research.scripts import funding

    costs = _costs(holding_days, slippage_bps, fee_tier, cost_bps)
    histories = _load(lake, symbol, venue, start, end, tolerance_ms)
    table = funding.screen(histories, costs, lookback_days=lookback_days, half_life_hours=half_life_hours)
    word = funding.survivorship(histories, table)
    _show("screen", table, histories, out_file, rows, json, {"survivorship": word})


def pairs(
    least_net: Annotated[float, typer.Option("--least-net", help="Least net carry, per cent a year.")] = 0.0,
    most: Annotated[int, typer.Option("--most", help="At most so many pairs.", min=1)] = 10,
    lookback_days: Lookback = 30.0,
    half_life_hours: HalfLife = 72.0,
    holding_days: Holding = 30.0,
    slippage_bps: Slippage = 0.5,
    fee_tier: Tier = "VIP0",
    cost_bps: CostBps = None,
    lake: LakeOption = DEFAULT_LAKE,
    symbol: Symbols = None,
    venue: Venues = None,
    start: Start = "",
    end: End = "",
    tolerance_ms: Tolerance = 60_000,
    out_file: OutFile = None,
    rows: Rows = _ROWS,
    json: JsonFlag = False,
) -> None:
    """The screen as pairs to trade, in the form of a settings file, and why the other contracts are left out.

    Example: carry funding pairs --most 5 --least-net 2
    """
    from research.scripts import funding

    costs = _costs(holding_days, slippage_bps, fee_tier, cost_bps)
    histories = _load(lake, symbol, venue, start, end, tolerance_ms)
    screened = funding.screen(histories, costs, lookback_days=lookback_days, half_life_hours=half_life_hours)
    table = funding.tradable_pairs(screened, least_net_percent_a_year=least_net, most=most)
    words = {
        "survivorship": funding.survivorship(histories, screened),
        "settings": funding.settings_text(table) or "# no pair is tradable",
    }
    _show("pairs", table, histories, out_file, rows, json, words)


def report(
    folder: Annotated[
        Path | None, typer.Option("--out", help="New folder for the page and the tables [results/funding-NNNN].")
    ] = None,
    lookback_days: Lookback = 30.0,
    half_life_hours: HalfLife = 72.0,
    window_hours: Annotated[int, typer.Option("--window-hours", help="Common clock of venues.", min=1)] = 8,
    holding_days: Holding = 30.0,
    slippage_bps: Slippage = 0.5,
    fee_tier: Tier = "VIP0",
    cost_bps: CostBps = None,
    lake: LakeOption = DEFAULT_LAKE,
    symbol: Symbols = None,
    venue: Venues = None,
    start: Start = "",
    end: End = "",
    tolerance_ms: Tolerance = 60_000,
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
    costs = _costs(holding_days, slippage_bps, fee_tier, cost_bps)
    histories = _load(lake, symbol, venue, start, end, tolerance_ms)
    with progress("Studying", STEPS) as advance:
        made = study(
            histories,
            costs,
            lookback_days=lookback_days,
            half_life_hours=half_life_hours,
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


def _load(
    lake: Path, symbol: list[str] | None, venue: list[str] | None, start: str, end: str, tolerance_ms: int
) -> FundingHistories:
    from data.quality import choose
    from data.store.lake import Lake
    from research.scripts import funding

    held = [key for key in choose(Lake(lake).list(), symbol or ()) if key.series == "funding"]
    with progress("Reading funding", len(held)) as advance:
        return funding.load(
            lake,
            symbol or (),
            venues=venue or (),
            start=start,
            end=end,
            tolerance_ms=tolerance_ms,
            on_contract=lambda _, __: advance(1),
        )


def _costs(holding_days: float, slippage_bps: float, tier: str, cost_bps: float | None) -> Costs:
    from research.scripts import funding

    return funding.Costs(24.0 * holding_days, slippage_bps, tier, cost_bps)


def _numbers(flag: str, text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{flag} {text!r} is not a list of numbers", remedy=f"for example {flag} 24,72") from error
    if not all(0 < value < float("inf") for value in found):
        raise UsageError(f"{flag} {text!r} has a number that is not positive", remedy=f"for example {flag} 24,72")
    return found


def _whole_hours(flag: str, text: str) -> list[int]:
    """Hours from 1 to a million: rates are known by the hour."""
    found = _numbers(flag, text)
    for hours in found:
        if hours != int(hours) or hours > 1_000_000:
            raise UsageError(f"{flag} {text!r}: {hours:g} is not whole hours", remedy=f"for example {flag} 8,24,168")
    return [int(hours) for hours in found]


def _head(histories: FundingHistories) -> dict[str, Any]:
    return {
        "contracts": len(histories.contracts),
        "synthetic": histories.synthetic,
        "skipped": [{"series": name, "reason": reason} for name, reason in histories.skipped],
    }


def _show(
    title: str,
    table: pd.DataFrame,
    histories: FundingHistories,
    path: Path | None,
    rows: int,
    json: bool,
    words: dict[str, str] | None = None,
) -> None:
    """Write the table if asked, then print it: whole as JSON, its first rows for people."""
    if path is not None:
        from data.tables import write_table

        write_table(path, table)
    payload = _head(histories) | (words or {}) | {"rows": funding_view.records(table)}
    if path is not None:
        payload["file"] = str(path)
    emit(payload, json, lambda: out.print(funding_view.table_view(title, table, histories, rows, words or {}, path)))

"""``carry simulate montecarlo``: how likely is liquidation, and when, at many leverages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from cli import console
from cli import simulate_options as options
from crypto.errors import UsageError
from crypto.units import HOUR_MS, timeframe_ms
from crypto.venues.liquidation_rules import liquidation_rule
from crypto.worked import inputs
from crypto.worked.contracts import closing_fee

if TYPE_CHECKING:
    from research.laboratory.montecarlo import MonteCarlo, MonteCarloQuestion
    from research.laboratory.prices import PriceSeries

NOT_ASKED = {"study", "jumps", "out", "as_json", "no_page"}  # what is at hand in the command beside its question
JUMP_FLAGS = ("--volatility", "--jump-rate", "--jump-mean", "--jump-deviation")
LADDER_SIZE = 64
ROWS_SHOWN = 16


def register(group: typer.Typer) -> None:
    """Add the command to ``carry simulate``."""
    group.command("montecarlo")(montecarlo)


def montecarlo(
    instrument: options.Instrument = "binance:linear:BTCUSDT",
    side: Annotated[str, typer.Option("--side", help="Side of the position: long or short.")] = "short",
    leverage: Annotated[
        list[str] | None,
        typer.Option("--leverage", help="3, or 2,5,10, or 1:50:64 (from, to, count); may be given again."),
    ] = None,
    notional: Annotated[
        str | None,
        typer.Option(
            "--notional", metavar=options.NUMBER, help="Size in quote; margin is size / leverage. Else 100000."
        ),
    ] = None,
    wallet: Annotated[
        str | None,
        typer.Option("--wallet", metavar=options.NUMBER, help="Margin in quote; size is margin x leverage."),
    ] = None,
    price: Annotated[
        str | None, typer.Option("--price", metavar=options.NUMBER, help="Entry price; else the last of the series.")
    ] = None,
    days: Annotated[str, typer.Option("--days", metavar=options.NUMBER, help="How long the position is held.")] = "30",
    paths: Annotated[int, typer.Option("--paths", help="How many paths are drawn.")] = 20_000,
    model: Annotated[str, typer.Option("--model", help="bootstrap (blocks of past bars) or jump (jump diffusion).")] = (
        "bootstrap"
    ),
    block_hours: Annotated[
        str | None, typer.Option("--block-hours", metavar=options.NUMBER, help="bootstrap: length of a block. Else 24.")
    ] = None,
    drift: Annotated[
        str,
        typer.Option("--drift", help="Yearly growth of the expected price, or 'sample' (bootstrap: as in the data)."),
    ] = "0",
    volatility: Annotated[
        str | None, typer.Option("--volatility", metavar=options.NUMBER, help="jump: of the diffusion, a year.")
    ] = None,
    jump_rate: Annotated[
        str | None, typer.Option("--jump-rate", metavar=options.NUMBER, help="jump: jumps a year.")
    ] = None,
    jump_mean: Annotated[
        str | None, typer.Option("--jump-mean", metavar=options.NUMBER, help="jump: mean jump of the log price.")
    ] = None,
    jump_deviation: Annotated[
        str | None, typer.Option("--jump-deviation", metavar=options.NUMBER, help="jump: its standard deviation.")
    ] = None,
    crossing: Annotated[
        str, typer.Option("--crossing", help="within (any instant of a step) or close (ends of steps only).")
    ] = "within",
    antithetic: Annotated[bool, typer.Option("--antithetic", help="jump: paths in pairs of opposite normals.")] = False,
    funding_rate: Annotated[
        str, typer.Option("--funding-rate", metavar=options.NUMBER, help="Rate of every settlement, a fraction.")
    ] = "0",
    funding_interval_hours: Annotated[
        str, typer.Option("--funding-interval-hours", metavar=options.NUMBER, help="Hours between settlements.")
    ] = "8",
    taker: Annotated[
        str | None, typer.Option("--taker", metavar=options.NUMBER, help="Fee of closing, where the venue asks for it.")
    ] = None,
    tier: options.Tier = None,
    tiers: options.Tiers = None,
    as_of: options.AsOf = None,
    lake: options.LakeOption = None,
    series: options.Series = "mark",
    timeframe: options.Timeframe = "1h",
    start: options.Start = None,
    end: options.End = None,
    confidence: Annotated[
        str, typer.Option("--confidence", metavar=options.NUMBER, help="Confidence of the intervals.")
    ] = "0.95",
    seed: options.Seed = 1,
    out: options.Output = Path("results"),
    no_page: options.NoPage = False,
    as_json: console.JsonFlag = False,
) -> None:
    """Probability and time of liquidation of an isolated position at many leverages, from one set of random paths.

    Without flags: a short of 100,000 USDT for 30 days on blocks of the bundled sample's marks, at 64 leverages from 1
    to the largest that its tier allows. The page and result.json are written to a new folder.

    Example: carry simulate montecarlo --leverage 1:25:64 --days 30 --paths 50000

    Example: carry simulate montecarlo --side long --leverage 3,5,10 --model jump --volatility 0.6 --jump-rate 12
    --jump-mean -0.02 --jump-deviation 0.06 --price 60000
    """
    from research.laboratory import montecarlo as study

    jumps = dict(zip(JUMP_FLAGS, (volatility, jump_rate, jump_mean, jump_deviation), strict=True))
    options.contract_of(instrument)
    _check_model(model, jumps, block_hours, antithetic)
    if wallet is not None and notional is not None:
        raise UsageError("--wallet and --notional contradict each other", remedy="give one of them")
    settings = {name: value for name, value in locals().items() if name not in NOT_ASKED}
    prices = None
    if model == "bootstrap" or all(value is None for value in jumps.values()) or price is None:
        options.note_sample(lake)
        prices = _prices(instrument, lake, series, timeframe, start, end)
    elif lake is not None or start is not None or end is not None:
        raise UsageError("--lake, --start and --end have no use: model and --price are given", remedy="leave them out")
    entry = inputs.positive("--price", price) if price is not None else _last_price(prices)
    step_hours = timeframe_ms(timeframe) / HOUR_MS
    hours = inputs.positive("--days", days) * 24
    question = study.MonteCarloQuestion(
        margin=_margin(
            instrument,
            side,
            leverage,
            notional,
            wallet,
            entry,
            taker,
            funding_rate,
            funding_interval_hours,
            options.TierFlags(tier, tiers, as_of),
        ),
        model=_model(model, prices, step_hours, drift, jumps, block_hours, antithetic),
        steps=_whole_steps("--days", hours, step_hours),
        paths=paths,
        crossing=study.Crossing(inputs.known("--crossing", crossing, [item.value for item in study.Crossing])),
        seed=seed,
        confidence=inputs.positive("--confidence", confidence),
    )
    with console.progress("Running paths", paths) as advance:
        result = study.run_montecarlo(question, advance)
    provenance = options.provenance_of(settings, seed, prices)
    payload = _payload(result, provenance)
    page = None
    if not no_page:
        from research.laboratory.montecarlo_page import render_montecarlo

        page = render_montecarlo(result, provenance)
    files = options.write_study(out, "montecarlo", payload, page)
    console.emit(payload | {"files": files}, as_json, lambda: _show(result, files))


def _check_model(model: str, jumps: dict[str, str | None], block_hours: str | None, antithetic: bool) -> None:
    inputs.known("--model", model, ("bootstrap", "jump"))
    given = [flag for flag, value in jumps.items() if value is not None]
    if model == "bootstrap":
        wrong = [*given, *(["--antithetic"] if antithetic else [])]
        if wrong:
            raise UsageError(f"{wrong[0]} contradicts --model bootstrap", remedy="leave it out, or give --model jump")
        return
    if block_hours is not None:
        raise UsageError("--block-hours contradicts --model jump", remedy="leave it out, or give --model bootstrap")
    if given and len(given) < len(JUMP_FLAGS):
        missing = next(flag for flag in JUMP_FLAGS if flag not in given)
        raise UsageError(
            f"{missing} is missing", remedy=f"give all of {', '.join(JUMP_FLAGS)}, or none to fit them to the prices"
        )


def _prices(
    instrument: str, lake: Path | None, series: str, timeframe: str, start: str | None, end: str | None
) -> PriceSeries:
    from research.laboratory.prices import read_prices

    inputs.known("--series", series, ("mark", "bars", "index"))
    span = options.instant("--start", start), options.instant("--end", end)
    return read_prices(lake or options.BUNDLED_SAMPLE, instrument, series, timeframe, *span)


def _last_price(prices: PriceSeries | None) -> float:
    if prices is None:
        raise UsageError("--price is missing", remedy="give the entry price, or prices to take the last of")
    return prices.last_close


def _margin(
    instrument: str,
    side: str,
    leverage: list[str] | None,
    notional: str | None,
    wallet: str | None,
    entry: float,
    taker: str | None,
    funding_rate: str,
    funding_hours: str,
    flags: options.TierFlags,
) -> Any:
    from research.laboratory import barriers

    venue, kind, _ = options.contract_of(instrument)
    own = inputs.optional(inputs.positive, "--wallet", wallet)
    size = None if own is not None else inputs.positive("--notional", notional or "100000")
    asked = barriers.parse_leverages(leverage) if leverage else ()
    table = options.tier_table_of(instrument, flags, max(asked, default=1.0))
    if not asked:
        if flags.tier is not None:
            raise UsageError("--leverage is missing: a tier given by hand names no largest one", remedy="give it")
        most = barriers.largest_leverage(table, entry, own, size)
        asked = tuple(barriers.even_ladder(1.0, most, LADDER_SIZE))
    fee = closing_fee(
        liquidation_rule(venue).isolated_fee, venue, kind, inputs.optional(inputs.fraction, "--taker", taker)
    )
    return barriers.MarginQuestion(
        table,
        inputs.side_of("--side", side),
        entry,
        asked,
        own,
        size,
        fee,
        inputs.number("--funding-rate", funding_rate),
        inputs.positive("--funding-interval-hours", funding_hours),
    )


def _model(
    model: str,
    prices: PriceSeries | None,
    step_hours: float,
    drift: str,
    jumps: dict[str, str | None],
    block_hours: str | None,
    antithetic: bool,
) -> Any:
    from crypto.paths import JumpDiffusion, bar_returns, fitted
    from research.laboratory.montecarlo import PathModel

    if drift == "sample" and model == "jump":
        raise UsageError("--drift sample contradicts --model jump", remedy="give a rate, such as 0")
    growth = None if drift == "sample" else inputs.number("--drift", drift)
    returns = None if prices is None else bar_returns(prices.bars)
    if model == "bootstrap":
        hours = inputs.positive("--block-hours", block_hours or "24")
        return PathModel(step_hours, growth, returns, _whole_steps("--block-hours", hours, step_hours))
    if all(value is None for value in jumps.values()):
        if returns is None:
            raise UsageError("there are no prices to fit a model to", remedy=f"give {', '.join(JUMP_FLAGS)}")
        diffusion = fitted(returns.change, step_hours)
    else:
        numbers = {flag: inputs.number(flag, value or "") for flag, value in jumps.items()}
        diffusion = JumpDiffusion(*(numbers[flag] for flag in JUMP_FLAGS))
    return PathModel(step_hours, growth, None, 1, diffusion, antithetic)


def _whole_steps(flag: str, hours: float, step_hours: float) -> int:
    steps = round(hours / step_hours)
    if steps < 1 or abs(steps * step_hours - hours) > 1e-9 * hours:
        raise UsageError(
            f"{flag}: {hours:g} hours are no whole number of bars of {step_hours:g} hours",
            remedy="give a multiple of --timeframe",
        )
    return steps


def _payload(result: MonteCarlo, provenance: dict[str, Any]) -> dict[str, Any]:
    rungs, question = result.ladder, result.question
    rows = [
        {
            "leverage": rungs.leverages[j],
            "notional": rungs.notional[j],
            "margin": rungs.margin[j],
            "liquidation_price": rungs.price[j],
            "probability": result.probability[j],
            "probability_low": result.low[j],
            "probability_high": result.high[j],
            "liquidated_paths": int(result.hits[j]),
            "hours_until_liquidation": {
                name: {"value": result.times[q, 0, j], "low": result.times[q, 1, j], "high": result.times[q, 2, j]}
                for q, name in enumerate(("p10", "median", "p90"))
            },
        }
        for j in reversed(range(rungs.leverages.size))
    ]
    return {
        "study": "montecarlo",
        "instrument": question.margin.tiers.key,
        "side": "long" if question.margin.side > 0 else "short",
        "entry_price": question.margin.entry_price,
        "margin_asset": question.margin.tiers.currency,
        "tiers": question.margin.tiers.source,
        "days": question.steps * question.model.step_hours / 24,
        "paths": question.paths,
        "confidence": question.confidence,
        "crossing": question.crossing.value,
        "model": _model_payload(question),
        "leverages": rows,
        "curve_hours": result.hours,
        "curve": {f"{value:.12g}": result.curve[:, j] for j, value in enumerate(rungs.leverages)},
        "provenance": provenance,
    }


def _model_payload(question: MonteCarloQuestion) -> dict[str, Any]:
    model = question.model
    shared = {"step_hours": model.step_hours, "growth": "sample" if model.growth is None else model.growth}
    if model.diffusion is None:
        bars = 0 if model.returns is None else model.returns.change.size
        return {"name": "bootstrap", "block_steps": model.block_steps, "returns": bars} | shared
    fitted = model.diffusion
    return {
        "name": "jump",
        "volatility": fitted.volatility,
        "jump_rate": fitted.jump_rate,
        "jump_mean": fitted.jump_mean,
        "jump_deviation": fitted.jump_deviation,
        "antithetic": model.antithetic,
    } | shared


def _show(result: MonteCarlo, files: dict[str, str]) -> None:
    question, rungs = result.question, result.ladder
    word = "long" if question.margin.side > 0 else "short"
    days = question.steps * question.model.step_hours / 24
    title = f"{rungs.leverages.size} leverages, {word}, {days:g} days, {question.paths:,} paths"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("leverage", "liquidated at", "probability", f"{question.confidence:.0%} interval", "median days"):
        table.add_column(name, justify="right", no_wrap=True)
    ascending = list(reversed(range(rungs.leverages.size)))
    every = max(1, -(-len(ascending) // ROWS_SHOWN))
    for j in [*ascending[:-1:every], ascending[-1]]:
        price = rungs.price[j]
        table.add_row(
            f"{rungs.leverages[j]:.4g}x",
            f"{price:,.8g}" if 0 < price < float("inf") else "never",
            f"{result.probability[j]:.2%}",
            f"{result.low[j]:.2%} to {result.high[j]:.2%}",
            f"{result.times[1, 0, j] / 24:.1f}" if result.hits[j] else "-",
        )
    console.out.print(table)
    for name, path in files.items():
        console.out.print(Text(f"{name:12} {path}"), soft_wrap=True)

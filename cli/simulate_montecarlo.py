"""``carry simulate montecarlo``: how likely is liquidation, and when, at many leverages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from cli import console
from cli import simulate_options as options
from cli.options import NUMBER, flattened
from crypto.errors import UsageError
from crypto.units import HOUR_MS, timeframe_ms
from crypto.venues.liquidation_rules import liquidation_rule
from crypto.worked import inputs
from crypto.worked.contracts import closing_fee

if TYPE_CHECKING:
    from research.laboratory.barriers import MarginQuestion
    from research.laboratory.montecarlo import MonteCarlo, MonteCarloQuestion, PathModel
    from research.laboratory.prices import PriceSeries

JUMP_FLAGS = ("--volatility", "--jump-rate", "--jump-mean", "--jump-deviation")
LADDER_SIZE = 64
ROWS_SHOWN = 16


@dataclass(frozen=True, slots=True)
class Position:
    """The isolated position, at each of its leverages."""

    instrument: options.Instrument = "binance:linear:BTCUSDT"
    side: options.Side = "short"
    leverage: Annotated[
        list[str] | None,
        typer.Option("--leverage", help="3, or 2,5,10, or 1:50:64 (from, to, count); may be given again."),
    ] = None
    notional: Annotated[
        str | None,
        typer.Option("--notional", metavar=NUMBER, help="Size in quote; margin is size / leverage. Else 100000."),
    ] = None
    wallet: Annotated[
        str | None,
        typer.Option("--wallet", metavar=NUMBER, help="Margin in quote; size is margin x leverage."),
    ] = None
    price: Annotated[
        str | None, typer.Option("--price", metavar=NUMBER, help="Entry price; else the last of the series.")
    ] = None
    funding_rate: Annotated[
        str, typer.Option("--funding-rate", metavar=NUMBER, help="Rate of every settlement, a fraction.")
    ] = "0"
    funding_interval_hours: Annotated[
        str, typer.Option("--funding-interval-hours", metavar=NUMBER, help="Hours between settlements.")
    ] = "8"
    taker: Annotated[
        str | None, typer.Option("--taker", metavar=NUMBER, help="Fee of closing, where the venue asks for it.")
    ] = None


@dataclass(frozen=True, slots=True)
class Model:
    """How paths of the price are drawn."""

    model: Annotated[str, typer.Option("--model", help="bootstrap (blocks of past bars) or jump (jump diffusion).")] = (
        "bootstrap"
    )
    block_hours: Annotated[
        str | None, typer.Option("--block-hours", metavar=NUMBER, help="bootstrap: length of a block. Else 24.")
    ] = None
    drift: Annotated[
        str,
        typer.Option("--drift", help="Yearly growth of the expected price, or 'sample' (bootstrap: as in the data)."),
    ] = "0"
    volatility: Annotated[
        str | None, typer.Option("--volatility", metavar=NUMBER, help="jump: of the diffusion, a year.")
    ] = None
    jump_rate: Annotated[str | None, typer.Option("--jump-rate", metavar=NUMBER, help="jump: jumps a year.")] = None
    jump_mean: Annotated[
        str | None, typer.Option("--jump-mean", metavar=NUMBER, help="jump: mean jump of the log price.")
    ] = None
    jump_deviation: Annotated[
        str | None, typer.Option("--jump-deviation", metavar=NUMBER, help="jump: its standard deviation.")
    ] = None
    antithetic: Annotated[bool, typer.Option("--antithetic", help="jump: paths in pairs of opposite normals.")] = False

    def jumps(self) -> dict[str, str | None]:
        """The parameters of the jump diffusion by flag."""
        return dict(
            zip(JUMP_FLAGS, (self.volatility, self.jump_rate, self.jump_mean, self.jump_deviation), strict=True)
        )


def register(group: typer.Typer) -> None:
    """Add the command to ``carry simulate``."""
    group.command("montecarlo")(flattened(montecarlo))


def montecarlo(
    *,
    position: Position,
    days: Annotated[str, typer.Option("--days", metavar=NUMBER, help="How long the position is held.")] = "30",
    paths: Annotated[int, typer.Option("--paths", help="How many paths are drawn.")] = 20_000,
    model: Model,
    crossing: Annotated[
        str, typer.Option("--crossing", help="within (any instant of a step) or close (ends of steps only).")
    ] = "within",
    tiers: options.TierFlags,
    prices: options.PriceFlags,
    timeframe: Annotated[str, typer.Option("--timeframe", help="Length of the bars: 1m, 5m, 1h, ...")] = "1h",
    confidence: Annotated[
        str, typer.Option("--confidence", metavar=NUMBER, help="Confidence of the intervals.")
    ] = "0.95",
    seed: options.Seed = 1,
    written: options.Written,
) -> None:
    """Probability and time of liquidation of an isolated position at many leverages, from one set of random paths.

    Without flags: a short of 100,000 USDT for 30 days on blocks of the bundled sample's marks, at 64 leverages from 1
    to the largest that its tier allows. The page and result.json are written to a new folder.

    Example: carry simulate montecarlo --leverage 1:25:64 --days 30 --paths 50000

    Example: carry simulate montecarlo --side long --leverage 3,5,10 --model jump --volatility 0.6 --jump-rate 12
    --jump-mean -0.02 --jump-deviation 0.06 --price 60000
    """
    settings = options.settings_of(locals())
    from research.laboratory import montecarlo as study

    options.contract_of(position.instrument)
    _check_model(model)
    if position.wallet is not None and position.notional is not None:
        raise UsageError("--wallet and --notional contradict each other", remedy="give one of them")
    found = _prices(position, model, prices, timeframe)
    step_hours = timeframe_ms(timeframe) / HOUR_MS
    hours = inputs.positive("--days", days) * 24
    question = study.MonteCarloQuestion(
        margin=_margin(position, _entry_price(position, found), tiers),
        model=_path_model(model, found, step_hours),
        steps=_whole_steps("--days", hours, step_hours),
        paths=paths,
        crossing=study.Crossing(inputs.known("--crossing", crossing, [item.value for item in study.Crossing])),
        seed=seed,
        confidence=inputs.positive("--confidence", confidence),
    )
    with console.progress("Running paths", paths) as advance:
        result = study.run_montecarlo(question, advance)
    provenance = options.provenance_of(settings, seed, found)
    payload = _payload(result, provenance)

    def page() -> str:
        from research.laboratory.montecarlo_page import render_montecarlo

        return render_montecarlo(result, provenance)

    options.finish("montecarlo", payload, written, page, lambda: _show(result))


def _check_model(model: Model) -> None:
    inputs.known("--model", model.model, ("bootstrap", "jump"))
    given = [flag for flag, value in model.jumps().items() if value is not None]
    if model.model == "bootstrap":
        wrong = [*given, *(["--antithetic"] if model.antithetic else [])]
        if wrong:
            raise UsageError(f"{wrong[0]} contradicts --model bootstrap", remedy="leave it out, or give --model jump")
        return
    if model.block_hours is not None:
        raise UsageError("--block-hours contradicts --model jump", remedy="leave it out, or give --model bootstrap")
    if given and len(given) < len(JUMP_FLAGS):
        missing = next(flag for flag in JUMP_FLAGS if flag not in given)
        raise UsageError(
            f"{missing} is missing", remedy=f"give all of {', '.join(JUMP_FLAGS)}, or none to fit them to the prices"
        )


def _prices(position: Position, model: Model, prices: options.PriceFlags, timeframe: str) -> PriceSeries | None:
    """The prices that the model or the entry need; None when the flags say everything."""
    is_fitted = all(value is None for value in model.jumps().values())
    if model.model == "bootstrap" or is_fitted or position.price is None:
        return prices.read(position.instrument, timeframe)
    if prices.lake is not None or prices.start is not None or prices.end is not None:
        raise UsageError("--lake, --start and --end have no use: model and --price are given", remedy="leave them out")
    return None


def _entry_price(position: Position, prices: PriceSeries | None) -> float:
    if position.price is not None:
        return inputs.positive("--price", position.price)
    if prices is None:
        raise UsageError("--price is missing", remedy="give the entry price, or prices to take the last of")
    return prices.last_close


def _margin(position: Position, entry: float, tiers: options.TierFlags) -> MarginQuestion:
    from research.laboratory import barriers

    venue, kind, _ = options.contract_of(position.instrument)
    own = inputs.optional(inputs.positive, "--wallet", position.wallet)
    size = None if own is not None else inputs.positive("--notional", position.notional or "100000")
    asked = barriers.parse_leverages(position.leverage) if position.leverage else ()
    table = options.tier_table_of(position.instrument, tiers, max(asked, default=1.0))
    if not asked:
        if tiers.tier is not None:
            raise UsageError("--leverage is missing: a tier given by hand names no largest one", remedy="give it")
        most = barriers.largest_leverage(table, entry, own, size)
        asked = tuple(barriers.even_ladder(1.0, most, LADDER_SIZE))
    taker = inputs.optional(inputs.fraction, "--taker", position.taker)
    return barriers.MarginQuestion(
        table,
        inputs.side_of("--side", position.side),
        entry,
        asked,
        own,
        size,
        closing_fee(liquidation_rule(venue).isolated_fee, venue, kind, taker),
        inputs.number("--funding-rate", position.funding_rate),
        inputs.positive("--funding-interval-hours", position.funding_interval_hours),
    )


def _path_model(model: Model, prices: PriceSeries | None, step_hours: float) -> PathModel:
    from crypto.paths import JumpDiffusion, bar_returns, fitted
    from research.laboratory.montecarlo import PathModel

    if model.drift == "sample" and model.model == "jump":
        raise UsageError("--drift sample contradicts --model jump", remedy="give a rate, such as 0")
    growth = None if model.drift == "sample" else inputs.number("--drift", model.drift)
    returns = None if prices is None else bar_returns(prices.bars)
    if model.model == "bootstrap":
        hours = inputs.positive("--block-hours", model.block_hours or "24")
        return PathModel(step_hours, growth, returns, _whole_steps("--block-hours", hours, step_hours))
    jumps = model.jumps()
    if all(value is None for value in jumps.values()):
        if returns is None:
            raise UsageError("there are no prices to fit a model to", remedy=f"give {', '.join(JUMP_FLAGS)}")
        diffusion = fitted(returns.change, step_hours)
    else:
        numbers = {flag: inputs.number(flag, value or "") for flag, value in jumps.items()}
        diffusion = JumpDiffusion(*(numbers[flag] for flag in JUMP_FLAGS))
    return PathModel(step_hours, growth, None, 1, diffusion, model.antithetic)


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


def _show(result: MonteCarlo) -> None:
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

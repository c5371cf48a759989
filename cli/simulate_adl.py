"""``carry simulate adl``: who is liquidated, who pays, and who is deleveraged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich import box
from rich.table import Table
from rich.text import Text

from cli import console
from cli import simulate_options as options
from cli.options import NUMBER, flattened
from crypto.errors import UsageError
from crypto.instruments import Kind
from crypto.worked import inputs
from crypto.worked.adl_queue import lot_size

if TYPE_CHECKING:
    from research.laboratory.adl_study import AdlQuestion, AdlStudy
    from research.laboratory.sample_study import SampleStudy


@dataclass(frozen=True, slots=True)
class BookFlags:
    """The synthetic book of the contract, its insurance fund, and the move that hits it."""

    instrument: options.Instrument = "binance:linear:BTCUSDT"
    shock: Annotated[
        str | None,
        typer.Option("--shock", metavar=NUMBER, help="Move of the mark at once, a fraction. Else -0.2."),
    ] = None
    open_interest: Annotated[
        str | None,
        typer.Option("--open-interest", metavar=NUMBER, help="Of the contract, in quote. Else 500000000."),
    ] = None
    fund: Annotated[
        str | None,
        typer.Option("--fund", metavar=NUMBER, help="Insurance fund, in quote. Else 0.1% of open interest."),
    ] = None
    liquidity_gap: Annotated[
        str,
        typer.Option("--liquidity-gap", metavar=NUMBER, help="Fill of forced orders: 0 liquidation price, 1 new mark."),
    ] = "0.3"
    mean_age_hours: Annotated[
        str, typer.Option("--mean-age-hours", metavar=NUMBER, help="How long positions have been open.")
    ] = "72"
    smallest: Annotated[
        str, typer.Option("--smallest", metavar=NUMBER, help="Smallest position of the book, in quote.")
    ] = "1000"
    largest: Annotated[
        str | None,
        typer.Option("--largest", metavar=NUMBER, help="Largest position. Else a tenth of open interest."),
    ] = None


@dataclass(frozen=True, slots=True)
class OwnFlags:
    """Our own position in it."""

    side: Annotated[str, typer.Option("--side", help="Side of our own position: long or short.")] = "short"
    notional: Annotated[str, typer.Option("--notional", metavar=NUMBER, help="Size of our own position, in quote.")] = (
        "100000"
    )
    lot: Annotated[
        str | None, typer.Option("--lot", metavar=NUMBER, help="Smallest size; else from the shipped filters.")
    ] = None


def register(group: typer.Typer) -> None:
    """Add the command to ``carry simulate``."""
    group.command("adl")(flattened(adl))


def adl(
    *,
    book: BookFlags,
    own: OwnFlags,
    tiers: options.TierFlags,
    prices: options.PriceFlags,
    sample: Annotated[
        Path | None,
        typer.Option("--sample", help="Folder of the 2025-10-10 ADL sample: study that episode instead of a book."),
    ] = None,
    seed: options.Seed = 1,
    written: options.Written,
) -> None:
    """Auto-deleveraging: the waterfall on a synthetic book under a jump of the price, or the episode of 2025-10-10.

    Who is liquidated, what the insurance fund pays, how the winners rank, whom ADL closes, and what would have become
    of a position of ours at several leverages and gains. Money is checked to the last unit.

    Example: carry simulate adl --shock -0.25 --open-interest 800000000 --fund 1000000

    Example: carry simulate adl --sample adl-2025-10-10
    """
    if sample is not None:
        _refuse_with_sample(book, own, tiers, prices)
        _study_sample(sample, seed, written)
        return
    settings = options.settings_of(locals())
    from research.laboratory.adl_study import run_adl

    question = _question(book, own, tiers, seed)
    found = prices.read(book.instrument, "1h")
    with console.progress("Drawing the book and settling", None):
        result = run_adl(question, found.bars.close[np.isfinite(found.bars.close)])
    provenance = options.provenance_of(settings, seed, found)
    payload = _payload(result, provenance)

    def page() -> str:
        from research.laboratory.adl_page import render_adl

        return render_adl(result, provenance)

    options.finish("adl", payload, written, page, lambda: _show(result))


def _question(book: BookFlags, own: OwnFlags, tiers: options.TierFlags, seed: int) -> AdlQuestion:
    from research.laboratory.adl_study import VENUES, AdlQuestion

    venue, kind, symbol = options.contract_of(book.instrument)
    if kind is not Kind.LINEAR:
        raise UsageError(
            f"--instrument {book.instrument} is {kind.value}", remedy="the book is modelled for linear contracts"
        )
    if venue not in VENUES:
        raise UsageError(f"--instrument: {venue} has no ADL ranking here", remedy=f"known: {', '.join(VENUES)}")
    interest = inputs.positive("--open-interest", book.open_interest or "500000000")
    return AdlQuestion(
        tiers=options.tier_table_of(book.instrument, tiers, 1.0),
        unit=float(lot_size(venue, kind, symbol, inputs.optional(inputs.positive, "--lot", own.lot))),
        shock=inputs.number("--shock", book.shock or "-0.2"),
        open_interest=interest,
        fund=0.001 * interest if book.fund is None else inputs.not_negative("--fund", book.fund),
        liquidity_gap=inputs.not_negative("--liquidity-gap", book.liquidity_gap),
        mean_age_hours=inputs.positive("--mean-age-hours", book.mean_age_hours),
        smallest=inputs.positive("--smallest", book.smallest),
        largest=0.1 * interest if book.largest is None else inputs.positive("--largest", book.largest),
        own_side=inputs.side_of("--side", own.side),
        own_notional=inputs.positive("--notional", own.notional),
        seed=int(inputs.not_negative("--seed", str(seed))),
    )


def _refuse_with_sample(book: BookFlags, own: OwnFlags, tiers: options.TierFlags, prices: options.PriceFlags) -> None:
    drawn = {
        "--shock": book.shock,
        "--open-interest": book.open_interest,
        "--fund": book.fund,
        "--largest": book.largest,
        "--lot": own.lot,
        "--tier": tiers.tier,
        "--tiers": tiers.tiers,
        "--as-of": tiers.as_of,
        "--lake": prices.lake,
        "--start": prices.start,
        "--end": prices.end,
    }
    for flag, value in drawn.items():
        if value is not None:
            raise UsageError(f"{flag} contradicts --sample, which holds what happened", remedy=f"leave {flag} out")


def _payload(study: AdlStudy, provenance: dict[str, Any]) -> dict[str, Any]:
    from crypto.adl_waterfall import MONEY, Fate

    outcome, balance = study.outcome, study.outcome.balance
    own = study.own
    return {
        "study": "adl",
        "instrument": study.question.tiers.key,
        "mark_before": study.population.mark_price,
        "mark_after": outcome.mark_price,
        "losing_side": "long" if outcome.side > 0 else "short",
        "positions": study.population.lots.size,
        "liquidated": {fate.name.lower(): int((outcome.fate == fate).sum()) for fate in Fate},
        "surplus": study.surplus,
        "fund_before": balance.fund_before / MONEY,
        "fund_paid": study.fund_paid,
        "fund_after": balance.fund / MONEY,
        "adl_lots": outcome.wanted_lots,
        "adl_uncovered_lots": outcome.uncovered_lots,
        "winners_gave_up": study.given_up,
        "left_with_the_venue": -balance.uncovered / MONEY,
        "money_difference_millionths": balance.difference,
        "lights": [
            {"light": light, "accounts": int(row[0]), "deleveraged": int(row[1]), "share_of_lots": row[2]}
            for light, row in enumerate(study.by_light)
        ],
        "own": [
            {"leverage": leverage, "gain": gain, "closed": own.closed[r, c], "light": int(own.light[r, c]),
             "lots_ahead": own.ahead[r, c]}
            for r, gain in enumerate(own.gains) for c, leverage in enumerate(own.leverages)
        ],
        "provenance": provenance,
    }  # fmt: skip


def _show(study: AdlStudy) -> None:
    from crypto.adl_waterfall import MONEY

    outcome, balance = study.outcome, study.outcome.balance
    taken = study.surplus if study.keeps_surplus else 0.0
    closed = outcome.wanted_lots - outcome.uncovered_lots
    lines = (
        ("mark", f"{study.population.mark_price:,.8g} to {outcome.mark_price:,.8g} ({study.question.shock:+.1%})"),
        ("liquidated", f"{outcome.rows.size:,} of {study.population.lots.size:,} positions"),
        ("fund", f"paid {study.fund_paid:,.2f}, took in {taken:,.2f}, leaves {balance.fund / MONEY:,.2f}"),
        ("ADL", f"closed {closed:,} lots of winners, who gave up {study.given_up:,.2f}"),
        ("venue", f"left with {-balance.uncovered / MONEY:,.2f} that nobody paid"),
        ("money", f"made or lost over everybody: {balance.difference} millionths (has to be 0)"),
    )  # fmt: skip
    console.out.print(Text("\n".join(f"{name:11} {text}" for name, text in lines)), soft_wrap=True)
    table = Table(title="By light", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("light", "accounts", "deleveraged", "of lots"):
        table.add_column(name, justify="right", no_wrap=True)
    for light, row in reversed(list(enumerate(study.by_light))):
        table.add_row(str(light), f"{row[0]:,.0f}", f"{row[1] / row[0] if row[0] else 0:.1%}", f"{row[2]:.1%}")
    console.out.print(table)


def _study_sample(folder: Path, seed: int, written: options.Written) -> None:
    from data.adl_sample import read_adl_sample
    from research.laboratory.sample_study import sample_payload, study_sample

    found = read_adl_sample(folder)
    result = study_sample(found)
    provenance = options.provenance_of({"sample": folder.name}, seed, None) | {"data_hash": found.data_hash}
    payload = sample_payload(result) | {"provenance": provenance}

    def page() -> str:
        from research.laboratory.sample_page import render_sample

        return render_sample(result, provenance)

    options.finish("adl-sample", payload, written, page, lambda: _show_sample(result))


def _show_sample(result: SampleStudy) -> None:
    lines = (
        (
            "episode",
            f"{result.total_notional:,.0f} closed by ADL in {result.coins} coins, {result.total_events:,} events",
        ),
        ("sample", f"{result.positions} positions in {result.events} events"),
        (
            "allocation",
            f"{result.reproduced} of {result.events} events closed as our ranking and allocation close them",
        ),
        ("money", f"made or lost over all events: {result.difference} millionths (has to be 0)"),
    )
    console.out.print(Text("\n".join(f"{name:11} {text}" for name, text in lines)), soft_wrap=True)

"""``carry simulate replay``: a book through days of stress on real data, with guards and without."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import console
from cli import simulate_options as options
from cli.options import NUMBER, flattened
from cli.simulate_books import compile_first, show_by_direction
from crypto.errors import DataError, UsageError
from crypto.settings import NakedPolicy, PairSettings
from crypto.worked import inputs

if TYPE_CHECKING:
    from research.laboratory.replay import ReplayQuestion

DATA_VARIABLE = "CARRY_SHARED_DATA"
DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"
DEFAULT_PAIR = "binance:spot:BTCUSDT/binance:linear:BTCUSDT"
DIRECTIONS = {"both": (1, -1), "carry": (1,), "reverse": (-1,)}

Event = Annotated[str, typer.Option("--event", help="2020-03-12, 2021-05-19, 2022-11-08 or 2025-10-10.")]


def register(group: typer.Typer) -> None:
    """Add the command to ``carry simulate``."""
    group.command("replay")(flattened(replay))


def replay(
    *,
    event: Event,
    leverage: Annotated[str, typer.Option("--perp-leverage", help="Leverages of the perp leg: 3,5,10.")] = "3,5,10",
    wallet_split: Annotated[
        str | None,
        typer.Option(
            "--wallet-split", metavar=NUMBER, help="Share of capital in the perp wallet; else a tenth is spare."
        ),
    ] = None,
    direction: Annotated[
        str, typer.Option("--direction", help="carry (short perp), reverse (long perp) or both.")
    ] = "both",
    pair: Annotated[list[str] | None, typer.Option("--pair", help="SPOT/PERP by keys; may be given again.")] = None,
    capital: Annotated[str, typer.Option("--capital", metavar=NUMBER, help="Account currency.")] = "100000",
    resolution: Annotated[str | None, typer.Option("--resolution", help="1h, or 5m (2025-10-10).")] = None,
    naked: Annotated[
        str, typer.Option("--naked", help="What to do with a leg left naked: flatten, rehedge or wait.")
    ] = "flatten",
    borrow_annual: Annotated[
        str, typer.Option("--borrow-annual", metavar=NUMBER, help="Yearly rate on borrowed coins (reverse).")
    ] = "0.05",
    liquidity_gap: Annotated[
        str,
        typer.Option(
            "--liquidity-gap", metavar=NUMBER, help="Fill of forced orders: 0 triggering mark, 1 bar's extreme."
        ),
    ] = "0.3",
    data: Annotated[
        Path | None, typer.Option("--data", help=f"Folder of the real data; else {DATA_VARIABLE}, else ../shared/data.")
    ] = None,
    lake: Annotated[Path | None, typer.Option("--lake", help="A lake that holds the days already.")] = None,
    written: options.Written,
) -> None:
    """A book of given leverage and wallet split through days of stress, hour by hour or in 5-minute bars.

    When the guards act, when the venue would liquidate, and what is left: with guards and without, side by side.

    Example: carry simulate replay --event 2025-10-10 --perp-leverage 3,5,10,20

    Example: carry simulate replay --event 2020-03-12 --direction reverse --perp-leverage 10 --wallet-split 0.05
    """
    settings = options.settings_of(locals())
    from research.laboratory import episodes
    from research.laboratory.replay import ReplayQuestion, replay_payload, run_replay

    found = episodes.episode_of(event)
    question = ReplayQuestion(
        episode=found,
        resolution=episodes.resolution_of(found, resolution),
        pairs=tuple(pair_of(text) for text in pair or [DEFAULT_PAIR]),
        leverages=leverages_of(leverage),
        directions=_directions(direction),
        wallet_split=inputs.optional(inputs.positive, "--wallet-split", wallet_split),
        capital=inputs.positive("--capital", capital),
        naked_policy=_naked(naked),
        borrow_annual=inputs.not_negative("--borrow-annual", borrow_annual),
        liquidity_gap=_share("--liquidity-gap", liquidity_gap),
    )
    books = question.books()
    with ExitStack() as stack:
        folder = lake if lake is not None else _fill(question, data, stack)
        compile_first()
        with console.progress("Replaying", 2 * len(books)) as advance:
            result = run_replay(question, folder, advance)
    provenance = options.provenance_of(settings, 1, None) | {
        "data_hash": result.market.data_hash,
        "synthetic": result.market.synthetic,
        "sources": dict(result.market.sources),
    }
    payload = replay_payload(result) | {"provenance": provenance}

    def page() -> str:
        from research.laboratory.replay_page import render_replay

        return render_replay(result, provenance)

    options.finish(
        f"replay-{event}", payload, written, page, lambda: show_by_direction(question.directions, result.stories)
    )


def pair_of(text: str) -> PairSettings:
    """A pair from ``SPOT/PERP``."""
    spot, slash, perp = text.partition("/")
    if not slash or not spot or not perp:
        raise UsageError(f"--pair {text!r} is not SPOT/PERP", remedy=f"for example {DEFAULT_PAIR}")
    return PairSettings(spot, perp)


def leverages_of(text: str) -> tuple[float, ...]:
    """Leverages from a list with commas, each once, ascending."""
    values = {inputs.positive("--perp-leverage", part.strip()) for part in text.split(",")}
    return tuple(sorted(values))


def _share(flag: str, text: str) -> float:
    value = inputs.not_negative(flag, text)
    if value > 1:
        raise UsageError(f"{flag} = {text} is above 1", remedy="give a share from 0 to 1")
    return value


def _directions(text: str) -> tuple[int, ...]:
    return DIRECTIONS[inputs.known("--direction", text, DIRECTIONS)]


def _naked(text: str) -> NakedPolicy:
    return NakedPolicy(inputs.known("--naked", text, [item.value for item in NakedPolicy]))


def _fill(question: ReplayQuestion, data: Path | None, stack: ExitStack) -> Path:
    """A lake of the episode's files, which is gone after the command."""
    from research.laboratory.episodes import fill_lake

    folder = data or Path(os.environ.get(DATA_VARIABLE, DEFAULT_DATA))
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder",
            remedy=f"name the data with --data or {DATA_VARIABLE}, or a lake with --lake",
        )
    target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carry-replay-")))
    with console.progress("Reading the files", None):
        fill_lake(folder, target, question.resolution, question.pairs)
    return target

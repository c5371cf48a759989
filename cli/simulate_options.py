"""Flags that the commands of ``carry simulate`` share, and how their results are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import console
from cli.options import TiersAsOf, TiersFile, flags_of
from cli.output import writable_folder
from crypto.errors import UsageError
from crypto.instruments import Kind, parse_key
from crypto.tiers import TierTable, fixed_tier
from crypto.units import parse_iso
from crypto.venues.liquidation_rules import RULES
from crypto.worked import inputs
from crypto.worked.contracts import TierChoice, listed_table, margin_asset
from data.result_folder import write_folder
from data.results import next_directory, plain_value
from data.tiers import load_tiers

if TYPE_CHECKING:
    from research.laboratory.prices import PriceSeries

BUNDLED_SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "lake"

Instrument = Annotated[str, typer.Option("--instrument", help="Contract, venue:linear:SYMBOL or venue:inverse:SYMBOL.")]
Side = Annotated[str, typer.Option("--side", help="Side of the position: long or short.")]
LakeOption = Annotated[Path | None, typer.Option("--lake", help="Folder of the lake; else the bundled sample.")]
Seed = Annotated[int, typer.Option("--seed", help="Whole number from 0; the same seed gives the same result.")]


@dataclass(frozen=True, slots=True)
class PriceFlags:
    """Which prices of the lake are used."""

    lake: LakeOption = None
    series: Annotated[str, typer.Option("--series", help="Prices to use: mark, bars or index.")] = "mark"
    start: Annotated[str | None, typer.Option("--start", help="First instant of the prices, ISO date, UTC.")] = None
    end: Annotated[str | None, typer.Option("--end", help="Last instant of the prices, ISO date, UTC, exclusive.")] = (
        None
    )

    def read(self, instrument: str, timeframe: str) -> PriceSeries:
        """The prices of a contract; says so when they are the bundled sample's."""
        from research.laboratory.prices import read_prices

        note_sample(self.lake)
        inputs.known("--series", self.series, ("mark", "bars", "index"))
        span = instant("--start", self.start), instant("--end", self.end)
        return read_prices(self.lake or BUNDLED_SAMPLE, instrument, self.series, timeframe, *span)


@dataclass(frozen=True, slots=True)
class TierFlags:
    """What was given for the tiers of the contract."""

    tier: Annotated[
        str | None,
        typer.Option("--tier", metavar="RATE[/DEDUCTION]", help="One maintenance tier of --instrument, given by hand."),
    ] = None
    tiers: TiersFile = None
    as_of: TiersAsOf = None


@dataclass(frozen=True, slots=True)
class Written:
    """Where results go and how they are shown."""

    out: Annotated[
        Path, typer.Option("--out", callback=writable_folder, help="Folder for results; each run gets a new one in it.")
    ] = Path("results")
    no_page: Annotated[bool, typer.Option("--no-page", help="Do not write the HTML page.")] = False
    as_json: console.JsonFlag = False


def settings_of(flags: Mapping[str, object]) -> dict[str, object]:
    """The flags that say what is computed, for the record: not those that say where it is written and how shown."""
    return flags_of(flags, leaving_out=frozenset(field.name for field in fields(Written)))


def instant(flag: str, text: str | None) -> int | None:
    """Milliseconds of an ISO instant, None when the flag was not given."""
    if text is None:
        return None
    with inputs.blaming(flag):
        return parse_iso(text)


def tier_table_of(instrument: str, flags: TierFlags, leverage: float) -> TierTable:
    """Tier table by the flags: by hand, from a file, or shipped; ``leverage``: the largest that is asked for."""
    venue, kind, symbol = contract_of(instrument)
    tier, tiers, as_of = flags.tier, flags.tiers, flags.as_of
    if sum(flag is not None for flag in (tier, tiers, as_of)) > 1:
        raise UsageError("--tier, --tiers and --as-of contradict each other", remedy="give one of them")
    key = f"{venue}:{kind.value}:{symbol}"
    if tier is not None:
        rate, deduction = _tier_by_hand(tier)
        if leverage * rate > 1:
            raise UsageError(
                f"--leverage {leverage:g}: its initial margin of {1 / leverage:.4%} is below the maintenance rate of"
                f" --tier, {rate:.4%}",
                remedy="lower the leverage or correct the rate",
            )
        return fixed_tier(key, margin_asset(venue, kind, symbol), rate, deduction, max(1.0, leverage))
    listed = None if tiers is None else load_tiers(tiers, venue, "1970-01-01")
    choice = TierChoice({}, listed, instant("--as-of", as_of))
    return listed_table(key, choice, f"--instrument {instrument}", one_contract=True)


def _tier_by_hand(text: str) -> tuple[float, float]:
    if "=" in text:
        raise UsageError(
            f"--tier {text!r} names a symbol, but --instrument already says which contract",
            remedy=f"give RATE/DEDUCTION alone: --tier {text.partition('=')[2] or '0.025/16300'}",
        )
    try:
        return inputs.parse_tier("--tier", text)
    except UsageError as error:
        raise UsageError(error.message, remedy="give RATE or RATE/DEDUCTION, for example --tier 0.025/16300") from error


def contract_of(instrument: str) -> tuple[str, Kind, str]:
    """Venue, kind and symbol of a contract; errors name the flag."""
    with inputs.blaming("--instrument"):
        venue, kind, symbol = parse_key(instrument)
    inputs.known("--instrument: venue", venue, RULES)
    if kind is Kind.SPOT:
        raise UsageError(f"--instrument {instrument} is spot", remedy="give a linear or inverse perpetual")
    return venue, kind, symbol


def write_study(out: Path, name: str, payload: Mapping[str, Any], page: str | None) -> dict[str, str]:
    """``result.json`` and the page in a new folder; returns the paths by name."""
    directory = next_directory(out, name)
    document = json.dumps(plain_value(dict(payload)), indent=2, allow_nan=False) + "\n"
    texts = {"result.json": document} | ({} if page is None else {"report.html": page})

    def fill(folder: Path) -> None:
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8", newline="\n")

    return {file: str(path) for file, path in write_folder(directory, fill).items()}


def finish(
    name: str, payload: Mapping[str, Any], written: Written, page: Callable[[], str], show: Callable[[], None]
) -> None:
    """Write the study as ``name-NNNN``, with ``page`` unless it is not wanted; print it as JSON or by ``show``."""
    files = write_study(written.out, name, payload, None if written.no_page else page())

    def for_people() -> None:
        show()
        console.show_files(files)

    console.emit({**payload, "files": files}, written.as_json, for_people)


def note_sample(lake: Path | None) -> None:
    """Say on stderr that prices come from the bundled sample, when they do."""
    if lake is None:
        console.note("Input: the bundled sample market. It is SYNTHETIC; its results say nothing about real markets.")


def provenance_of(settings: Mapping[str, Any], seed: int, prices: PriceSeries | None) -> dict[str, Any]:
    """Hashes, seed, versions and sources of a study."""
    from research.backtest import versions
    from research.laboratory.provenance import study_hash

    described: dict[str, Any] = {"config_hash": study_hash(settings), "seed": seed, "versions": dict(versions())}
    if prices is None:
        return described | {"data_hash": "", "synthetic": False, "settings": dict(settings)}
    return described | {
        "data_hash": prices.data_hash,
        "synthetic": prices.synthetic,
        "source": prices.source,
        "series": str(prices.key),
        "span": prices.span,
        "settings": dict(settings),
    }

"""``carry calc``: one question answered with its working shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli import console
from cli.calc_view import payload, view
from cli.options import NUMBER, TiersAsOf, TiersFile, flattened
from crypto.errors import UsageError
from crypto.fees import round_trip_cost
from crypto.instruments import Kind, Pair
from crypto.units import BPS, parse_iso
from crypto.venues import registry
from crypto.worked import adl_queue, inputs
from crypto.worked import borrow as borrow_work
from crypto.worked.adl import answer_adl
from crypto.worked.answer import Answer, percent
from crypto.worked.contracts import DEFAULT_FEE_TIER, AccountQuestion, TierChoice
from crypto.worked.funding import FundingQuestion, answer_funding
from crypto.worked.liquidation import LiquidationQuestion, Mode, answer_liquidation
from crypto.worked.margin import MarginQuestion, answer_margin
from crypto.worked.size import SizeQuestion, answer_size
from data.settings import load_settings
from data.tiers import load_tiers

Venue = Annotated[str, typer.Option("--venue", help="Venue whose rules hold: binance, bybit, okx, hyperliquid, ...")]
KindOption = Annotated[str, typer.Option("--kind", help="Contracts: linear, or inverse (sizes in quote value).")]
Taker = Annotated[
    str | None, typer.Option("--taker", metavar=NUMBER, help="Taker fee, a fraction; else the venue's first fee tier.")
]


@dataclass(frozen=True, slots=True)
class Tiers:
    """The maintenance tiers that hold, given in one of three ways; else the latest shipped ones."""

    tier: Annotated[
        list[str] | None, typer.Option("--tier", help="SYMBOL=RATE/DEDUCTION: the maintenance tier, given by hand.")
    ] = None
    tiers: TiersFile = None
    as_of: TiersAsOf = None

    def choice(self, venue: str) -> TierChoice:
        """The tiers to take at a venue."""
        # The file has no date: it is taken to hold whenever it is asked for.
        listed = None if self.tiers is None else load_tiers(self.tiers, venue, "1970-01-01")
        as_of_ms = None if self.as_of is None else _instant("--as-of", self.as_of)
        return TierChoice(inputs.parse_tiers(self.tier or ()), listed, as_of_ms)


@dataclass(frozen=True, slots=True)
class Account:
    """Positions of one account at a venue."""

    venue: Venue
    position: Annotated[
        list[str], typer.Option("--position", help="SYMBOL:long|short:QUANTITY@ENTRY; may be given again.")
    ]
    mark: Annotated[
        list[str] | None, typer.Option("--mark", help="SYMBOL=PRICE, or a price alone for all symbols.")
    ] = None
    leverage: Annotated[
        list[str] | None, typer.Option("--leverage", help="SYMBOL=LEVERAGE, or a number for all symbols.")
    ] = None
    kind: KindOption = "linear"
    hedge: Annotated[bool, typer.Option("--hedge", help="Hedge mode: long and short of one symbol side by side.")] = (
        False
    )

    def question(self, tiers: Tiers, *, is_valued_at_entry: bool = False) -> AccountQuestion:
        """The account as the calculators take it; ``is_valued_at_entry``: entry prices stand for marks not given."""
        kind, held = inputs.contract_kind(self.kind), inputs.parse_positions(self.position)
        marks = inputs.by_symbol_or_all("--mark", self.mark or (), inputs.positive)
        if is_valued_at_entry and not marks:
            marks = {item.symbol: item.entry_price for item in held}
            console.note("No --mark: the position is valued at its entry price.")
        leverages = inputs.by_symbol_or_all("--leverage", self.leverage or (), inputs.positive)
        return AccountQuestion(self.venue, kind, held, marks, leverages, tiers.choice(self.venue), self.hedge)


def register(app: typer.Typer) -> None:
    """Add ``carry calc`` to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Answer one question, with the formula and its numbers shown.")
    for command in (liquidation, margin, adl, size, borrow, funding):
        group.command(command.__name__)(flattened(command))
    app.add_typer(group, name="calc")


def liquidation(
    *,
    account: Account,
    mode: Annotated[Mode, typer.Option("--mode", help="Margin mode.")] = Mode.CROSS,
    wallet: Annotated[
        str | None, typer.Option("--wallet", metavar=NUMBER, help="Cross: balance without unrealised profit.")
    ] = None,
    margin: Annotated[
        str | None, typer.Option("--margin", metavar=NUMBER, help="Isolated: margin on the position.")
    ] = None,
    extra_margin: Annotated[
        str, typer.Option("--extra-margin", metavar=NUMBER, help="Isolated: margin added later.")
    ] = "0",
    collateral: Annotated[
        list[str] | None,
        typer.Option("--collateral", help="SYMBOL=UNITS of base, after haircut, that moves with the price."),
    ] = None,
    taker: Taker = None,
    tiers: Tiers,
    as_json: console.JsonFlag = False,
) -> None:
    """Price at which the venue liquidates: cross, isolated or hedge mode, linear or inverse.

    Isolated margin is given by --margin, or follows from --leverage at the entry price; --mark may be left out there.

    Example: carry calc liquidation --venue binance --mode cross --wallet 10000 --position BTCUSDT:long:0.5@60000
    --mark 59000

    Example: carry calc liquidation --venue bybit --mode isolated --leverage 10 --position BTCUSDT:short:1@60000
    """
    question = LiquidationQuestion(
        account.question(tiers, is_valued_at_entry=mode is Mode.ISOLATED),
        mode,
        inputs.optional(inputs.positive, "--wallet", wallet),
        inputs.optional(inputs.positive, "--margin", margin),
        inputs.not_negative("--extra-margin", extra_margin),
        inputs.by_symbol("--collateral", collateral or (), inputs.number),
        inputs.optional(inputs.fraction, "--taker", taker),
    )
    _emit(answer_liquidation(question), as_json)


def margin(
    *,
    account: Account,
    wallet: Annotated[str, typer.Option("--wallet", metavar=NUMBER, help="Balance without unrealised profit.")],
    reserved: Annotated[
        str, typer.Option("--reserved", metavar=NUMBER, help="Initial margin that open orders hold.")
    ] = "0",
    taker: Taker = None,
    tiers: Tiers,
    as_json: console.JsonFlag = False,
) -> None:
    """Initial and maintenance margin of positions, margin ratio and risk of their account.

    Example: carry calc margin --venue binance --wallet 10000 --position BTCUSDT:short:2@30000 --mark 32000
    --leverage 10 --as-of 2024-11-01
    """
    question = MarginQuestion(
        account.question(tiers),
        inputs.positive("--wallet", wallet),
        inputs.not_negative("--reserved", reserved),
        inputs.optional(inputs.fraction, "--taker", taker),
    )
    _emit(answer_margin(question), as_json)


def adl(
    *,
    venue: Venue,
    position: Annotated[str, typer.Option("--position", help="SYMBOL:long|short:QUANTITY@ENTRY.")],
    mark: Annotated[str, typer.Option("--mark", metavar=NUMBER, help="Mark price.")],
    wallet: Annotated[
        str, typer.Option("--wallet", metavar=NUMBER, help="What backs the position, without its own profit.")
    ],
    other: Annotated[
        list[str] | None,
        typer.Option("--other", help="QUANTITY@ENTRY/WALLET of another account on our side; may be given again."),
    ] = None,
    deficit: Annotated[
        str | None, typer.Option("--deficit", metavar=NUMBER, help="Loss that the fund did not pay.")
    ] = None,
    bankrupt: Annotated[
        str | None, typer.Option("--bankrupt", metavar=NUMBER, help="Size of the bankrupt opposite position.")
    ] = None,
    kind: KindOption = "linear",
    lot: Annotated[
        str | None, typer.Option("--lot", metavar=NUMBER, help="Smallest size; else from the shipped filters.")
    ] = None,
    taker: Annotated[
        str | None, typer.Option("--taker", metavar=NUMBER, help="OKX: taker fee in its margin ratio.")
    ] = None,
    tiers: Tiers,
    as_json: console.JsonFlag = False,
) -> None:
    """Auto-deleveraging: score, light and bankruptcy price, and what a deficit would close of a position.

    The light needs the queue: give the other accounts of the same side with --other.

    Example: carry calc adl --venue binance --position ETHUSDT:short:10@4000 --mark 3600 --wallet 4000
    --other 5@3900/9000 --deficit 2000 --bankrupt 10
    """
    contract, held = inputs.contract_kind(kind), inputs.parse_position(position)
    price = inputs.positive("--mark", mark)
    question = adl_queue.AdlQuestion(
        venue,
        contract,
        held,
        price,
        inputs.positive("--wallet", wallet),
        adl_queue.lot_size(venue, contract, held.symbol, inputs.optional(inputs.positive, "--lot", lot)),
        _adl_account(venue, contract, held, price, tiers),
        adl_queue.parse_others(other or ()),
        inputs.optional(inputs.positive, "--deficit", deficit),
        inputs.optional(inputs.positive, "--bankrupt", bankrupt),
        inputs.optional(inputs.fraction, "--taker", taker),
    )
    _emit(answer_adl(question), as_json)


def size(
    spot: Annotated[str, typer.Option("--spot", help="Spot leg, venue:spot:SYMBOL.")],
    perp: Annotated[str, typer.Option("--perp", help="Perpetual leg, venue:linear:SYMBOL or venue:inverse:SYMBOL.")],
    price: Annotated[str, typer.Option("--price", metavar=NUMBER, help="Spot price.")],
    perp_price: Annotated[
        str | None,
        typer.Option("--perp-price", metavar=NUMBER, help="Perp price as the venue quotes it; else that of spot."),
    ] = None,
    capital: Annotated[
        str | None, typer.Option("--capital", metavar=NUMBER, help="Money for both legs, in quote.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", metavar=NUMBER, help="Wanted size, in base units.")] = None,
    leverage: Annotated[str, typer.Option("--leverage", metavar=NUMBER, help="Leverage of the perp.")] = "1",
    deploy: Annotated[
        str, typer.Option("--deploy", metavar=NUMBER, help="Share of the account that is deployed.")
    ] = "1",
    weight: Annotated[str, typer.Option("--weight", metavar=NUMBER, help="Share of that for this pair.")] = "1",
    spot_fee: Annotated[
        str | None, typer.Option("--spot-fee", metavar=NUMBER, help="Taker fee of spot; else the first fee tier.")
    ] = None,
    perp_fee: Annotated[
        str | None, typer.Option("--perp-fee", metavar=NUMBER, help="Taker fee of the perp; else the first fee tier.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings file whose instrument tables change the filters.")
    ] = None,
    as_json: console.JsonFlag = False,
) -> None:
    """Lots of both legs for a capital or a target, with both venues' filters, and the smallest capital that can hedge.

    Example: carry calc size --spot binance:spot:BTCUSDT --perp binance:linear:BTCUSDT --price 60000 --capital 10000
    --leverage 3
    """
    overrides = {} if config is None else load_settings(config).instruments
    with inputs.blaming("--spot"):
        spot_leg = registry.instrument(spot, overrides)
    with inputs.blaming("--perp"):
        pair = Pair(spot_leg, registry.instrument(perp, overrides))
    spot_rate = _taker("--spot-fee", spot_fee, pair.spot.venue, Kind.SPOT)
    spot_price = inputs.positive("--price", price)
    same_price = spot_price if pair.perp.kind is Kind.INVERSE else inputs.scaled(spot_price, pair.perp.multiplier)
    question = SizeQuestion(
        pair,
        spot_price,
        same_price if perp_price is None else inputs.positive("--perp-price", perp_price),
        inputs.optional(inputs.positive, "--target", target),
        inputs.optional(inputs.positive, "--capital", capital),
        inputs.positive("--leverage", leverage),
        spot_rate,
        _taker("--perp-fee", perp_fee, pair.perp.venue, pair.perp.kind),
        registry.venue(pair.spot.venue).fees[Kind.SPOT].spot_buy_fee_in_base,
        inputs.positive("--deploy", deploy),
        inputs.positive("--weight", weight),
    )
    _emit(answer_size(question), as_json)


def borrow(
    venue: Venue,
    amount: Annotated[str, typer.Option("--amount", metavar=NUMBER, help="Borrowed amount.")],
    start: Annotated[str, typer.Option("--from", help="Instant of the loan, ISO, UTC.")],
    until: Annotated[str, typer.Option("--until", help="Instant of repayment, ISO, UTC.")],
    asset: Annotated[str, typer.Option("--asset", help="Borrowed asset.")] = "USDT",
    hourly_rate: Annotated[str | None, typer.Option("--hourly-rate", metavar=NUMBER, help="Fraction per hour.")] = None,
    daily_rate: Annotated[str | None, typer.Option("--daily-rate", metavar=NUMBER, help="Fraction per day.")] = None,
    annual_rate: Annotated[
        str | None, typer.Option("--annual-rate", metavar=NUMBER, help="Fraction per 365 days.")
    ] = None,
    free_hours: Annotated[
        str, typer.Option("--free-hours", metavar=NUMBER, help="Charged hours that the venue waives.")
    ] = "0",
    as_json: console.JsonFlag = False,
) -> None:
    """Hours that a venue charges on a loan, and their interest.

    Example: carry calc borrow --venue binance --amount 1000 --hourly-rate 0.00001 --from 2024-10-18T13:55
    --until 2024-10-18T14:30
    """
    rates = {"--hourly-rate": hourly_rate, "--daily-rate": daily_rate, "--annual-rate": annual_rate}
    given = {flag: rate for flag, rate in rates.items() if rate is not None}
    if len(given) != 1:
        raise UsageError(
            f"{' and '.join(given)} contradict each other" if given else "the rate is missing",
            remedy=f"give one of {', '.join(rates)}",
        )
    ((flag, rate),) = given.items()
    question = borrow_work.BorrowQuestion(
        venue,
        asset,
        inputs.positive("--amount", amount),
        inputs.fraction(flag, rate),
        borrow_work.PERIOD_HOURS[flag],
        _instant("--from", start),
        _instant("--until", until),
        inputs.whole("--free-hours", free_hours),
    )
    _emit(borrow_work.answer_borrow(question), as_json)


def funding(
    side: Annotated[str, typer.Option("--side", help="long or short.")],
    quantity: Annotated[str, typer.Option("--quantity", metavar=NUMBER, help="Base units; inverse: value in quote.")],
    mark: Annotated[str, typer.Option("--mark", metavar=NUMBER, help="Mark price at the settlement.")],
    rate: Annotated[str, typer.Option("--rate", metavar=NUMBER, help="Funding rate of the interval, a fraction.")],
    interval_hours: Annotated[
        str, typer.Option("--interval-hours", metavar=NUMBER, help="Hours between settlements.")
    ] = "8",
    kind: KindOption = "linear",
    hours: Annotated[
        str | None, typer.Option("--hours", metavar=NUMBER, help="How long it is held, for the total.")
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option("--cost", metavar=NUMBER, help="Cost of getting in and out, a fraction of the notional."),
    ] = None,
    venue: Annotated[
        str | None, typer.Option("--venue", help="In place of --cost: the venue's taker fees on both legs, in and out.")
    ] = None,
    slippage_bps: Annotated[
        str, typer.Option("--slippage-bps", metavar=NUMBER, help="With --venue: slippage per fill, basis points.")
    ] = "0",
    as_json: console.JsonFlag = False,
) -> None:
    """Funding payment of a position, its annual rate, and how long funding takes to pay for the trade.

    Example: carry calc funding --side short --quantity 0.5 --mark 60000 --rate 0.0001 --venue binance
    """
    contract = inputs.contract_kind(kind)
    paid, working = _cost(contract, cost, venue, slippage_bps)
    question = FundingQuestion(
        contract,
        inputs.side_of("--side", side) * inputs.positive("--quantity", quantity),
        inputs.positive("--mark", mark),
        inputs.number("--rate", rate),
        inputs.positive("--interval-hours", interval_hours),
        paid,
        working,
        inputs.optional(inputs.not_negative, "--hours", hours),
    )
    _emit(answer_funding(question), as_json)


def _emit(answer: Answer, as_json: bool) -> None:
    console.emit(payload(answer), as_json, lambda: console.out.print(view(answer)))


def _instant(flag: str, text: str) -> int:
    with inputs.blaming(flag):
        return parse_iso(text)


def _adl_account(venue: str, kind: Kind, held: inputs.Held, mark: float, tiers: Tiers) -> AccountQuestion | None:
    if adl_queue.needs_maintenance(venue):
        return AccountQuestion(venue, kind, (held,), {held.symbol: mark}, {}, tiers.choice(venue))
    for flag, given in (("--tier", tiers.tier), ("--tiers", tiers.tiers), ("--as-of", tiers.as_of)):
        if given:
            raise UsageError(f"{flag}: {venue} ranks without maintenance margin", remedy=f"leave {flag} out")
    return None


def _taker(flag: str, given: str | None, venue: str, kind: Kind) -> float:
    if given is not None:
        return inputs.fraction(flag, given)
    return registry.venue(venue).fees[kind].rates(DEFAULT_FEE_TIER).taker


def _cost(kind: Kind, cost: str | None, venue: str | None, slippage_bps: str) -> tuple[float | None, str]:
    slippage_given = inputs.not_negative("--slippage-bps", slippage_bps)
    if venue is None:
        if slippage_given:
            raise UsageError(
                f"--slippage-bps = {slippage_bps} without --venue", remedy="give --venue, or put it in --cost"
            )
        return (inputs.optional(inputs.fraction, "--cost", cost)), ""
    if cost is not None:
        raise UsageError("--cost and --venue contradict each other", remedy="give one of them")
    inputs.known("--venue", venue, registry.VENUES)
    slippage = float(inputs.rational(slippage_given) * inputs.rational(BPS))
    spot, perp = _taker("", None, venue, Kind.SPOT), _taker("", None, venue, kind)
    parts = " + ".join(percent(part) for part in (spot, perp, slippage, slippage))
    return round_trip_cost(spot, perp, slippage, slippage), f"2 x ({parts})"

"""From settings and market history to the arrays of a run. Everything that can be refused is refused here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crypto import fees, rounding
from crypto.errors import DataError, SettingsError
from crypto.instruments import Instrument, Kind, Pair
from crypto.ledger import LEDGER, Component
from crypto.market import Floats, InstrumentHistory, MarketHistory
from crypto.pipeline.features import FEATURES
from crypto.pipeline.orders import ORDER
from crypto.pipeline.post_trade import TRIP
from crypto.pipeline.rules import build_rules
from crypto.pipeline.signal import POSITION
from crypto.settings import AccountModel, FirstLeg, PriceSource, Settings, Style
from crypto.simulator.adl_tables import adl_tables
from crypto.simulator.fee_coin_tables import coin_histories, coin_prices, opening_coins, use_coins
from crypto.simulator.gaps import borrow_table, settlement_table
from crypto.simulator.margin_tables import margin_tables
from crypto.simulator.state import (
    BAR_COLUMNS,
    CLOSE,
    COIN_PRICED,
    HOLDING,
    INVERSE,
    JOURNAL,
    LEG,
    LINEAR,
    MARK_HIGH,
    MARK_LOW,
    MAX_TRANSFERS,
    OPEN,
    PAIR,
    QUOTE,
    RUN,
    RUNNING,
    SERIES_COLUMNS,
    SPOT,
    TRANSFER,
    VALUE,
    WALLET,
    World,
)
from crypto.tiers import TierBook
from crypto.units import BPS, parse_iso
from crypto.venues.base import Venue
from crypto.venues.discounts import FeeCoin, fee_coins
from crypto.venues.registry import check_overrides
from crypto.venues.registry import pair as find_pair
from crypto.venues.registry import venue as find_venue
from crypto.venues.shipped_tiers import SHIPPED_TIERS

KIND_CODES = {Kind.SPOT: SPOT, Kind.LINEAR: LINEAR, Kind.INVERSE: INVERSE}
ACCOUNT_QUOTES = {"USDT": {"USDT", "USD"}}  # quotes that count one to one; inverse contracts are quoted in USD
_MARGIN_QUOTE = "USD"
LEAN_CASH_BOOK = "lean:cash_book"  # the one wallet of run.account = "lean"


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the rows of a world's arrays."""

    pairs: tuple[str, ...]
    wallets: tuple[str, ...]
    assets: tuple[str, ...]
    instruments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setup:
    """A world ready to run, the names of its rows and what the preparation noticed.

    ``rearm_ms``: when a person re-arms the kill switch, ascending.
    """

    world: World
    names: Names
    notes: tuple[str, ...]
    rearm_ms: tuple[int, ...] = ()


def records(dtype: np.dtype[Any], rows: int) -> Any:
    """Zeroed structured array whose rows have attributes."""
    return np.zeros(rows, dtype).view(np.recarray)


def build(settings: Settings, market: MarketHistory, book: TierBook | None = None) -> Setup:
    """Prepare a run; ``SettingsError``, ``DataError`` or ``RefusedError`` name what does not fit together.

    ``book``: leverage tiers of the user's own; a contract in it has no others.
    """
    check_overrides(settings.instruments)
    pairs = tuple(find_pair(item.spot, item.perp, settings.instruments) for item in settings.pairs)
    _check_pairs(pairs, settings)
    coins = fee_coins(settings)
    instruments = tuple(leg for pair in pairs for leg in (pair.spot, pair.perp))
    wallets, wallet_of = _wallets(instruments, settings)
    assets = _assets(instruments, settings, coins)
    histories = tuple(_history(market, leg.key) for leg in instruments)
    rules = build_rules(settings, int(market.open_ms[0]), market.bar_ms)
    rules[0].account_asset = assets.index(settings.run.account_currency)
    rules[0].transit = len(wallets) - 1
    notes: list[str] = []
    legs = _legs(pairs, settings, wallet_of, wallets, assets)
    use_coins(coins, instruments, legs, wallets, settings)
    tables = settlement_table(histories, legs, market, settings, notes)
    values = _valuation(histories, settings, notes)
    priced = coin_histories(coins, market)
    values += coin_prices(coins, priced, market, notes)
    bars = _bars((*histories, *priced), values, on_mark=settings.data.valuation_price is PriceSource.MARK)
    start_ms, bar_ms = int(market.open_ms[0]), int(market.bar_ms)
    period = (start_ms, start_ms + bar_ms * int(market.open_ms.size))
    tiers, tier_tables = margin_tables(instruments, legs, settings, _with_shipped(book), period, notes)
    rules[0].shared_contracts = int(legs.shares_contract.any())
    events, queue = adl_tables(instruments, legs, bars, tiers, tier_tables, (start_ms, bar_ms), settings)
    world = World(
        bars=bars,
        settlements=tables.rows,
        borrow=borrow_table(pairs, market, settings),
        rules=rules,
        tiers=tiers,
        tier_tables=tier_tables,
        adl_events=events,
        adl_queue=queue,
        oracle=_oracle(pairs, market),
        wallets=_wallet_table(wallets),
        holdings=_holdings(legs, wallets, assets, settings, coins),
        coins=opening_coins(coins, assets, bars[len(instruments) :, 0, OPEN]),
        legs=legs,
        pairs=_pairs(pairs, settings, legs, tables.first),
        quotes=records(QUOTE, len(pairs)),
        features=records(FEATURES, len(pairs)),
        positions=records(POSITION, len(pairs)),
        transfers=records(TRANSFER, MAX_TRANSFERS),
        run=records(RUN, 1),
        ledger=records(LEDGER, 4096),
        orders=records(ORDER, 1024),
        journal=records(JOURNAL, 4096),
        trips=records(TRIP, 256),
        **_series(market.open_ms.size, len(pairs), len(wallets)),
    )
    names = Names(tuple(pair.name for pair in pairs), wallets, assets, tuple(leg.key for leg in instruments))
    _start(world, settings, names)
    return Setup(world, names, tuple(notes), tuple(sorted(parse_iso(text) for text in settings.risk.rearm)))


def _oracle(pairs: Sequence[Pair], market: MarketHistory) -> Any:
    """Oracle status by pair and bar, the worse of asset and perp; good throughout where the market brings neither."""
    table = np.zeros((len(pairs), market.open_ms.size), dtype=np.int8)
    for number, pair in enumerate(pairs):
        for name in (pair.perp.base, pair.perp.key):
            if name in market.oracle:
                table[number] = np.maximum(table[number], market.oracle[name])
    return table


def _with_shipped(book: TierBook | None) -> TierBook:
    """The user's tiers, and the shipped ones of the contracts that the user gave none for."""
    if book is None:
        return SHIPPED_TIERS
    return TierBook([*book.tables(), *(table for table in SHIPPED_TIERS.tables() if table.key not in book.keys)])


def _series(bars: int, pairs: int, wallets: int) -> dict[str, Floats]:
    return {
        "wallet_equity": np.zeros((bars + 1, wallets)),
        # Written here: pages of zeros that are only promised cost the loop two faults each, one to read, one to write.
        "attribution": np.full((bars + 1, 2 * pairs + wallets, len(Component)), 0.0),
        "series": np.full((bars + 1, pairs, SERIES_COLUMNS), math.nan),
    }


def _check_pairs(pairs: Sequence[Pair], settings: Settings) -> None:
    if not pairs:
        raise SettingsError("no pair is configured", remedy="add a [[pairs]] table with spot and perp")
    currency = settings.run.account_currency
    quotes = ACCOUNT_QUOTES.get(currency, {currency})
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        for leg in (pair.spot, pair.perp):
            if leg.quote not in quotes or (leg.quote == _MARGIN_QUOTE and leg.kind is not Kind.INVERSE):
                raise SettingsError(
                    f"{leg.key} is quoted in {leg.quote}, the account currency is {currency}",
                    remedy=f"use instruments quoted in {currency}, or set run.account_currency",
                )
        key = (pair.spot.key, pair.perp.key)
        if key in seen:
            raise SettingsError(
                f"pair {key[0]} / {key[1]} is listed twice", remedy="list each pair once, with its weight"
            )
        seen.add(key)


def wallet_name(instrument: Instrument, account: AccountModel = AccountModel.VENUE) -> str:
    """Wallet (``venue:name``) in which an instrument's balance and margin live; Lean has one for all."""
    if account is AccountModel.LEAN:
        return LEAN_CASH_BOOK
    return f"{instrument.venue}:{find_venue(instrument.venue).wallets[instrument.kind]}"


def _wallets(instruments: Sequence[Instrument], settings: Settings) -> tuple[tuple[str, ...], dict[str, str]]:
    used = {leg.key: wallet_name(leg, settings.run.account) for leg in instruments}
    names = sorted(set(used.values()))
    for name in settings.wallets:
        if name not in names:
            raise SettingsError(
                f'[wallets."{name}"] belongs to no configured pair', remedy=f"wallets of this run: {', '.join(names)}"
            )
    return (*names, "in transit"), used


def _assets(instruments: Sequence[Instrument], settings: Settings, coins: Sequence[FeeCoin]) -> tuple[str, ...]:
    bases = {leg.base for leg in instruments}
    paying = {(coin.venue, coin.asset) for coin in coins}
    for name, amounts in settings.wallets.items():
        for asset in amounts:
            known = asset in bases or (name.split(":")[0], asset) in paying
            if asset != settings.run.account_currency and not known:
                raise SettingsError(
                    f'[wallets."{name}"] holds {asset}, which no pair prices',
                    remedy=f"hold {settings.run.account_currency} or one of {', '.join(sorted(bases))}",
                )
    return (settings.run.account_currency, *sorted(bases | {coin.asset for coin in coins}))


def _history(market: MarketHistory, key: str) -> InstrumentHistory:
    try:
        return market.instrument(key)
    except KeyError:
        raise DataError(f"no market history for {key}", remedy="ingest its bars, or take the pair out") from None


def _bars(histories: Sequence[InstrumentHistory], values: Sequence[Floats], *, on_mark: bool) -> Floats:
    """All bars as (leg, bar, column), columns as in crypto.simulator.state; a bar without volume is no bar.

    Extremes of the mark: of the mark's own bar, else of the opens and closes that were traded, never of single prints.
    """
    table = np.full((len(histories), values[0].size, BAR_COLUMNS), math.nan)
    for leg, (history, value) in enumerate(zip(histories, values, strict=True)):
        bars = history.bars
        for column, source in enumerate((bars.open, bars.high, bars.low, bars.close, bars.volume)):
            table[leg, :, column] = np.where(bars.volume > 0.0, source, math.nan)
        table[leg, :, VALUE] = value
        if history.settlements is not None:
            traded = table[leg, :, [OPEN, CLOSE]]
            high, low = np.fmax(*traded), np.fmin(*traded)
            if history.mark is not None and on_mark:
                high = np.where(np.isnan(history.mark.high), high, history.mark.high)
                low = np.where(np.isnan(history.mark.low), low, history.mark.low)
            table[leg, :, MARK_HIGH], table[leg, :, MARK_LOW] = high, low
    return table


def forward_fill(values: Floats) -> Floats:
    """Last known value at each position; leading NaN stay."""
    index = np.where(np.isnan(values), 0, np.arange(values.size))
    filled: Floats = values[np.maximum.accumulate(index)]
    return filled


def _valuation(histories: Sequence[InstrumentHistory], settings: Settings, notes: list[str]) -> list[Floats]:
    """Valuation prices: perps on mark (on the last trade where a bar has no mark), spot on its last trade.

    While the spot venue prints nothing, its last price moves with the perp: a stale price against a live one would show
    profits and drawdowns that are not there.
    """
    rows: list[Floats] = []
    for history in histories:
        price = _traded_close(history)
        if history.settlements is not None and settings.data.valuation_price is PriceSource.MARK:
            mark = history.mark.close if history.mark is not None else np.full(price.size, math.nan)
            absent = int(np.isnan(mark).sum())
            if absent:
                notes.append(
                    f"{history.key}: {absent} of {price.size} bars have no mark and are valued on the last trade"
                )
            price = np.where(np.isnan(mark), price, mark)
        rows.append(forward_fill(price))
    first: dict[str, int] = {}  # legs on one spot market share one valuation
    for leg in range(0, len(histories), 2):
        if histories[leg].key in first:
            rows[leg] = rows[first[histories[leg].key]]
            continue
        first[histories[leg].key] = leg
        closes = _traded_close(histories[leg])
        if settings.run.account is AccountModel.LEAN:  # Lean values everything on its last trade
            rows[leg] = forward_fill(closes)
            continue
        rows[leg] = _carried(closes, rows[leg + 1])
        absent = int(np.isnan(closes).sum())
        if absent:
            notes.append(
                f"{histories[leg].key}: {absent} bars without a trade are valued by the perp's move since the last one"
            )
    return rows


def _traded_close(history: InstrumentHistory) -> Floats:
    """Closes of the bars in which something traded; NaN elsewhere."""
    return np.where(history.bars.volume > 0.0, history.bars.close, math.nan)


def _carried(spot: Floats, perp: Floats) -> Floats:
    """Spot closes with gaps filled by the last close times the perp's move since; leading NaN stay."""
    last = np.maximum.accumulate(np.where(np.isnan(spot), 0, np.arange(spot.size)))
    carried: Floats = spot[last] * perp / perp[last]
    return np.where(np.isnan(spot), carried, spot)


def _legs(
    pairs: Sequence[Pair],
    settings: Settings,
    wallet_of: Mapping[str, str],
    wallets: Sequence[str],
    assets: Sequence[str],
) -> Any:
    legs = records(LEG, 2 * len(pairs))
    for number, pair in enumerate(pairs):
        step = rounding.joint_step(pair.spot, pair.perp)
        for side, instrument in enumerate((pair.spot, pair.perp)):
            row = legs[2 * number + side]
            row.pair = number
            row.wallet = wallets.index(wallet_of[instrument.key])
            row.settle_asset = assets.index(
                instrument.base if instrument.kind is Kind.INVERSE else settings.run.account_currency
            )
            row.base_asset = assets.index(instrument.base)
            row.step_lots = step.perp_lots
            _fill_leg(row, instrument, settings)
    return legs


def _fill_leg(row: Any, instrument: Instrument, settings: Settings) -> None:
    owner = find_venue(instrument.venue)
    inverse = instrument.kind is Kind.INVERSE
    row.kind = KIND_CODES[instrument.kind]
    row.units_per_lot = float(instrument.lot)
    row.base_per_lot = math.nan if inverse else float(instrument.value_per_lot)
    row.quote_per_lot = float(instrument.value_per_lot) if inverse else math.nan
    row.multiplier = 1.0 if inverse else float(instrument.multiplier)
    maker, taker = fee_rates(instrument, owner, settings)
    row.maker, row.taker = maker, taker
    spot = instrument.kind is Kind.SPOT
    row.fee_in_base = int(spot and settings.fees.spot_buy_fee_in_base and owner.fees[Kind.SPOT].spot_buy_fee_in_base)
    slippage = settings.slippage
    row.half_spread = (slippage.spot_half_spread_bps if spot else slippage.perp_half_spread_bps) * BPS
    row.impact = slippage.impact_bps * BPS
    row.min_lots = max(1, math.ceil(instrument.min_quantity / instrument.lot))
    row.min_notional = float(instrument.min_notional)
    row.closing_exempt = int(instrument.closing_may_be_below_min_notional)
    row.tick = float(instrument.tick)
    row.grace_ms = 0 if spot else owner.settlement_grace_ms
    row.charge_at_borrow = int(owner.borrow.charge_at_borrow)
    row.borrow_offset_ms = owner.borrow.mark_offset_ms
    row.compounds = int(owner.borrow.compounds)
    row.value_price = math.nan
    row.order = -1


def fee_rates(instrument: Instrument, owner: Venue, settings: Settings) -> tuple[float, float]:
    """Maker and taker rate of an instrument on its venue: its tier's, or what the settings put in their place."""
    tier = settings.fees.tier.get(instrument.venue, "VIP0")
    override = settings.fees.override.get(instrument.key, {})
    for name in override:
        if name not in {"maker", "taker"}:
            raise SettingsError(
                f'[fees.override."{instrument.key}"] has unknown key {name!r}',
                remedy="give maker and taker as fractions",
            )
    if len(override) == len(("maker", "taker")):
        return override["maker"], override["taker"]
    rates = owner.fees[instrument.kind].rates(tier)
    return override.get("maker", rates.maker), override.get("taker", rates.taker)


def _pairs(pairs: Sequence[Pair], settings: Settings, legs: Any, first_settlement: Sequence[int]) -> Any:
    table = records(PAIR, len(pairs))
    total = sum(item.weight for item in settings.pairs)
    for number, item in enumerate(settings.pairs):
        row, spot, perp = table[number], legs[2 * number], legs[2 * number + 1]
        row.weight = item.weight / total
        row.round_trip_cost = _round_trip_cost(spot, perp, settings, discounted=True)
        row.usual_cost = _round_trip_cost(spot, perp, settings, discounted=False)
        row.borrow_allowed = int(settings.borrow.enabled)
        row.entry_basis = math.nan
        row.basis_mean = math.nan
        row.trip = -1
        row.last_signal = -1
        row.last_decision = -1
        row.feature_settle = first_settlement[number]
    return table


def _round_trip_cost(spot: Any, perp: Any, settings: Settings, *, discounted: bool) -> float:
    """Entry and exit as takers, less what a maker's first leg saves on entry (the smaller saving for the thin leg)."""

    def paid(leg: Any, rate: float) -> float:
        return rate * (1.0 - leg.discount) if discounted and rate > 0.0 else rate

    cost = fees.round_trip_cost(paid(spot, spot.taker), paid(perp, perp.taker), spot.half_spread, perp.half_spread)
    if settings.execution.style is not Style.MAKER_FIRST:
        return float(cost)
    sides = ((FirstLeg.SPOT, spot), (FirstLeg.PERP, perp))
    savings = {side: paid(leg, leg.taker) - paid(leg, leg.maker) + leg.half_spread for side, leg in sides}
    return float(cost - savings.get(settings.execution.first_leg, min(savings.values())))


def _holdings(
    legs: Any, wallets: Sequence[str], assets: Sequence[str], settings: Settings, coins: Sequence[FeeCoin]
) -> Any:
    """Empty holdings; an asset is priced by the spot leg in its wallet, else by the first pair of that asset.

    A coin that pays a venue's fees has its own price in the venue's wallets.
    """
    table = np.zeros((len(wallets), len(assets)), HOLDING).view(np.recarray)
    price = np.full((len(wallets), len(assets)), -2, dtype=np.int64)
    price[:, assets.index(settings.run.account_currency)] = -1
    spots = range(legs.size - 2, -1, -2)
    for leg in spots:
        price[:, legs[leg].base_asset] = leg
    for leg in spots:
        price[legs[leg + 1].wallet, legs[leg].base_asset] = leg
    for leg in spots:
        price[legs[leg].wallet, legs[leg].base_asset] = leg
    for number, coin in enumerate(coins):
        of_venue = [name.startswith(f"{coin.venue}:") for name in wallets]
        price[of_venue, assets.index(coin.asset)] = COIN_PRICED - number
    table.price_leg[:] = price
    return table


def _wallet_table(wallets: Sequence[str]) -> Any:
    venues = [name.split(":")[0] for name in wallets]
    table = records(WALLET, len(wallets))
    table.venue[:] = [venues.index(name) for name in venues]
    return table


def _start(world: World, settings: Settings, names: Names) -> None:
    """Opening balances in wallets, treasury and ledger; prices of the first open."""
    run = world.run[0]
    run.status = RUNNING
    run.time_ms = world.rules[0].start_ms
    run.hour = -1
    world.legs.value_price[:] = world.bars[: world.legs.size, 0, OPEN]
    for name, amounts in settings.wallets.items():
        for asset_name, amount in amounts.items():
            if amount != 0.0:
                _deposit(world, names.wallets.index(name), names.assets.index(asset_name), amount, asset_name)
    for wallet in range(len(names.wallets)):
        for asset in range(len(names.assets)):
            balance = world.holdings[wallet, asset].balance
            if balance != 0.0:
                world.wallet_equity[0, wallet] += balance * _price(world, wallet, asset)
    run.equity = run.peak_equity = float(world.wallet_equity[0].sum())
    if run.equity <= 0.0:
        raise SettingsError(
            "the wallets hold nothing", remedy='give starting balances, for example [wallets."binance:spot"]'
        )


def _price(world: World, wallet: int, asset: int) -> float:
    leg = int(world.holdings[wallet, asset].price_leg)
    if leg <= COIN_PRICED:
        return float(world.coins[COIN_PRICED - leg].price)
    return 1.0 if leg == -1 else float(world.legs[leg].value_price)


def _deposit(world: World, wallet: int, asset: int, amount: float, asset_name: str) -> None:
    price = _price(world, wallet, asset)
    if math.isnan(price):
        raise DataError(
            f"{asset_name} is held at the start, but its spot market has no first bar",
            remedy="start the run where the spot leg has a price, or hold account currency only",
        )
    world.holdings[wallet, asset].balance = amount
    world.holdings[wallet, asset].treasury = amount
    run = world.run[0]
    row = world.ledger[run.ledger_rows]
    row.time_ms, row.wallet, row.asset = run.time_ms, wallet, asset
    row.leg = row.order = -1
    row.amount, row.value, row.price = amount, amount * price, price
    run.ledger_rows += 1

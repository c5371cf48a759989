"""Coins that pay fees, for the arrays of a run: which legs they serve, what they are worth bar by bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from crypto.errors import DataError
from crypto.instruments import Instrument
from crypto.market import Bars, Floats, InstrumentHistory, Integers, MarketHistory
from crypto.settings import Settings
from crypto.simulator.state import COIN
from crypto.units import DAY_MS, iso
from crypto.venues.discounts import FeeCoin

MAX_AGE_MS = DAY_MS  # of a coin's last price: our choice, as for the empty ends of a run


def use_coins(
    coins: Sequence[FeeCoin], instruments: Sequence[Instrument], legs: Any, wallets: Sequence[str], settings: Settings
) -> None:
    """Tell every leg which coin pays its fees: its venue's, where the leg's own wallet holds some at the start."""
    legs.fee_coin[:] = -1
    for number, coin in enumerate(coins):
        held = coin.held(settings)
        for leg, instrument in enumerate(instruments):
            serves = instrument.venue == coin.venue and instrument.kind in coin.shares
            if serves and wallets[legs[leg].wallet] in held:
                legs[leg].fee_coin = number
                legs[leg].discount = coin.shares[instrument.kind]


def coin_histories(coins: Sequence[FeeCoin], market: MarketHistory) -> tuple[InstrumentHistory, ...]:
    """History of every coin's spot market; ``DataError`` saying what to fetch where there is none."""
    found = []
    for coin in coins:
        try:
            found.append(market.instrument(coin.market))
        except KeyError:
            raise missing_bars(coin) from None
    return tuple(found)


def missing_bars(coin: FeeCoin) -> DataError:
    """The error for a coin that nothing prices."""
    symbol = coin.market.split(":")[2]
    return DataError(
        f"fees.discount.{coin.venue}: no bars of {coin.market}, which price {coin.asset}",
        remedy=f"carry fetch bars --venue {coin.venue} --kind spot --symbol {symbol}, or carry ingest",
    )


def coin_prices(
    coins: Sequence[FeeCoin], histories: Sequence[InstrumentHistory], market: MarketHistory, notes: list[str]
) -> list[Floats]:
    """Last known close of every coin at every bar's end.

    ``DataError`` for a coin without a first bar, or with none for longer than ``MAX_AGE_MS``; a shorter gap is noted.
    """
    return [
        _prices(coin, history.bars, market.open_ms, market.bar_ms, notes)
        for coin, history in zip(coins, histories, strict=True)
    ]


def _prices(coin: FeeCoin, bars: Bars, open_ms: Integers, bar_ms: int, notes: list[str]) -> Floats:
    printed = (bars.volume > 0.0) & ~np.isnan(bars.close)
    known = np.flatnonzero(printed)
    if not printed[0]:
        raise DataError(
            f"{coin.market} has no bar at {iso(int(open_ms[0]))}, where the run starts with {coin.asset}",
            remedy="start the run where it has one, or fetch more of it",
        )
    last = np.maximum.accumulate(np.where(printed, np.arange(printed.size), 0))
    oldest = int(np.argmax(np.arange(printed.size) - last))
    if (oldest - last[oldest]) * bar_ms > MAX_AGE_MS:
        raise DataError(
            f"{coin.market} has no bar from {iso(int(open_ms[last[oldest]]) + bar_ms)} on for more than a day, "
            f"so nothing prices {coin.asset}",
            remedy=f"fetch that stretch of it, or set fees.discount.{coin.venue}.enabled to false",
        )
    if known.size < printed.size:
        notes.append(f"{coin.market}: {printed.size - known.size} bars without a trade have the close before them")
    filled: Floats = bars.close[last]
    return filled


def opening_coins(coins: Sequence[FeeCoin], assets: Sequence[str], prices: Floats) -> Any:
    """The coins at their ``prices`` at the start."""
    table = np.zeros(len(coins), COIN).view(np.recarray)
    for number, coin in enumerate(coins):
        table[number].asset = assets.index(coin.asset)
        table[number].price = prices[number]
    return table

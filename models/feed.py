"""Data adapter: what closed in a bar, from Lean's securities, with marks read at the start of the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from AlgorithmImports import QCAlgorithm, SymbolProperties, SymbolPropertiesDatabase, TradeBars

from crypto.instruments import Instrument, Kind
from crypto.market import MarketHistory
from crypto.settings import PriceSource, Settings
from crypto.simulator.hosted import HostedExchange
from crypto.venues.discounts import fee_coins
from crypto.venues.registry import instrument
from models.borrow import pay_interest
from models.convert import milliseconds, resolution, security_type
from models.funding import pay_settlements
from models.legs import Leg, LegBook

_NO_BAR = (math.nan, 0.0)
_NO_MARK = (math.nan, (math.nan, math.nan))


_Marks = list[tuple[float, tuple[float, float]]]  # by bar: close, lowest and highest, venue quote; NaN: no mark


class BarFeed:
    """Reads Lean's securities once per bar. They are kept here, because finding one costs more than reading it."""

    def __init__(
        self,
        exchange: HostedExchange,
        book: LegBook,
        market: MarketHistory,
        settings: Settings,
        decide: Callable[[], None],
    ) -> None:
        self._exchange, self._book, self._decide = exchange, book, decide
        self.start_ms, self.bar_ms = int(market.open_ms[0]), market.bar_ms
        self.end_ms = int(market.open_ms[-1]) + market.bar_ms
        self.seen_ms = self._begun_ms = self.start_ms
        on_mark = settings.data.valuation_price is PriceSource.MARK
        self._pays_on_last = settings.funding.price is PriceSource.LAST
        self._pairs = [
            (spot, perp, _marks(market, perp, on_mark))
            for spot, perp in zip(book.legs[::2], book.legs[1::2], strict=True)
        ]
        self._coins = [instrument(coin.market, settings.instruments) for coin in fee_coins(settings)]
        self._symbols = len({leg.instrument.key for leg in book.legs}) + len(self._coins)

    def subscribe(self, algorithm: QCAlgorithm, timeframe: str) -> None:
        """Add every security, spot first: the first spot market of a coin becomes its conversion rate."""
        self.algorithm = algorithm
        for found in self._coins:  # Lean converts what it holds of a coin at this market's price
            register_properties(found)
            algorithm.add_crypto(LegBook.ticker(found), resolution(timeframe), found.venue, False)
        for leg in sorted(self._book.legs, key=lambda leg: leg.index % 2):
            register_properties(leg.instrument)
            add = algorithm.add_crypto if leg.instrument.kind is Kind.SPOT else algorithm.add_crypto_future
            name, market = LegBook.ticker(leg.instrument), leg.instrument.venue
            leg.security = add(name, resolution(timeframe), market, False)
            leg.symbol = leg.security.symbol

    def begin(self, now_ms: int, bars: TradeBars) -> bool:
        """Whether it is the strategy's turn: the bars of ``now_ms`` are closed, and it has not been asked before."""
        self.close_bars(now_ms, bars)
        if self._begun_ms == now_ms or self.seen_ms != now_ms:
            return False
        self._begun_ms = now_ms
        self._exchange.measure()
        return True

    def close_now(self) -> None:
        """Take the bars of the present slice into the exchange, before what Lean does with them."""
        self.close_bars(milliseconds(self.algorithm.time), self.algorithm.current_slice.bars)

    def close_bars(self, now_ms: int, bars: TradeBars) -> None:
        """Take the bars up to ``now_ms`` into the exchange, once; a time between bars or outside the run is ignored."""
        if now_ms <= self.seen_ms or now_ms % self.bar_ms or now_ms > self.end_ms:
            return
        if self.seen_ms + self.bar_ms < now_ms:
            self.close_gaps(now_ms)
        self._close(now_ms, bars)

    def close_gaps(self, now_ms: int) -> None:
        """Close the bars before the one that ends at ``now_ms``, which Lean skipped because nothing printed at all.

        Each has its settlements and interest first, and the strategy has its turn; no order can fill.
        """
        while self.seen_ms + self.bar_ms < min(now_ms, self.end_ms):
            end_ms = self.seen_ms + self.bar_ms
            self._pay(end_ms)
            self._close(end_ms, None)
            self._exchange.measure()
            self._decide()

    def _pay(self, end_ms: int) -> None:
        for leg in self._book.legs:
            security: Any = leg.security
            if leg.index % 2 == 0:
                pay_interest(self._exchange, leg, security, end_ms)
            else:
                pay_settlements(self._exchange, leg, security, end_ms, on_last_price=self._pays_on_last)

    def _close(self, now_ms: int, bars: TradeBars | None) -> None:
        exchange, complete = self._exchange, bars is not None and bars.count == self._symbols
        index = (now_ms - self.start_ms) // self.bar_ms - 1
        for pair, (spot, perp, marks) in enumerate(self._pairs):
            printed = _bar(perp, bars, complete)
            mark, extremes = _NO_MARK if marks is None else marks[index]
            if extremes[0] != extremes[0] and printed[1] > 0.0:
                extremes = _traded(perp, printed[0])
            exchange.see(pair, _bar(spot, bars, complete), printed, mark, extremes)
        self.seen_ms = now_ms
        exchange.close_bar(now_ms)


def _traded(leg: Leg, close: float) -> tuple[float, float]:
    """Lower and higher of a bar's open and close, which stand for the extremes of a mark that is not known."""
    security: Any = leg.security
    return min(security.open, close), max(security.open, close)


def _marks(market: MarketHistory, leg: Leg, on_mark: bool) -> _Marks | None:
    history = market.instrument(leg.instrument.key).mark
    if history is None or not on_mark:
        return None
    extremes = zip(history.low.tolist(), history.high.tolist(), strict=True)
    return list(zip(history.close.tolist(), extremes, strict=True))


def _bar(leg: Leg, bars: Any, complete: bool) -> tuple[float, float]:
    """Close and volume of a bar. A security keeps its volume where a bar has none, so the same twice is looked at."""
    security: Any = leg.security
    if complete or (bars is not None and bars.contains_key(leg.symbol)):
        volume = security.volume
        if volume == leg.volume and bars[leg.symbol].volume == 0.0:
            return _NO_BAR
        leg.volume = volume
        return security.price, volume
    return _NO_BAR


def register_properties(found: Instrument) -> None:
    """Tick, lot and smallest quantity of our tables, in force for securities added afterwards (lean-measured.md G)."""
    multiplier = float(found.multiplier) if found.kind is Kind.INVERSE else 1.0
    SymbolPropertiesDatabase.from_data_folder().set_entry(
        found.venue,
        LegBook.ticker(found),
        security_type(found.kind),
        SymbolProperties(
            found.key,
            found.quote,
            multiplier,
            float(found.tick),
            float(found.lot),
            found.symbol,
            float(found.min_quantity),
        ),
    )


def starting_cash(exchange: HostedExchange) -> dict[str, tuple[float, float]]:
    """Amount of each asset over all wallets at the start, and its price in account currency.

    Without a price Lean counts a coin as nothing until its market prints, and a run that begins with nothing ends.
    """
    return {asset: (amount, exchange.price(asset)) for asset, amount in exchange.balances().items() if amount != 0.0}

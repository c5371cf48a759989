"""Equity and balances of a run computed again, in fractions, from its ledger, its fills and the market's prices alone.

Profit of a perp is taken as cash out of every fill against the value of what is held, so no average entry price is
needed and none of the simulator's position keeping is trusted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from crypto.instruments import Instrument, Kind
from crypto.ledger import Flow
from crypto.market import Floats, InstrumentHistory, MarketHistory
from crypto.result import BacktestResult
from crypto.settings import PriceSource, Settings
from crypto.venues.discounts import fee_coins
from crypto.venues.registry import instrument

RELATIVE = 1e-9


def _known_so_far(opening: float, closes: Floats) -> list[Fraction | None]:
    """Last known price at each instant, the opening price before any close."""
    known = None if math.isnan(opening) else Fraction(float(opening))
    prices = [known]
    for close in closes:
        known = known if math.isnan(close) else Fraction(float(close))
        prices.append(known)
    return prices


def perp_valuation(history: InstrumentHistory, source: PriceSource) -> list[Fraction | None]:
    """Mark where there is one, else the last trade; the last known one where there is neither."""
    closes: Floats = history.bars.close
    if source is PriceSource.MARK and history.mark is not None:
        closes = np.where(np.isnan(history.mark.close), closes, history.mark.close)
    return _known_so_far(float(history.bars.open[0]), closes)


def spot_valuation(history: InstrumentHistory, perp: list[Fraction | None]) -> list[Fraction | None]:
    """Last trade; while the spot venue prints nothing, its last price moves with the perp's valuation."""
    prices = _known_so_far(float(history.bars.open[0]), history.bars.close)
    last = 0
    for instant in range(1, len(prices)):
        price, then, now = prices[last], perp[last], perp[instant]
        if not math.isnan(history.bars.close[instant - 1]):
            last = instant
        elif last > 0 and price is not None and then is not None and now is not None:
            prices[instant] = price * now / then
    return prices


def coin_valuation(history: InstrumentHistory) -> list[Fraction]:
    """Last trade of a coin that pays fees, which has to have a first one."""
    prices = _known_so_far(float(history.bars.open[0]), history.bars.close)
    return [price for price in prices if price is not None]


class Replay:
    """Balances by (wallet, asset), debts and perp profits by leg up to an instant."""

    def __init__(self, result: BacktestResult, history: MarketHistory, settings: Settings) -> None:
        self.result = result
        self.legs: list[Instrument] = [instrument(key, settings.instruments) for key in result.instrument_keys]
        self.prices: list[list[Fraction | None]] = []
        source = settings.data.valuation_price
        for spot, perp in zip(self.legs[::2], self.legs[1::2], strict=True):
            marks = perp_valuation(history.instrument(perp.key), source)
            self.prices += [spot_valuation(history.instrument(spot.key), marks), marks]
        self.coins = {coin.asset: coin_valuation(history.instrument(coin.market)) for coin in fee_coins(settings)}
        self.fills = [entry for entry in result.journal if entry["event"] == "fill"]
        self.leg_of_order = {int(row["id"]): int(row["leg"]) for row in result.orders}
        self.currency = settings.run.account_currency

    def balances(self, until_ms: int) -> Mapping[tuple[str, str], Fraction]:
        """Balance of every (wallet, asset) from ledger rows up to and with ``until_ms``; interest changes none."""
        found: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
        for row in self.result.ledger:
            if row["time_ms"] <= until_ms and row["flow"] != Flow.INTEREST:
                key = (self.result.wallet_names[row["wallet"]], self.result.asset_names[row["asset"]])
                found[key] += Fraction(float(row["amount"]))
        return found

    def debts(self, until_ms: int) -> Mapping[int, Fraction]:
        """Base units owed by each spot leg: principal and interest."""
        found: dict[int, Fraction] = defaultdict(Fraction)
        for row in self.result.ledger:
            if row["time_ms"] > until_ms:
                continue
            amount = Fraction(float(row["amount"]))
            if row["flow"] in {Flow.BORROW, Flow.REPAY}:
                found[int(row["leg"])] += amount
            elif row["flow"] == Flow.INTEREST:
                found[int(row["leg"])] -= amount
        return found

    def lots(self, until_ms: int) -> Mapping[int, int]:
        """Sum of filled lots by leg."""
        found: dict[int, int] = defaultdict(int)
        for fill in self.fills:
            if fill["time_ms"] <= until_ms:
                found[self.leg_of_order[fill["order"]]] += fill["lots"]
        return found

    def _open_profit(self, leg: int, instant: int, until_ms: int) -> Fraction:
        """Unrealised profit of a perp leg in its settlement asset."""
        made = self.legs[leg]
        mark, held, total = self.prices[leg][instant], 0, Fraction(0)
        for fill in self.fills:
            if fill["time_ms"] > until_ms or self.leg_of_order[fill["order"]] != leg:
                continue
            held += fill["lots"]
            price = Fraction(fill["price"])
            total += fill["lots"] / price if made.kind is Kind.INVERSE else -fill["lots"] * price
        for row in self.result.ledger:
            if row["leg"] == leg and row["flow"] == Flow.REALISED and row["time_ms"] <= until_ms:
                total -= Fraction(float(row["amount"])) / self._unit(made)
        if held:
            assert mark is not None
            total += -held / mark if made.kind is Kind.INVERSE else held * mark
        return total * self._unit(made)

    @staticmethod
    def _unit(made: Instrument) -> Fraction:
        """What one lot counts in a price difference: contract value (inverse) or contracts (linear)."""
        return Fraction(made.value_per_lot if made.kind is Kind.INVERSE else made.lot)

    def _price_of(self, wallet: str, asset: str, instant: int) -> Fraction:
        if asset == self.currency:
            return Fraction(1)
        if asset in self.coins:
            return self.coins[asset][instant]
        spots = [n for n, leg in enumerate(self.legs) if leg.kind is Kind.SPOT and leg.base == asset]
        here = [n for n in spots if wallet.startswith(f"{self.legs[n].venue}:")]
        price = self.prices[(here or spots)[0]][instant]
        assert price is not None
        return price

    def equity(self, instant: int, wallet_of: Mapping[int, str]) -> Mapping[str, Fraction]:
        """Equity of every wallet at an instant; ``wallet_of`` names the wallet of each leg."""
        until_ms = int(self.result.time_ms[instant])
        found: dict[str, Fraction] = dict.fromkeys(self.result.wallet_names, Fraction(0))
        for (wallet, asset), amount in self.balances(until_ms).items():
            if amount:
                found[wallet] += amount * self._price_of(wallet, asset, instant)
        for leg, owed in self.debts(until_ms).items():
            price = self.prices[leg][instant]
            assert price is not None
            found[wallet_of[leg]] -= owed * price
        for leg, made in enumerate(self.legs):
            if made.kind is not Kind.SPOT:
                profit = self._open_profit(leg, instant, until_ms)
                if profit:
                    found[wallet_of[leg]] += profit * self._price_of(wallet_of[leg], made.settle, instant)
        return found


def wallets_of_legs(result: BacktestResult, settings: Settings) -> dict[int, str]:
    """Wallet of each leg from the rules that the venues publish: Binance one by kind, Bybit one for all."""
    found = {}
    for leg, key in enumerate(result.instrument_keys):
        made = instrument(key, settings.instruments)
        found[leg] = "bybit:unified" if made.venue == "bybit" else f"{made.venue}:{made.kind.value}"
    return found


def assert_attribution_sums(result: BacktestResult) -> None:
    """Attribution is the change of equity: in all, of each pair and of each wallet, at each instant."""
    scale = RELATIVE * float(np.max(np.abs(result.equity)))
    change = np.diff(result.equity)
    np.testing.assert_allclose(result.attribution[1:].sum(axis=(1, 2)), change, rtol=0, atol=scale)
    by_pair = result.attribution[1:, :-1].sum(axis=2)
    np.testing.assert_allclose(by_pair, np.diff(result.pair_pnl, axis=0), rtol=0, atol=scale)
    by_wallet = result.wallet_attribution[1:].sum(axis=2)
    np.testing.assert_allclose(by_wallet, np.diff(result.wallet_equity, axis=0), rtol=0, atol=scale)
    np.testing.assert_allclose(
        result.wallet_attribution.sum(axis=1), result.attribution.sum(axis=1), rtol=0, atol=scale
    )


def assert_in_order(result: BacktestResult) -> None:
    """Ledger and journal never go back in time."""
    assert np.all(np.diff(result.ledger["time_ms"]) >= 0)
    times = [entry["time_ms"] for entry in result.journal]
    assert times == sorted(times)


def assert_replays(result: BacktestResult, history: MarketHistory, settings: Settings) -> None:
    """The last wallet equities follow from ledger, fills and prices."""
    again = Replay(result, history, settings).equity(result.time_ms.size - 1, wallets_of_legs(result, settings))
    scale = RELATIVE * float(np.max(np.abs(result.equity)))
    for number, name in enumerate(result.wallet_names):
        assert abs(float(again[name]) - result.wallet_equity[-1, number]) <= scale, name


def assert_sound(result: BacktestResult, history: MarketHistory, settings: Settings) -> None:
    """Everything that has to hold for any run."""
    assert_in_order(result)
    assert_attribution_sums(result)
    assert_replays(result, history, settings)
    _assert_orders_agree(result)


def _assert_orders_agree(result: BacktestResult) -> None:
    """No order is filled beyond its size, or against its side, and none that has ended still holds money back."""
    orders: Any = result.orders
    assert np.all(np.abs(orders["filled_lots"]) <= np.abs(orders["lots"]))
    assert np.all(np.sign(orders["filled_lots"]) * np.sign(orders["lots"]) >= 0)
    ended = orders["status"] != 0
    assert np.all(orders["reserved"][ended] == 0.0)
    assert np.all((orders["done_ms"] > 0) == ended)

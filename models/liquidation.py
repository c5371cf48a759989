"""Liquidation on the mark price, every bar: when a wallet no longer carries its maintenance margin, the venue closes.

Lean has no liquidation. Its margin calls compare the whole portfolio with initial margin, on last prices, every five
minutes, and cut the leg that shows a loss, which leaves the other one naked (lean-measured.md C.3). They are switched
off; ``whole_pairs`` rewrites the requests of an account that has them on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from AlgorithmImports import SubmitOrderRequest

from crypto import liquidation, margin
from crypto.fees import fee
from crypto.instruments import Kind
from crypto.simulator.hosted import HostedExchange
from crypto.tiers import TierBook
from crypto.venues.liquidation_rules import RULES, ClosingFee
from models.convert import security_type
from models.fills import Forced
from models.legs import Leg

_NEAR_ABOVE, _NEAR_BELOW = 1.0 + 1e-9, 1.0 - 1e-9  # at the border itself the account is asked, not the solved price
Extremes = Callable[[Leg], tuple[float, float]]  # lowest and highest mark of the bar, venue quote


class _Tiers(NamedTuple):
    """Columns of a contract's tiers as plain numbers, which Python reads faster than arrays."""

    floor: Any
    rate: Any
    deduction: Any


class LiquidationGuard:
    """Finds wallets that are liquidated, and what the venue fills their perps at.

    Tiers are those in force at ``time_ms``, or the earliest known. ``untiered`` names the contracts for which no tiers
    are known: their liquidation is not simulated.
    """

    def __init__(
        self, exchange: HostedExchange, legs: Sequence[Leg], books: Mapping[str, TierBook], time_ms: int
    ) -> None:
        self._exchange = exchange
        self._tiers: dict[int, _Tiers] = {}
        self._bounds_of: dict[int, tuple[float, int, float, float, float]] = {}  # balance, lots, entry; lower, upper
        self._wallets: dict[tuple[int, int], list[Leg]] = {}
        self.untiered: list[str] = []
        for leg in legs[1::2]:
            book = books.get(leg.instrument.venue)
            if book is None or leg.instrument.key not in book.keys:
                self.untiered.append(leg.instrument.key)
                continue
            history = book.history(leg.instrument.key)
            table = next((table for table in reversed(history) if table.effective_ms <= time_ms), history[0])
            self._tiers[leg.index] = _Tiers(
                tuple(table.floor.tolist()), tuple(table.rate.tolist()), tuple(table.deduction.tolist())
            )
            self._wallets.setdefault((leg.row.wallet, leg.row.settle_asset), []).append(leg)

    def due(self, extremes: Extremes) -> list[tuple[Leg, Forced]]:
        """Forced fills of this bar: each perp of a wallet that fell to its maintenance margin at adverse marks."""
        found: list[tuple[Leg, Forced]] = []
        for key, legs in self._wallets.items():
            held = [leg for leg in legs if leg.row.lots != 0]
            if not held:
                continue
            balance = self._exchange.world.holdings[key].balance
            if len(held) > 1 or not self._is_safe(held[0], balance, extremes(held[0])):
                found.extend(self._wallet_due(balance, held, extremes))
        return found

    def _is_safe(self, leg: Leg, balance: float, marks: tuple[float, float]) -> bool:
        """Whether a wallet's only linear perp stays within its bounds, which hold until balance or position change."""
        row, known = leg.row, self._bounds_of.get(leg.index)
        if leg.instrument.kind is Kind.INVERSE:
            return False
        if known is None or known[0] != balance or known[1] != row.lots or known[2] != row.entry:
            known = (balance, row.lots, row.entry, *self._bounds(leg, balance, 0.0, 0.0))
            self._bounds_of[leg.index] = known
        lower, upper = known[3], known[4]
        return not (marks[0] <= lower * _NEAR_ABOVE or marks[1] >= upper * _NEAR_BELOW)

    def _bounds(self, leg: Leg, balance: float, profit: float, needed: float) -> tuple[float, float]:
        """Venue quotes between which the wallet keeps its margin while its other perps stay; NaN: no such end."""
        row = leg.row
        quantity = row.lots * row.base_per_lot
        cash = liquidation.cash_linear(balance, profit, needed, quantity, row.entry / row.multiplier)
        with_fee = RULES[leg.instrument.venue].cross_fee is ClosingFee.WITH_MAINTENANCE
        found = liquidation.linear_bounds(cash, quantity, row.taker if with_fee else 0.0, *self._tiers[leg.index])
        if found.status == liquidation.ALWAYS:
            return math.inf, -math.inf
        return found.lower * row.multiplier, found.upper * row.multiplier

    def _wallet_due(self, balance: float, held: Sequence[Leg], extremes: Extremes) -> Iterable[tuple[Leg, Forced]]:
        marks = {leg.index: extremes(leg)[0 if leg.row.lots > 0 else 1] for leg in held}
        profits = {leg.index: _profit(leg, marks[leg.index]) for leg in held}
        equity = balance + sum(profits.values())
        needed = sum(self._needed(leg, marks[leg.index]) for leg in held)
        if not margin.is_liquidatable(equity, needed, RULES[held[0].instrument.venue].at_equality):
            return
        worst = min(held, key=lambda leg: profits[leg.index])
        for leg in held:
            price = marks[leg.index]
            if leg is worst:
                price = _bankruptcy_price(leg, balance, equity - balance - profits[leg.index])
            paid = fee(_notional(leg, price), leg.row.taker)
            yield leg, Forced(price, paid, leg.instrument.settle)

    def _needed(self, leg: Leg, mark: float) -> float:
        notional = _notional(leg, mark)
        needed = margin.maintenance(notional, *self._tiers[leg.index])
        if RULES[leg.instrument.venue].cross_fee is ClosingFee.WITH_MAINTENANCE:
            needed += fee(notional, leg.row.taker)
        return float(needed)

    def maintenance(self, leg: Leg, contracts: float) -> float:
        """Maintenance margin of a position of ``contracts`` at the valuation price, in the settlement asset."""
        if leg.index not in self._tiers:
            return margin.initial_margin(_value(leg, contracts), self._exchange.world.rules[0].leverage)
        share = abs(contracts) / leg.lot
        notional = _notional_of(leg, share, leg.row.value_price)
        return float(margin.maintenance(notional, *self._tiers[leg.index]))

    def distance(self, leg: Leg) -> float:
        """How far the mark may move against a perp before its wallet is liquidated, as a fraction; NaN: flat or never.

        Other perps of the wallet stay where they are.
        """
        row = leg.row
        if row.lots == 0 or leg.index not in self._tiers or leg.instrument.kind is Kind.INVERSE:
            return math.nan
        others = [other for other in self._wallets[row.wallet, row.settle_asset] if other is not leg and other.row.lots]
        balance = self._exchange.world.holdings[row.wallet, row.settle_asset].balance
        profit = sum(_profit(other, other.row.value_price) for other in others)
        needed = sum(self._needed(other, other.row.value_price) for other in others)
        lower, upper = self._bounds(leg, balance, profit, needed)
        return abs(float((lower if row.lots > 0 else upper) / row.value_price) - 1.0)


def _profit(leg: Leg, mark: float) -> float:
    row = leg.row
    if leg.instrument.kind is Kind.INVERSE:
        return margin.unrealised_inverse(row.lots * row.quote_per_lot, row.entry, mark)
    return margin.unrealised_linear(row.lots * row.units_per_lot, row.entry, mark)


def _notional(leg: Leg, price: float) -> float:
    return _notional_of(leg, leg.row.lots, price)


def _notional_of(leg: Leg, lots: float, price: float) -> float:
    if leg.instrument.kind is Kind.INVERSE:
        return margin.notional_inverse(lots * leg.row.quote_per_lot, price)
    return margin.notional_linear(lots * leg.row.units_per_lot, price)


def _value(leg: Leg, contracts: float) -> float:
    return _notional_of(leg, contracts / leg.lot, leg.row.value_price)


def _bankruptcy_price(leg: Leg, balance: float, other_profit: float) -> float:
    """Price at which nothing of the wallet is left after the fee to close, others at their marks."""
    row = leg.row
    if leg.instrument.kind is Kind.INVERSE:
        value = row.lots * row.quote_per_lot
        cash = liquidation.cash_inverse(balance, other_profit, 0.0, value, row.entry)
        return liquidation.bankruptcy_inverse(cash, value, row.taker)
    quantity = row.lots * row.units_per_lot
    cash = liquidation.cash_linear(balance, other_profit, 0.0, quantity, row.entry)
    return liquidation.bankruptcy_linear(cash, quantity, row.taker)


def whole_pairs(legs: Sequence[Leg], requests: Sequence[SubmitOrderRequest]) -> list[SubmitOrderRequest]:
    """Margin call requests so that both legs of a pair shrink together.

    Lean asks each leg alone for the whole shortfall; together both need only part of that. Requests for what is no leg
    of ours stay as they are. The list is never empty when Lean's was not, which it would refuse.
    """
    kept: list[SubmitOrderRequest] = []
    asked: dict[int, list[float]] = {}
    sample: dict[int, SubmitOrderRequest] = {}
    for request in requests:
        leg = next((leg for leg in legs if leg.symbol == request.symbol and leg.row.lots != 0), None)
        if leg is None:
            kept.append(request)
            continue
        asked.setdefault(leg.row.pair, []).append(min(1.0, abs(request.quantity) / (abs(leg.row.lots) * leg.lot)))
        sample[leg.row.pair] = request
    for pair, alone in asked.items():
        share = margin.joint_cut(alone)
        for leg in legs[2 * pair : 2 * pair + 2]:
            lots = math.ceil(share * abs(leg.row.lots))
            if lots > 0:
                kept.append(_request(sample[pair], leg, -lots if leg.row.lots > 0 else lots))
    return kept


def _request(like: SubmitOrderRequest, leg: Leg, lots: int) -> SubmitOrderRequest:
    return SubmitOrderRequest(
        like.order_type,
        security_type(leg.instrument.kind),
        leg.symbol,
        leg.quantity(lots),
        0,
        0,
        like.time,
        "margin call on the whole pair",
    )

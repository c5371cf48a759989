"""Model of a contract's counterparties: who holds open interest, and what a fall does. Spec: docs/specs/adl.md.

The venue shows neither the other accounts nor their margins. This draws them from a seed so that open interest, its
split over notional tiers and its split over leverage are met, and answers two questions: what deficit a move of the
mark leaves after the insurance fund, and whether a position of our own ranks high enough to be closed for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from crypto.adl import AdlRule, Positions
from crypto.adl_ranking import Place, place, position_score, scores
from crypto.compiled import jit
from crypto.errors import DataError, SettingsError
from crypto.insurance import split_exactly
from crypto.market import Floats, Integers

MOST_ACCOUNTS = 4_000_000
_SHARE_UNITS = 10**9


def _check_shares(name: str, shares: tuple[float, ...]) -> None:
    if any(not (0 <= share <= 1) for share in shares) or abs(sum(shares) - 1.0) > 1e-9:
        raise SettingsError(f"{name} {shares} are not shares of 1", remedy="give fractions from 0 to 1 that sum to 1")


@dataclass(frozen=True, slots=True)
class TierUsage:
    """Margin tiers of the contract, ascending, and the share of open interest held in each; tuples of one length.

    ``floor``/``cap``: notional in quote. ``maintenance_rate`` fraction of notional, ``deduction`` in quote. Positions
    are drawn between floor and cap, so the first floor is the smallest position worth modelling.
    """

    floor: tuple[float, ...]
    cap: tuple[float, ...]
    max_leverage: tuple[float, ...]
    maintenance_rate: tuple[float, ...]
    deduction: tuple[float, ...]
    open_interest_share: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.floor)
        for name in ("cap", "max_leverage", "maintenance_rate", "deduction", "open_interest_share"):
            if len(getattr(self, name)) != count or count == 0:
                raise SettingsError(
                    f"tier usage: {name} has {len(getattr(self, name))} values, floor has {count}",
                    remedy="give one value per tier",
                )
        for tier in range(count):
            self._check_tier(tier)
        _check_shares("tier usage: open_interest_share", self.open_interest_share)

    def _check_tier(self, tier: int) -> None:
        floor, cap = self.floor[tier], self.cap[tier]
        if not (0 < floor < cap < math.inf) or (tier > 0 and floor != self.cap[tier - 1]):
            raise SettingsError(
                f"tier {tier}: notional from {floor} to {cap} is empty, leaves a hole or overlaps",
                remedy="tiers ascend from a positive floor, each starting where the one before ends",
            )
        rate, leverage = self.maintenance_rate[tier], self.max_leverage[tier]
        if not (0 < rate < 1 and leverage >= 1 and 1 / leverage > rate):
            raise SettingsError(
                f"tier {tier}: maintenance rate {rate} does not fit a leverage of {leverage}",
                remedy="the initial margin 1 / leverage is above the maintenance margin",
            )
        if not 0 <= self.deduction[tier] <= floor * rate:
            raise SettingsError(
                f"tier {tier}: deduction {self.deduction[tier]} is outside 0 to {floor * rate}",
                remedy="a deduction never makes the maintenance margin negative",
            )


@dataclass(frozen=True, slots=True)
class LeverageUsage:
    """Shares of open interest by leverage at entry: bucket k runs from ``edge[k]`` to ``edge[k + 1]``."""

    edge: tuple[float, ...]
    long_share: tuple[float, ...]
    short_share: tuple[float, ...]

    def __post_init__(self) -> None:
        ascending = all(low < high for low, high in zip(self.edge, self.edge[1:], strict=False))
        if len(self.edge) < 2 or self.edge[0] <= 0 or not ascending:
            raise SettingsError(
                f"leverage edges {self.edge} do not ascend from a positive one", remedy="give at least two"
            )
        for name, share in (("long_share", self.long_share), ("short_share", self.short_share)):
            if len(share) != len(self.edge) - 1:
                raise SettingsError(
                    f"leverage usage: {name} has {len(share)} values for {len(self.edge) - 1} buckets",
                    remedy="give one value per bucket",
                )
            _check_shares(f"leverage usage: {name}", share)


# Hyperliquid, 2025-12-15: of 7.63 bn USD of open interest 2.77 bn at up to 3 times, 3.70 bn at 3 to 7, the rest above.
HYPERLIQUID_LEVERAGE = LeverageUsage(
    edge=(0.5, 3.0, 7.0, 40.0),
    long_share=(2.77 / 7.63, 3.70 / 7.63, 1.16 / 7.63),
    short_share=(2.77 / 7.63, 3.70 / 7.63, 1.16 / 7.63),
)


@dataclass(frozen=True, slots=True)
class PopulationModel:
    """What a population is drawn from.

    ``open_interest_lots`` are held by longs and again by shorts; ``unit``: base units per lot. ``mean_age_hours``:
    positions were opened this long ago on average (exponential). ``liquidity_gap``: how far between its liquidation
    price (0) and the final mark (1) a forced order is filled in a move.
    """

    open_interest_lots: int
    unit: float
    tiers: TierUsage
    leverage: LeverageUsage = field(default=HYPERLIQUID_LEVERAGE)
    mean_age_hours: float = 72.0
    liquidity_gap: float = 0.3
    seed: int = 1

    def __post_init__(self) -> None:
        if self.open_interest_lots <= 0:
            raise SettingsError(
                f"open_interest_lots = {self.open_interest_lots} is not positive", remedy="give whole lots"
            )
        for name in ("unit", "mean_age_hours"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SettingsError(f"{name} = {value} is not positive", remedy="give a finite number above 0")
        if not 0 <= self.liquidity_gap <= 1:
            raise SettingsError(
                f"liquidity_gap = {self.liquidity_gap} is not within 0 to 1",
                remedy="0 fills at the liquidation price, 1 at the final mark",
            )


@dataclass(frozen=True, slots=True)
class Population:
    """Drawn positions at ``mark_price``: longs first, then shorts; one isolated position per account, shape (n,)."""

    model: PopulationModel
    mark_price: float
    account: Integers
    lots: Integers  # signed
    entry_price: Floats
    wallet: Floats
    maintenance_rate: Floats
    deduction: Floats


@dataclass(frozen=True, slots=True)
class Stress:
    """What a move of the mark does to a population and the fund, in quote and lots.

    ``side``: the losing one (+1 longs). ``surplus`` was left of liquidated margins, ``deficit`` is what liquidations
    cost beyond them, ``fund_paid`` of it came from the fund, ``adl_deficit`` is left. ``adl_lots`` have to be closed
    against the other side for that. ``survives``: rows that were not liquidated.
    """

    side: int
    liquidated_accounts: int
    liquidated_lots: int
    surplus: float
    deficit: float
    fund_paid: float
    fund_balance: float
    adl_deficit: float
    adl_lots: int
    survives: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class OwnOutcome:
    """Our position in the queue after a move: its place, score, and how many of its lots ADL closes."""

    place: Place
    score: float
    closed_lots: int


def draw_population(model: PopulationModel, closes: Floats) -> Population:
    """Counterparties at the last of ``closes`` (hourly, ascending, shape (T,)); entries are drawn from those before.

    The same model and closes give the same population. ``DataError`` when a close is not a positive price.
    """
    prices = np.asarray(closes, dtype=np.float64)
    if prices.ndim != 1 or prices.size == 0 or not bool((np.isfinite(prices) & (prices > 0)).all()):
        raise DataError("closes for an ADL population are empty or not all positive", remedy="give hourly closes")
    mark = float(prices[-1])
    rng = np.random.default_rng(np.random.SeedSequence(entropy=model.seed, spawn_key=tuple(b"adl_population")))
    longs = _draw_side(model, prices, rng, side=1)
    shorts = _draw_side(model, prices, rng, side=-1)
    lots, entry, wallet, rate, deduction = (np.concatenate(columns) for columns in zip(longs, shorts, strict=True))
    return Population(model, mark, np.arange(lots.size, dtype=np.int64), lots, entry, wallet, rate, deduction)


def _draw_side(
    model: PopulationModel, prices: Floats, rng: np.random.Generator, side: int
) -> tuple[Integers, Floats, Floats, Floats, Floats]:
    mark = float(prices[-1])
    size, tier = _draw_sizes(model, mark, rng)
    leverage = _draw_leverage(model, tier, rng, side)
    ages = np.minimum(rng.exponential(model.mean_age_hours, size.size), prices.size - 1).astype(np.int64)
    entry = prices[prices.size - 1 - ages]
    base = size * model.unit
    wallet = base * entry / leverage
    rate = np.asarray(model.tiers.maintenance_rate)[tier]
    deduction = np.asarray(model.tiers.deduction)[tier]
    # Whoever would have been liquidated since is replaced by an equal position that was opened now.
    gone = wallet + side * base * (mark - entry) <= base * mark * rate - deduction
    entry = np.where(gone, mark, entry)
    wallet = np.where(gone, base * mark / leverage, wallet)
    return size * side, entry, wallet, rate, deduction


def _draw_sizes(model: PopulationModel, mark: float, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Lots per position and its tier: log-uniform within each tier, until the tier's share of open interest is met."""
    weights = [round(share * _SHARE_UNITS) for share in model.tiers.open_interest_share]
    targets = split_exactly(model.open_interest_lots, weights)
    sizes, tiers, accounts = [], [], 0
    for tier, target in enumerate(targets):
        if target == 0:
            continue
        low, high = model.tiers.floor[tier], model.tiers.cap[tier]
        mean_lots = max(1.0, (high - low) / math.log(high / low) / (mark * model.unit))
        accounts += math.ceil(target / mean_lots)
        if accounts > MOST_ACCOUNTS:
            raise SettingsError(
                f"an ADL population of more than {MOST_ACCOUNTS} accounts",
                remedy="raise the floor of the first tier: it is the smallest position that is modelled",
            )
        drawn = _draw_until(target, low / (mark * model.unit), high / (mark * model.unit), mean_lots, rng)
        sizes.append(drawn)
        tiers.append(np.full(drawn.size, tier, dtype=np.int64))
    return np.concatenate(sizes), np.concatenate(tiers)


def _draw_until(target: int, low: float, high: float, mean: float, rng: np.random.Generator) -> Integers:
    """Log-uniform whole sizes that sum to ``target``; the last one is cut to fit."""
    parts: list[Integers] = []
    left = target
    while left > 0:
        count = math.ceil(left / mean) + 8
        drawn = np.exp(rng.uniform(math.log(low), math.log(high), count))
        whole = np.maximum(1, np.floor(drawn)).astype(np.int64)
        running = np.cumsum(whole)
        used = int(np.searchsorted(running, left)) + 1
        part = whole[:used].copy()
        if used <= count:
            part[-1] -= int(running[used - 1]) - left
        parts.append(part)
        left -= int(part.sum())
    return np.concatenate(parts)


def _draw_leverage(model: PopulationModel, tier: Integers, rng: np.random.Generator, side: int) -> Floats:
    edges = np.log(np.asarray(model.leverage.edge))
    share = np.asarray(model.leverage.long_share if side > 0 else model.leverage.short_share)
    bucket = rng.choice(share.size, size=tier.size, p=share / share.sum())
    leverage = np.exp(rng.uniform(edges[bucket], edges[bucket + 1]))
    return np.minimum(leverage, np.asarray(model.tiers.max_leverage)[tier])


def liquidation_prices(population: Population) -> Floats:
    """Mark at which each position's equity is its maintenance margin, at the tier it was drawn in; shape (n,)."""
    quantity = population.lots * population.model.unit
    side = np.sign(population.lots)
    size = np.abs(quantity)
    cash = quantity * population.entry_price - population.wallet
    prices: Floats = (cash - population.deduction) / (side * size - size * population.maintenance_rate)
    return prices


def forced_orders(population: Population, mark_price: float) -> tuple[int, Integers, Floats]:
    """Losing side of a move of the mark, the rows that it liquidates in its order, and their fill prices."""
    side = 1 if mark_price < population.mark_price else -1
    trigger_price = liquidation_prices(population)
    hit = (population.lots * side > 0) & ((trigger_price - mark_price) * side >= 0)
    rows = np.flatnonzero(hit)
    order = rows[np.argsort(-side * trigger_price[rows], kind="stable")]
    fill = trigger_price[order] + population.model.liquidity_gap * (mark_price - trigger_price[order])
    return side, order, fill


def positions_at(population: Population, mark_price: float, lots: Integers) -> Positions:
    """The population as the ranking takes it, at a mark; ``lots``: those that still stand, 0 for the others."""
    size = np.abs(population.lots) * population.model.unit
    return Positions(
        account=population.account,
        lots=lots,
        entry_value=population.lots * population.model.unit * population.entry_price,
        wallet=population.wallet,
        maintenance=np.maximum(0.0, size * mark_price * population.maintenance_rate - population.deduction),
    )


def stress(
    population: Population,
    mark_price: float,
    *,
    fund_balance: float,
    may_spend: float,
    keeps_surplus: bool = True,
) -> Stress:
    """Move the mark at once and liquidate in the order in which the move reaches the liquidation prices.

    The fund takes in surpluses (when it keeps them) and pays deficits until ``may_spend`` of its first balance and all
    it took in are gone; a position whose deficit it can't pay in full is deleveraged whole. ``may_spend``: from
    ``insurance.spendable``.
    """
    if not (math.isfinite(mark_price) and mark_price > 0):
        raise DataError(f"mark price {mark_price} is not a positive price", remedy="give a finite price above 0")
    if not (math.isfinite(fund_balance) and 0 <= may_spend <= max(0.0, fund_balance)):
        raise DataError(
            f"the fund may not spend {may_spend} of a balance of {fund_balance}", remedy="use insurance.spendable"
        )
    side, order, fill = forced_orders(population, mark_price)
    quantity = population.lots[order] * population.model.unit
    equity = population.wallet[order] + quantity * (fill - population.entry_price[order])
    size = np.abs(population.lots[order])
    taken = equity if keeps_surplus else np.minimum(equity, 0.0)
    paid, left, adl_lots = _drain(taken, size, may_spend)
    surplus, deficit = float(np.maximum(equity, 0.0).sum()), float(-np.minimum(equity, 0.0).sum())
    balance = fund_balance - paid + (surplus if keeps_surplus else 0.0)
    return Stress(
        side=side,
        liquidated_accounts=int(order.size),
        liquidated_lots=int(size.sum()),
        surplus=surplus,
        deficit=deficit,
        fund_paid=float(paid),
        fund_balance=balance,
        adl_deficit=float(left),
        adl_lots=int(adl_lots),
        survives=np.isin(np.arange(population.lots.size), order, invert=True),
    )


@jit
def _drain(equity: Floats, size: Integers, may_spend: float) -> tuple[float, float, int]:
    """Run the fund through the liquidations in order: paid, left for ADL, and the lots of those left."""
    paid = 0.0
    left = 0.0
    lots = 0
    available = may_spend
    for k in range(equity.size):
        if equity[k] >= 0.0:
            available += equity[k]
        else:
            payment = min(-equity[k], available)
            available -= payment
            paid += payment
            if payment < -equity[k]:
                left += -equity[k] - payment
                lots += size[k]
    return paid, left, lots


def own_outcome(
    population: Population,
    rule: AdlRule,
    result: Stress,
    mark_price: float,
    *,
    lots: int,
    entry_price: float,
    wallet: float,
    maintenance: float,
) -> OwnOutcome:
    """Where our own position (signed ``lots``, not part of the population) ranks at ``mark_price`` and what is closed.

    ``wallet`` and ``maintenance`` as in ``adl.Positions``, at that mark. ADL closes only the side opposite to the one
    that was liquidated; on the liquidated side nothing of ours is closed.
    """
    for name, amount in (("entry price", entry_price), ("wallet", wallet), ("maintenance margin", maintenance)):
        if not math.isfinite(amount):
            raise DataError(f"our own {name} is {amount}", remedy="give a finite amount")
    if entry_price <= 0:
        raise DataError(f"our own entry price {entry_price} is not positive", remedy="give a price above 0")
    unit = population.model.unit
    remaining = np.where(result.survives, population.lots, 0)
    others = positions_at(population, mark_price, remaining)
    score = scores(rule, others, unit, mark_price)
    quantity = lots * unit
    own_score = position_score(int(rule.score), quantity * mark_price, quantity * entry_price, wallet, maintenance)
    # Equals matter only where many have a score of 0, without profit; there we stand last.
    own_account = int(population.account.size)
    where = place(score, others.account, remaining, own_score=own_score, own_account=own_account, own_lots=lots)
    closed = where.closed(result.adl_lots) if lots * result.side < 0 else 0
    return OwnOutcome(where, float(own_score), closed)

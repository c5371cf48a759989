"""Auto-deleveraging on a synthetic book under a jump of the price. Spec: docs/specs/laboratory.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crypto.adl import ADL_RULES, LIGHTS, adl_rule
from crypto.adl_population import Population, PopulationModel, TierUsage, draw_population
from crypto.adl_ranking import Place, place, position_score
from crypto.adl_waterfall import MONEY, AdlWaterfall, Fate, run_waterfall
from crypto.errors import UsageError
from crypto.insurance import FUND_RULES, fund_rule
from crypto.margin import maintenance
from crypto.market import Floats, Integers
from crypto.tiers import TierTable

VENUES = tuple(sorted(ADL_RULES.keys() & FUND_RULES.keys()))
OWN_LEVERAGES = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0)
OWN_GAINS = (-0.10, -0.05, -0.02, 0.0, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30, 0.40)


@dataclass(frozen=True, slots=True)
class AdlQuestion:
    """A jump of the mark by ``shock`` (a fraction, above -1 and not 0) on a contract of ``open_interest`` in quote.

    ``fund``: balance of the insurance fund; ``liquidity_gap``: how far from liquidation price to new mark forced orders
    fill. Positions have ``smallest`` to ``largest`` of notional. ``own_notional``: size of our position, whose fate is
    worked out for several leverages and entries. ``unit``: base units per lot.
    """

    tiers: TierTable
    unit: float
    shock: float
    open_interest: float
    fund: float
    liquidity_gap: float
    mean_age_hours: float
    smallest: float
    largest: float
    own_side: int
    own_notional: float
    seed: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.shock) and self.shock > -1 and self.shock != 0):
            raise UsageError(f"--shock = {self.shock} is no move of a price", remedy="give a fraction such as -0.2")
        if not self.smallest < self.largest <= self.open_interest:
            raise UsageError(
                f"--smallest = {self.smallest:g} and --largest = {self.largest:g} do not ascend within --open-interest"
                f" = {self.open_interest:g}",
                remedy="give a smallest position below the largest, and the largest within the open interest",
            )


@dataclass(frozen=True, slots=True)
class OwnGrid:
    """Our position's fate by gain against the entry (rows) and leverage at entry (columns).

    ``closed``: share that ADL closes, ``light`` 0 to 4, ``ahead``: share of the queue's lots that rank before us; NaN
    and -1 where the position would have been liquidated itself.
    """

    leverages: tuple[float, ...]
    gains: tuple[float, ...]
    closed: Floats
    light: Integers
    ahead: Floats


@dataclass(frozen=True, slots=True)
class AdlStudy:
    """The answer. ``by_light``, shape (5, 3): accounts, accounts closed at least in part, and share of lots closed."""

    question: AdlQuestion
    population: Population
    outcome: AdlWaterfall
    by_light: Floats
    own: OwnGrid

    def lots_of(self, fate: Fate) -> int:
        """Liquidated lots of one fate."""
        rows = self.outcome.rows[self.outcome.fate == fate]
        return int(np.abs(self.population.lots[rows]).sum())

    @property
    def keeps_surplus(self) -> bool:
        """Whether the venue's fund takes in what is left of liquidated margins."""
        return fund_rule(self.question.tiers.key.split(":", maxsplit=1)[0]).keeps_surplus

    @property
    def surplus(self) -> float:
        """Margin that liquidations left over, quote units."""
        return float(np.maximum(self.outcome.equity, 0).sum()) / MONEY

    @property
    def fund_paid(self) -> float:
        """What the fund paid, quote units."""
        return float(self.outcome.fund_paid.sum()) / MONEY

    @property
    def given_up(self) -> float:
        """What counterparties gave up by being closed, quote units."""
        return float(self.outcome.given_up.sum()) / MONEY


def run_adl(question: AdlQuestion, closes: Floats) -> AdlStudy:
    """Draw the book at the last of hourly ``closes``, move the mark, settle, and rank ourselves in what is left."""
    venue = question.tiers.key.split(":", maxsplit=1)[0]
    model = PopulationModel(
        open_interest_lots=max(1, round(question.open_interest / (float(closes[-1]) * question.unit))),
        unit=question.unit,
        tiers=tier_usage(question.tiers, question.smallest, question.largest),
        mean_age_hours=question.mean_age_hours,
        liquidity_gap=question.liquidity_gap,
        seed=question.seed,
    )
    population = draw_population(model, closes)
    mark = population.mark_price * (1 + question.shock)
    outcome = run_waterfall(population, adl_rule(venue), fund_rule(venue), mark, question.fund)
    if outcome.balance.difference:
        raise ArithmeticError(f"money is not conserved: {outcome.balance.difference} millionths")
    return AdlStudy(
        question, population, outcome, _by_light(population, outcome), _own_grid(question, population, outcome)
    )


def tier_usage(tiers: TierTable, smallest: float, largest: float) -> TierUsage:
    """The tiers between the smallest and largest position; each holds open interest in proportion to its log width.

    That is a choice: no venue says how its open interest lies in its tiers.
    """
    rows = []
    for index in range(len(tiers.floor)):
        floor, cap = max(float(tiers.floor[index]), smallest), min(float(tiers.cap[index]), largest)
        if floor < cap:
            rows.append(
                (floor, cap, *(float(column[index]) for column in (tiers.max_leverage, tiers.rate, tiers.deduction)))
            )
    if not rows:
        raise UsageError(
            f"--smallest = {smallest:g} is beyond the last tier of {tiers.key}", remedy="give a smaller position"
        )
    floors, caps, leverage, rate, deduction = (tuple(column) for column in zip(*rows, strict=True))
    widths = [math.log(cap / floor) for floor, cap in zip(floors, caps, strict=True)]
    shares = tuple(width / math.fsum(widths) for width in widths)
    return TierUsage(floors, caps, leverage, rate, deduction, shares)


def _by_light(population: Population, outcome: AdlWaterfall) -> Floats:
    rows = np.zeros((LIGHTS, 3))
    for light in range(LIGHTS):
        here = outcome.light == light
        lots = float(np.abs(population.lots[here]).sum())
        closed = outcome.closed_lots[here]
        rows[light] = (here.sum(), (closed > 0).sum(), closed.sum() / lots if lots else math.nan)
    return rows


def _own_grid(question: AdlQuestion, population: Population, outcome: AdlWaterfall) -> OwnGrid:
    shape = (len(OWN_GAINS), len(OWN_LEVERAGES))
    closed, ahead, light = np.full(shape, math.nan), np.full(shape, math.nan), np.full(shape, -1, dtype=np.int64)
    survivors = np.ones(population.lots.size, dtype=bool)
    survivors[outcome.rows] = False
    standing = np.where(survivors, population.lots, 0)
    rule = adl_rule(question.tiers.key.split(":", maxsplit=1)[0])
    mark, side = outcome.mark_price, question.own_side
    lots = side * max(1, round(question.own_notional / (mark * question.unit)))
    size = abs(lots) * question.unit
    needed = maintenance(size * mark, question.tiers.floor, question.tiers.rate, question.tiers.deduction)
    for row, gain in enumerate(OWN_GAINS):
        entry = mark / (1 + side * gain)
        for column, leverage in enumerate(OWN_LEVERAGES):
            wallet = size * entry / leverage
            if wallet + side * size * (mark - entry) <= needed:
                continue
            value = side * size
            score = position_score(int(rule.score), value * mark, value * entry, wallet, needed)
            where: Place = place(
                outcome.score, population.account, standing,
                own_score=score, own_account=population.account.size, own_lots=lots,
            )  # fmt: skip
            # ADL closes the side opposite to the losing one only.
            taken = where.closed(outcome.wanted_lots) if side != outcome.side else 0
            closed[row, column] = taken / abs(lots)
            ahead[row, column] = where.lots_ahead / where.lots
            light[row, column] = where.light(rule.light_by)
    return OwnGrid(OWN_LEVERAGES, OWN_GAINS, closed, light, ahead)

"""Lots of both legs of a hedge, their residual and the smallest capital, worked. Spec: docs/specs/calculator.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from crypto.errors import RefusedError, UsageError
from crypto.instruments import Instrument, Kind, Pair
from crypto.rounding import joint_step, order_text
from crypto.sizing import (
    BELOW_MIN_QUANTITY,
    OK,
    hedged_lots,
    joint_minimum,
    minimum_capital,
    order_cost_inverse,
    order_cost_linear,
)
from crypto.worked.answer import Answer, Check, Step, exact, percent, rounded, rounded_percent

# Far beyond any order, and far below what floats count exactly.
MOST_LOTS = 1e12


@dataclass(frozen=True, slots=True)
class SizeQuestion:
    """How many lots of both legs hedge each other: long spot, short perp?

    Exactly one of ``target`` (base units) and ``capital`` (quote). ``perp_price`` as the venue quotes it. Fee rates are
    takers'; ``fee_in_base``: the spot buy pays its fee in base. ``deploy``, ``weight``: share of the account that is
    deployed, and share of that for this pair.
    """

    pair: Pair
    spot_price: float
    perp_price: float
    target: float | None = None
    capital: float | None = None
    leverage: float = 1.0
    spot_fee: float = 0.0
    perp_fee: float = 0.0
    fee_in_base: bool = False
    deploy: float = 1.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if (self.target is None) == (self.capital is None):
            word = "missing" if self.target is None else "given"
            raise UsageError(f"--target and --capital are both {word}", remedy="give one of them")
        if self.leverage < 1:
            raise UsageError(f"--leverage = {exact(self.leverage)} is below 1", remedy="give 1 or more")
        for flag, share in (("--deploy", self.deploy), ("--weight", self.weight)):
            if not 0 < share <= 1:
                raise UsageError(f"{flag} = {share} is not within (0, 1]", remedy="give a fraction: 30% is 0.3")


class _Hedge(NamedTuple):
    """A hedge of some lots; sizes and values are of both legs, costs in quote."""

    spot_lots: int
    perp_lots: int
    spot_base: float
    spot_base_kept: float
    perp_base: float
    spot_value: float
    perp_value: float
    spot_cost: float
    perp_cost: float

    @property
    def cost(self) -> float:
        return self.spot_cost + self.perp_cost

    @property
    def residual(self) -> float:
        """Base units of spot beyond the perp, after the fee."""
        return self.spot_base_kept - self.perp_base


def answer_size(question: SizeQuestion) -> Answer:
    """Lots of both legs, residual, cost, and the capital that the smallest hedge needs.

    ``RefusedError`` when the target or capital is below the smallest hedge that both venues' filters let through.
    """
    smallest = _smallest(question)
    found = _largest_within(question)
    _require_minimum(question, found, smallest)
    capital = minimum_capital(smallest.cost, question.deploy, question.weight)
    return Answer(
        question="size",
        title=f"Size of {question.pair.name}: long spot, short perp",
        values=_values(question, found, smallest, capital),
        lines=_lines(question, found, smallest, capital),
        steps=_steps(question, found, smallest, capital),
        checks=_checks(question, found),
        notes=_notes(question),
    )


# --- one hedge ----------------------------------------------------------------------------------------------------


def _perp_base_per_lot(question: SizeQuestion) -> float:
    perp = question.pair.perp
    value = float(perp.value_per_lot)
    return value / question.perp_price if perp.kind is Kind.INVERSE else value


def _fee_in_base(question: SizeQuestion) -> float:
    return question.spot_fee if question.fee_in_base else 0.0


def _lots_for(question: SizeQuestion, target: float) -> tuple[int, int]:
    step = joint_step(question.pair.spot, question.pair.perp).perp_lots
    spot_per_lot, perp_per_lot = float(question.pair.spot.value_per_lot), _perp_base_per_lot(question)
    if not target / min(spot_per_lot, perp_per_lot) <= MOST_LOTS:
        raise UsageError(
            f"--price and the size ask for {target:,.6g} {question.pair.spot.base}, too many lots to count",
            remedy="check prices and size for their unit",
        )
    return hedged_lots(target, perp_per_lot, step, spot_per_lot, _fee_in_base(question))


def _hedge(question: SizeQuestion, spot_lots: int, perp_lots: int) -> _Hedge:
    spot, perp = question.pair.spot, question.pair.perp
    spot_base = float(spot.value_per_lot * spot_lots)
    spot_value = spot_base * question.spot_price
    quote_fee = 0.0 if question.fee_in_base else spot_value * question.spot_fee
    contracts = float(perp.lot * perp_lots)
    if perp.kind is Kind.INVERSE:
        perp_value = contracts * float(perp.multiplier)
        coin = order_cost_inverse(perp_value, question.perp_price, question.leverage, question.perp_fee, -1).total
        perp_cost = coin * question.spot_price
        perp_base = perp_value / question.perp_price
    else:
        perp_value = contracts * question.perp_price
        perp_cost = order_cost_linear(contracts, question.perp_price, question.leverage, question.perp_fee, -1).total
        perp_base = float(perp.value_per_lot * perp_lots)
    return _Hedge(
        spot_lots,
        perp_lots,
        spot_base,
        spot_base * (1 - _fee_in_base(question)),
        perp_base,
        spot_value,
        perp_value,
        spot_value + quote_fee,
        perp_cost,
    )


def _hedge_of_perp(question: SizeQuestion, perp_lots: int) -> _Hedge:
    """The hedge of so many perp lots, a multiple of the step."""
    return _hedge(question, *_lots_for(question, perp_lots * _perp_base_per_lot(question)))


def _largest_within(question: SizeQuestion) -> _Hedge:
    if question.target is not None:
        return _hedge(question, *_lots_for(question, question.target))
    capital = question.capital or 0.0
    per_base = _cost_per_base(question)
    found = _hedge(question, *_lots_for(question, capital / per_base))
    step = joint_step(question.pair.spot, question.pair.perp).perp_lots
    # The spot leg is rounded up, so the last step may cost more than there is.
    while found.perp_lots > 0 and found.cost > capital:
        found = _hedge_of_perp(question, found.perp_lots - step)
    return found


def _cost_per_base(question: SizeQuestion) -> float:
    """Cost of one base unit of both legs, before rounding to lots."""
    spot = (
        question.spot_price / (1 - question.spot_fee)
        if question.fee_in_base
        else question.spot_price * (1 + question.spot_fee)
    )
    perp = question.pair.perp
    if perp.kind is Kind.INVERSE:
        value = question.perp_price
        coin = order_cost_inverse(value, question.perp_price, question.leverage, question.perp_fee, -1).total
        return spot + coin * question.spot_price
    per_base = question.perp_price / float(perp.multiplier)
    return spot + order_cost_linear(1.0, per_base, question.leverage, question.perp_fee, -1).total


# --- filters ------------------------------------------------------------------------------------------------------


def _minimum_code(question: SizeQuestion, found: _Hedge) -> int:
    spot, perp = question.pair.spot, question.pair.perp
    return joint_minimum(
        found.spot_lots,
        found.perp_lots,
        found.spot_value,
        found.perp_value,
        _min_lots(spot),
        _min_lots(perp),
        float(spot.min_notional),
        float(perp.min_notional),
    )


def _min_lots(leg: Instrument) -> int:
    return math.ceil(leg.min_quantity / leg.lot)


def _smallest(question: SizeQuestion) -> _Hedge:
    """The smallest hedge that passes both venues' filters."""
    spot, perp = question.pair.spot, question.pair.perp
    step = joint_step(spot, perp).perp_lots
    one = _hedge_of_perp(question, step)
    perp_needs = max(_min_lots(perp), math.ceil(float(perp.min_notional) / (one.perp_value / step)))
    spot_lot_value = float(spot.value_per_lot) * question.spot_price
    spot_lots = max(_min_lots(spot), math.ceil(float(spot.min_notional) / spot_lot_value))
    per_perp_lot = one.perp_base / step
    kept = float(spot.value_per_lot) * (1 - _fee_in_base(question))
    spot_needs = math.floor((spot_lots - 1) * kept / per_perp_lot)
    # One step below the estimate, because quotients of floats may round up.
    steps = max(1, max(perp_needs, spot_needs) // step - 1)
    found = _hedge_of_perp(question, steps * step)
    while _minimum_code(question, found) != OK:
        steps += 1
        found = _hedge_of_perp(question, steps * step)
    return found


def _require_minimum(question: SizeQuestion, found: _Hedge, smallest: _Hedge) -> None:
    code = _minimum_code(question, found)
    if code == OK:
        return
    flag, value = ("--target", question.target) if question.target is not None else ("--capital", question.capital)
    what = "quantity" if code == BELOW_MIN_QUANTITY else "notional"
    raise RefusedError(
        f"{flag} = {exact(value or 0.0)} gives {found.perp_lots} perp lots and {found.spot_lots} spot lots, below the"
        f" smallest {what} of {question.pair.spot.key} or {question.pair.perp.key}",
        remedy=f"the smallest hedge is {rounded(smallest.perp_base)} {question.pair.spot.base}; it costs"
        f" {rounded(smallest.cost)} {question.pair.spot.quote}",
    )


# --- what is shown ------------------------------------------------------------------------------------------------


def _values(question: SizeQuestion, found: _Hedge, smallest: _Hedge, capital: float) -> dict[str, Any]:
    spot, perp = question.pair.spot, question.pair.perp
    return {
        "pair": question.pair.name,
        "base": spot.base,
        "quote": spot.quote,
        "spot": {
            "instrument": spot.key,
            "lots": found.spot_lots,
            "order_quantity": order_text(found.spot_lots, spot.lot),
            "base": found.spot_base,
            "base_after_fee": found.spot_base_kept,
            "notional": found.spot_value,
            "cost": found.spot_cost,
        },
        "perp": {
            "instrument": perp.key,
            "lots": found.perp_lots,
            "order_quantity": order_text(found.perp_lots, perp.lot),
            "base": found.perp_base,
            "notional": found.perp_value,
            "cost": found.perp_cost,
        },
        "residual_base": found.residual,
        "cost": found.cost,
        "smallest_hedge": {
            "spot_lots": smallest.spot_lots,
            "perp_lots": smallest.perp_lots,
            "base": smallest.perp_base,
            "cost": smallest.cost,
        },
        "minimum_capital": capital,
    }


def _lines(question: SizeQuestion, found: _Hedge, smallest: _Hedge, capital: float) -> tuple[tuple[str, str], ...]:
    spot, perp = question.pair.spot, question.pair.perp
    return (
        ("buy spot", f"{order_text(found.spot_lots, spot.lot)} {spot.symbol} ({found.spot_lots:,} lots)"),
        ("sell perp", f"{order_text(found.perp_lots, perp.lot)} {perp.symbol} ({found.perp_lots:,} lots)"),
        ("residual", f"{rounded(found.residual)} {spot.base} of spot beyond the perp"),
        (
            "cost",
            f"{rounded(found.cost)} {spot.quote}: spot {rounded(found.spot_cost)}, perp {rounded(found.perp_cost)}",
        ),
        ("smallest hedge", f"{rounded(smallest.perp_base)} {spot.base} for {rounded(smallest.cost)} {spot.quote}"),
        ("minimum capital", f"{rounded(capital)} {spot.quote}"),
    )


def _steps(question: SizeQuestion, found: _Hedge, smallest: _Hedge, capital: float) -> tuple[Step, ...]:
    spot = question.pair.spot
    base, quote = spot.base, spot.quote
    per_lot, fee = _perp_base_per_lot(question), _fee_in_base(question)
    spot_lot = float(spot.value_per_lot)
    joint = joint_step(spot, question.pair.perp).perp_lots
    steps = []
    target = question.target
    if target is None:
        capital_given, per_base = question.capital or 0.0, _cost_per_base(question)
        target = capital_given / per_base
        steps.append(
            Step(
                "Target",
                "capital / cost of one base unit of both legs",
                f"{exact(capital_given)} / {rounded(per_base)}",
                target,
                base,
            )
        )
    steps += [
        Step(
            "Perp lots",
            "floor(target / base per lot), a multiple of the joint step, within the capital",
            f"floor({rounded(target)} / {rounded(per_lot)}), step {joint}",
            found.perp_lots,
            "lots",
        ),
        Step(
            "Spot lots",
            "ceil(perp base / (base per lot x (1 - fee in base)))",
            f"ceil({rounded(found.perp_base)} / ({exact(spot_lot)} x (1 - {percent(fee)})))",
            found.spot_lots,
            "lots",
        ),
        Step(
            "Residual",
            "spot base x (1 - fee in base) - perp base",
            f"{rounded(found.spot_base)} x (1 - {percent(fee)}) - {rounded(found.perp_base)}",
            found.residual,
            base,
        ),
        Step(
            "Cost of the perp leg",
            f"margin at {exact(question.leverage)}x + fee to open + fee to close at the bankruptcy price",
            _perp_cost_text(question, found),
            found.perp_cost,
            quote,
        ),
        Step(
            "Minimum capital",
            "cost of the smallest hedge / (deploy x weight)",
            f"{rounded(smallest.cost)} / ({exact(question.deploy)} x {exact(question.weight)})",
            capital,
            quote,
        ),
    ]
    return tuple(steps)


def _perp_cost_text(question: SizeQuestion, found: _Hedge) -> str:
    value, fee, leverage = found.perp_value, question.perp_fee, question.leverage
    if question.pair.perp.kind is Kind.INVERSE:
        value = found.perp_base * question.spot_price
        closing = f"{rounded(value)} x (1 - 1 / {exact(leverage)}) x {percent(fee)}"
    else:
        closing = f"{rounded(value)} x (1 + 1 / {exact(leverage)}) x {percent(fee)}"
    return f"{rounded(value)} / {exact(leverage)} + {rounded(value)} x {percent(fee)} + {closing}"


def _checks(question: SizeQuestion, found: _Hedge) -> tuple[Check, ...]:
    """That nothing smaller in spot would cover the perp; and the residual on exact fractions."""
    lot = Fraction(question.pair.spot.value_per_lot)
    kept = found.spot_lots * lot * (1 - Fraction(repr(_fee_in_base(question))))
    perp = question.pair.perp
    base = found.perp_lots * Fraction(perp.value_per_lot)
    if perp.kind is Kind.INVERSE:
        base /= Fraction(repr(question.perp_price))
    return (
        Check(
            "put back: spot after its fee = perp + residual, on exact fractions",
            float(kept),
            float(base) + found.residual,
            float(kept),
            question.pair.spot.base,
        ),
    )


def _notes(question: SizeQuestion) -> tuple[str, ...]:
    spot, perp = question.pair.spot, question.pair.perp
    notes = [
        f"Filters: {leg.key} lot {leg.lot.normalize():f}, smallest {leg.min_quantity.normalize():f},"
        f" smallest notional {leg.min_notional.normalize():f}."
        for leg in (spot, perp)
    ]
    where = "taken from the bought base" if question.fee_in_base else "paid in quote"
    notes.append(f"Spot fee {percent(question.spot_fee)} {where}; perp fee {percent(question.perp_fee)}.")
    if perp.kind is Kind.INVERSE:
        notes.append("The coin margin of the inverse perp is bought besides the hedged spot, at the spot price.")
    apart = question.perp_price / (1 if perp.kind is Kind.INVERSE else float(perp.multiplier)) / question.spot_price - 1
    notes.append(f"Perp {rounded_percent(abs(apart))} {'above' if apart >= 0 else 'below'} spot.")
    return tuple(notes)

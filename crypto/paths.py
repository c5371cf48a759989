"""What random price paths are made of: returns of real bars, and a jump diffusion fitted to them.

Spec: docs/specs/first_passage.md. Returns are of the log price; the paths themselves run in ``crypto.first_passage``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from crypto.errors import DataError, UsageError
from crypto.market import Bars, Floats
from crypto.units import HOURS_PER_YEAR

# Fewer returns than this say nothing about a distribution's tails.
LEAST_RETURNS = 30
# A return beyond this many deviations of the jump-free part counts as a jump.
JUMP_THRESHOLD = 4.0


class Returns(NamedTuple):
    """Log returns of bars against the close before, shape (n,): at the close, the high and the low of each bar."""

    change: Floats
    high: Floats
    low: Floats


@dataclass(frozen=True, slots=True)
class JumpDiffusion:
    """Merton's model (1976). ``volatility`` of the diffusion, a year; ``jump_rate``: jumps a year; a jump of the log
    price is normal of ``jump_mean`` and ``jump_deviation``. ``UsageError`` names what is out of range.
    """

    volatility: float
    jump_rate: float = 0.0
    jump_mean: float = 0.0
    jump_deviation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("volatility", "jump_rate", "jump_mean", "jump_deviation"):
            value = getattr(self, name)
            lowest = -math.inf if name == "jump_mean" else 0.0
            if not (math.isfinite(value) and value >= lowest) or (name == "volatility" and value == 0):
                words = {"volatility": "a number above 0", "jump_mean": "a finite number"}
                raise UsageError(
                    f"{name.replace('_', ' ')} = {value} is out of range",
                    remedy=f"give {words.get(name, '0 or more')}",
                )

    def log_drift(self, drift: float) -> float:
        """Drift of the diffusion a year for which the expected price grows at rate ``drift`` a year."""
        growth_by_jumps = math.exp(self.jump_mean + 0.5 * self.jump_deviation**2) - 1.0
        return drift - 0.5 * self.volatility**2 - self.jump_rate * growth_by_jumps


def bar_returns(bars: Bars) -> Returns:
    """Returns of every bar that follows a bar; a bar after a hole (NaN) has none.

    ``DataError`` for prices that are not positive, for a high or low that contradicts its close, and for fewer than
    ``LEAST_RETURNS`` returns.
    """
    for name in ("high", "low", "close"):
        column = getattr(bars, name)
        wrong = np.isfinite(column) & (column <= 0)
        if wrong.any() or np.isinf(column).any():
            row = int(np.argmax(wrong | np.isinf(column)))
            raise DataError(f"bar {row}: {name} = {column[row]} is not a price", remedy="run carry data check")
    known = np.isfinite(bars.close) & np.isfinite(bars.high) & np.isfinite(bars.low)
    follows = known[1:] & np.isfinite(bars.close[:-1])
    before = np.where(follows, bars.close[:-1], 1.0)
    found = [
        np.log(np.where(follows, column[1:], 1.0) / before)[follows] for column in (bars.close, bars.high, bars.low)
    ]
    change, high, low = found
    if change.size < LEAST_RETURNS:
        raise DataError(
            f"{change.size} returns are too few to draw paths from", remedy=f"give a range with {LEAST_RETURNS} or more"
        )
    wrong = (high < change - 1e-12) | (low > change + 1e-12)
    if wrong.any():
        raise DataError(f"return {int(np.argmax(wrong))}: close outside high and low", remedy="run carry data check")
    return Returns(change, high, low)


def with_growth(returns: Returns, growth_per_step: float) -> Returns:
    """Returns shifted so that the expected price grows by exp(``growth_per_step``) a step; highs and lows follow."""
    shift = growth_per_step - math.log(float(np.mean(np.exp(returns.change))))
    return Returns(returns.change + shift, returns.high + shift, returns.low + shift)


def fitted(change: Floats, step_hours: float, threshold: float = JUMP_THRESHOLD) -> JumpDiffusion:
    """A jump diffusion from returns of one step length.

    Bipower variation (Barndorff-Nielsen and Shephard 2004), which jumps hardly enter, gives a first volatility; returns
    beyond ``threshold`` of it count as jumps (Mancini 2009); the others give the volatility, the jumps their rate, mean
    and deviation. ``DataError`` when returns do not vary.
    """
    centred = change - float(np.median(change))
    first = math.sqrt(0.5 * math.pi * float(np.mean(np.abs(centred[1:]) * np.abs(centred[:-1]))))
    if not first > 0:
        raise DataError("returns do not vary, so no volatility can be fitted", remedy="give a longer range of prices")
    is_jump = np.abs(centred) > threshold * first
    jumps = centred[is_jump]
    steps_per_year = HOURS_PER_YEAR / step_hours
    return JumpDiffusion(
        volatility=float(np.std(centred[~is_jump])) * math.sqrt(steps_per_year),
        jump_rate=jumps.size / change.size * steps_per_year,
        jump_mean=float(jumps.mean()) if jumps.size else 0.0,
        jump_deviation=float(jumps.std()) if jumps.size else 0.0,
    )

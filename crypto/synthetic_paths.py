"""Minute paths behind a synthetic market: regimes, volatility, prices, premiums, volumes. Model: docs/specs/sample.md.

Each random series draws from its own stream, named after it, so that one more asset leaves the others as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log

import numpy as np

from crypto.market import Floats, Integers
from crypto.scenario import BURN_IN_MINUTES, DAY_MINUTES, AssetParameters, Scenario
from crypto.units import MINUTE_MS

YEAR_MINUTES = 365 * DAY_MINUTES

SHOCK_DEGREES_OF_FREEDOM = 5.0
PRICE_HALF_LIFE = 180.0 * DAY_MINUTES
BULL_DRIFT, BEAR_DRIFT = 0.5, -1.5  # of the log price, per year
SLOW_VOLATILITY = (5.0 * DAY_MINUTES, 0.30)  # half-life in minutes, standard deviation of the log volatility
FAST_VOLATILITY = (240.0, 0.30)
OWN_VOLATILITY = (480.0, 0.25)
WEEKEND_VOLATILITY = 0.75

BULL_DAYS, BEAR_DAYS = (20.0, 45.0), (6.0, 14.0)
BULL_PREMIUM, BEAR_PREMIUM = 0.00055, -0.00080
REGIME_HALF_LIFE = float(DAY_MINUTES)
COMMON_PREMIUM = (960.0, 0.00018)
OWN_PREMIUM = (480.0, 0.00012)
QUOTE_NOISE = (3.0, 0.00012)
PREMIUM_RETURN_CORRELATION = 0.3

CRASH_SHARE_OF_PERIOD = (0.55, 0.65)
CRASH_MINUTES = 300
CRASH_LOG_DROP = -log(0.75)
CRASH_REBOUND = 0.35
CRASH_REBOUND_HALF_LIFE = 720.0
CRASH_VOLATILITY = 4.0
CRASH_VOLATILITY_HALF_LIFE = 480.0
CRASH_PREMIUM = -0.0150
CRASH_PREMIUM_HALF_LIFE = 90.0
CRASH_QUOTE_NOISE = 6.0
CRASH_VOLUME = 4.0

OUTAGE_SHARE_OF_PERIOD = (0.2, 0.4)

VOLUME_ACTIVITY = (180.0, 0.40)
VOLUME_NOISE = 0.35
WEEKEND_VOLUME = 0.65


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happens when, in minutes from the start. ``switches``: ascending (minute, whether bear)."""

    switches: tuple[tuple[int, bool], ...]
    crash_minute: int
    outage_minute: int


@dataclass(frozen=True, slots=True)
class MarketState:
    """What all assets share, on minute points from the burn-in on (``drift``, ``shocks``, ``season``: on the steps).

    ``bear``: smoothed regime, 0 bull to 1 bear. ``log_volatility``: common part. ``crash``: log price added to an asset
    of crash 1. ``crash_heat``: 0 to 1, how far volatility and volume are raised. ``crash_premium``: premium added.
    """

    timeline: Timeline
    bear: Floats
    drift: Floats
    shocks: Floats
    log_volatility: Floats
    season: Floats
    premium: Floats
    crash: Floats
    crash_heat: Floats
    crash_premium: Floats


@dataclass(frozen=True, slots=True)
class AssetPath:
    """One asset before it is cut into bars: minute points from the burn-in on, unrounded; volumes on the steps."""

    index: Floats
    premium: Floats
    spot_volume: Floats
    perp_volume: Floats


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of that name: independent of every other name under the same seed."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=tuple(name.encode()))
    return np.random.Generator(np.random.PCG64(sequence))


def decaying_sum(increments: Floats, half_life: float) -> Floats:
    """``y[t] = 0.5 ** (1 / half_life) * y[t - 1] + increments[t]``, ``y[0] = increments[0]``; half-life in steps."""
    decay = 0.5 ** (1.0 / half_life)
    values = accumulate(increments.tolist(), lambda level, increment: decay * level + increment)
    return np.fromiter(values, dtype=np.float64, count=increments.size)


def ornstein_uhlenbeck(normals: Floats, half_life: float, deviation: float) -> Floats:
    """Stationary mean-reverting path around 0 with that half-life in steps and standard deviation."""
    decay = 0.5 ** (1.0 / half_life)
    increments = normals * (deviation * (1.0 - decay * decay) ** 0.5)
    increments[0] = normals[0] * deviation
    return decaying_sum(increments, half_life)


def unit_student(random: np.random.Generator, size: int) -> Floats:
    """Student t shocks with variance 1: the fat tail that volatility alone doesn't give."""
    freedom = SHOCK_DEGREES_OF_FREEDOM
    return np.asarray(random.standard_t(freedom, size) * ((freedom - 2.0) / freedom) ** 0.5)


def timeline(scenario: Scenario) -> Timeline:
    """Crash, outage and regimes. The crash opens a bear phase; bull and bear phases alternate from it both ways."""
    random = stream(scenario.seed, "market/timeline")
    crash_day = int(random.uniform(*CRASH_SHARE_OF_PERIOD) * scenario.days)
    crash_minute = crash_day * DAY_MINUTES + int(random.integers(12 * 60, 18 * 60))
    outage_day = int(random.uniform(*OUTAGE_SHARE_OF_PERIOD) * scenario.days)
    outage_minute = outage_day * DAY_MINUTES + 60 * int(random.integers(1, 9))
    return Timeline(_regime_switches(random, crash_minute, scenario.minutes), crash_minute, outage_minute)


def _regime_switches(random: np.random.Generator, crash_minute: int, minutes: int) -> tuple[tuple[int, bool], ...]:
    later = [(crash_minute, True)]
    while later[-1][0] < minutes:
        minute, bear = later[-1]
        later.append((minute + _phase_minutes(random, bear), not bear))
    earlier = [(crash_minute, True)]
    while earlier[-1][0] > 0:
        minute, bear = earlier[-1]
        earlier.append((minute - _phase_minutes(random, not bear), not bear))
    return (*reversed(earlier[1:]), *later)


def _phase_minutes(random: np.random.Generator, bear: bool) -> int:
    return int(random.uniform(*(BEAR_DAYS if bear else BULL_DAYS)) * DAY_MINUTES)


def market_state(scenario: Scenario) -> MarketState:
    """Everything that the assets of a scenario share."""
    events = timeline(scenario)
    minute = np.arange(-BURN_IN_MINUTES, scenario.minutes + 1)
    starts = np.array([start for start, _ in events.switches])
    is_bear = np.array([bear for _, bear in events.switches])
    regime = is_bear[np.maximum(np.searchsorted(starts, minute, side="right") - 1, 0)].astype(np.float64)
    volatility_random = stream(scenario.seed, "market/volatility")
    log_volatility = sum_of_processes(volatility_random, minute.size, (SLOW_VOLATILITY, FAST_VOLATILITY))
    shocks = unit_student(stream(scenario.seed, "market/return"), minute.size - 1)
    premium_random = stream(scenario.seed, "market/premium")
    crash, heat, crash_premium = crash_paths(minute - events.crash_minute)
    return MarketState(
        timeline=events,
        bear=smoothed_regime(regime),
        drift=np.where(regime[:-1] > 0, BEAR_DRIFT, BULL_DRIFT) / YEAR_MINUTES,
        shocks=shocks,
        log_volatility=log_volatility,
        season=volatility_season(minute[:-1], scenario.start_ms),
        premium=ornstein_uhlenbeck(_premium_shocks(premium_random, shocks), *COMMON_PREMIUM),
        crash=crash,
        crash_heat=heat,
        crash_premium=crash_premium,
    )


def sum_of_processes(random: np.random.Generator, size: int, parameters: Sequence[tuple[float, float]]) -> Floats:
    """Sum of independent mean-reverting paths, each given by half-life in steps and standard deviation."""
    total = np.zeros(size)
    for half_life, deviation in parameters:
        total += ornstein_uhlenbeck(random.standard_normal(size), half_life, deviation)
    return total


def smoothed_regime(regime: Floats) -> Floats:
    """0 (bull) to 1 (bear): the regime as the premium follows it, with the regime's half-life."""
    weight = 1.0 - 0.5 ** (1.0 / REGIME_HALF_LIFE)
    increments = regime * weight
    increments[0] = regime[0]
    return decaying_sum(increments, REGIME_HALF_LIFE)


def crash_paths(minute: Integers) -> tuple[Floats, Floats, Floats]:
    """Log price, heat and premium of the crash at minutes counted from its start (negative: before it)."""
    progress = np.clip(minute / CRASH_MINUTES, 0.0, 1.0)
    after = np.maximum(minute - CRASH_MINUTES, 0).astype(np.float64)
    fall = progress - np.sin(4.0 * np.pi * progress) / (4.0 * np.pi)  # two waves of selling with a pause between them
    rebound = CRASH_REBOUND * (1.0 - 0.5 ** (after / CRASH_REBOUND_HALF_LIFE))
    log_price = np.asarray(CRASH_LOG_DROP * (rebound - fall))
    heat = progress**0.5 * 0.5 ** (after / CRASH_VOLATILITY_HALF_LIFE)
    premium = CRASH_PREMIUM * progress**2 * 0.5 ** (after / CRASH_PREMIUM_HALF_LIFE)
    return log_price, heat, premium


def volatility_season(minute: Integers, start_ms: int) -> Floats:
    """Factor on volatility by hour of the UTC day (highest at 15:00) and by weekend; mean square 1 over a week."""
    shape, mean_square = _season(minute, start_ms, amplitude=0.25, weekend=WEEKEND_VOLATILITY)
    return np.asarray(shape / mean_square**0.5)


def volume_season(minute: Integers, start_ms: int) -> Floats:
    """Factor on volume by hour of the UTC day (highest at 15:00) and by weekend; about 1 on a working day."""
    return _season(minute, start_ms, amplitude=0.45, weekend=WEEKEND_VOLUME)[0]


def _season(minute: Integers, start_ms: int, *, amplitude: float, weekend: float) -> tuple[Floats, float]:
    def shape(minute_of_epoch: Integers) -> Floats:
        angle = 2.0 * np.pi * (minute_of_epoch % DAY_MINUTES - 15 * 60) / DAY_MINUTES
        day_of_week = (minute_of_epoch // DAY_MINUTES + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
        of_day = 1.0 + amplitude * (0.8 * np.cos(angle) + 0.2 * np.cos(2.0 * angle))
        return np.asarray(of_day * np.where(day_of_week >= 5, weekend, 1.0))

    week = shape(np.arange(7 * DAY_MINUTES))
    return shape(minute + start_ms // MINUTE_MS), float(np.mean(week * week))


def asset_path(scenario: Scenario, state: MarketState, parameters: AssetParameters) -> AssetPath:
    """Index price, premium and volumes of one asset, minute by minute from the burn-in on."""
    random = stream(scenario.seed, f"{parameters.base}/path")
    steps = state.shocks.size
    own_shocks = unit_student(random, steps)
    log_volatility = state.log_volatility + ornstein_uhlenbeck(random.standard_normal(steps + 1), *OWN_VOLATILITY)
    # Dividing by the mean of exp(2 h) keeps the annual volatility at its parameter.
    log_variance_mean = sum(deviation**2 for _, deviation in (SLOW_VOLATILITY, FAST_VOLATILITY, OWN_VOLATILITY))
    level = np.exp(log_volatility[:-1] - log_variance_mean) * (1.0 + CRASH_VOLATILITY * state.crash_heat[:-1])
    step_volatility = parameters.volatility / YEAR_MINUTES**0.5 * level * state.season
    shocks = parameters.correlation * state.shocks + (1.0 - parameters.correlation**2) ** 0.5 * own_shocks
    returns = np.concatenate(([0.0], step_volatility * shocks + state.drift))
    log_price = decaying_sum(returns, PRICE_HALF_LIFE) + parameters.crash * state.crash
    # Anchored to the first minute of the market, not of the burn-in, so that it opens at its start price.
    index = parameters.start_price * np.exp(log_price - log_price[BURN_IN_MINUTES])
    premium = _premium(random, state, parameters, own_shocks)
    spot_volume, perp_volume = _volumes(random, scenario, state, parameters, level)
    return AssetPath(index, premium, spot_volume, perp_volume)


def _premium(
    random: np.random.Generator, state: MarketState, parameters: AssetParameters, own_shocks: Floats
) -> Floats:
    level = BULL_PREMIUM + (BEAR_PREMIUM - BULL_PREMIUM) * state.bear
    own = ornstein_uhlenbeck(_premium_shocks(random, own_shocks), *OWN_PREMIUM)
    noise = ornstein_uhlenbeck(random.standard_normal(level.size), *QUOTE_NOISE)
    unrest = noise * (1.0 + CRASH_QUOTE_NOISE * state.crash_heat)
    moves = parameters.premium * (state.premium + own)
    return np.asarray(level + moves + unrest + parameters.crash * state.crash_premium)


def _premium_shocks(random: np.random.Generator, return_shocks: Floats) -> Floats:
    """Normals that lean on the returns: leverage follows price, so the premium widens when prices rise."""
    fresh = random.standard_normal(return_shocks.size + 1)
    correlation = PREMIUM_RETURN_CORRELATION
    leaning = np.concatenate(([fresh[0]], correlation * return_shocks + (1.0 - correlation**2) ** 0.5 * fresh[1:]))
    return np.asarray(leaning)


def _volumes(
    random: np.random.Generator, scenario: Scenario, state: MarketState, parameters: AssetParameters, level: Floats
) -> tuple[Floats, Floats]:
    steps = level.size
    minute = np.arange(-BURN_IN_MINUTES, scenario.minutes)
    activity = ornstein_uhlenbeck(random.standard_normal(steps), *VOLUME_ACTIVITY)
    panic = 1.0 + CRASH_VOLUME * state.crash_heat[:-1]
    common = np.exp(activity) * level * volume_season(minute, scenario.start_ms) * panic
    spot = common * np.exp(VOLUME_NOISE * random.standard_normal(steps)) * parameters.spot.hourly_volume / 60.0
    perp = common * np.exp(VOLUME_NOISE * random.standard_normal(steps)) * parameters.perp.hourly_volume / 60.0
    return spot, perp

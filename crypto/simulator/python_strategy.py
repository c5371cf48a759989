"""The pipeline of Python stages on the simulated exchange: the way to run a strategy of one's own."""

from __future__ import annotations

import math

from crypto.pipeline import execution, features, signal
from crypto.pipeline.features import Features
from crypto.pipeline.risk import Approved
from crypto.pipeline.stages import Allocator, CarrySignal, FeatureEngine, LimitGuard, PairAllocator, RiskGuard, SignalModel
from crypto.simulator.desk import send
from crypto.simulator.state import World
from crypto.simulator.strategy import account_of, act, close_finished, filters_of, is_quiet, note_decision, note_signal


class WorldFeatures:
    """Default feature engine on the arrays of a world."""

    def __init__(self, world: World) -> None:
        self._arguments = (
            world.pairs,
            world.quotes,
            world.rules,
            world.legs,
            world.settle_ms,
            world.settle_rate,
            world.settle_hours,
            world.settle_alpha,
        )

    def update(self, pair: int) -> Features:
        """See ``crypto.pipeline.features.update``."""
        return features.update(*self._arguments, pair)


class PythonPipeline:
    """Features, signal, portfolio, risk and execution for every pair, stage by stage, in Python.

    Pass a stage to replace its default. ``world`` is only known when a run starts, so defaults are built in ``bind``.
    """

    def __init__(
        self,
        *,
        feature_engine: FeatureEngine | None = None,
        signal_model: SignalModel | None = None,
        allocator: Allocator | None = None,
        risk_guard: RiskGuard | None = None,
    ) -> None:
        self._given = (feature_engine, signal_model, allocator, risk_guard)

    def bind(self, world: World) -> None:
        """Build the default stages on the world's arrays and keep views of what every instant reads."""
        engine, model, allocator, guard = self._given
        self._world = world
        self._features = engine or WorldFeatures(world)
        self._signal = model or CarrySignal(world.rules)
        self._allocator = allocator or PairAllocator(world.rules)
        self._guard = guard or LimitGuard(world.rules)
        self._pairs = range(world.pairs.shape[0])
        self._run = world.run
        self._time = world.run["time_ms"]
        self._killed = world.run["killed"]
        self._instant = world.run["instant"]
        self._phase = world.pairs["phase"]
        self._last_signal = world.pairs["last_signal"]
        self._attention = world.quotes["attention"]
        self._direction = world.pairs["direction"]
        self._series = world.series

    def on_instant(self) -> None:
        """The strategy's turn."""
        time_ms, instant = int(self._time[0]), int(self._instant[0])
        for pair in self._pairs:
            self._decide(pair, time_ms, instant)

    def _decide(self, pair: int, time_ms: int, instant: int) -> None:
        world = self._world
        if self._direction[pair] != 0:
            close_finished(world, pair)
        seen = self._features.update(pair)
        self._series[instant, pair, 1] = seen.carry_annual if seen.warm else math.nan
        if self._phase[pair] != execution.IDLE:
            send(world, pair)
            return
        held = signal.position(world.pairs, pair, time_ms)
        found = self._signal.evaluate(seen, held)
        if found.reason != self._last_signal[pair]:
            note_signal(world, pair, found, seen)
        if is_quiet(found, held.direction, self._attention[pair], self._killed[0]):
            return
        account, filters = account_of(world, pair), filters_of(world, pair)
        target = self._allocator.allocate(found, seen, held, account, filters)
        decision = self._guard.review(target, seen, account, filters)
        if isinstance(decision, Approved):
            note_decision(world, pair, target, True, decision.target.reason)
            act(world, pair, seen, decision.target)
        else:
            note_decision(world, pair, target, False, decision.reason)

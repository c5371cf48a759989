"""The pipeline of Python stages on the simulated exchange: the way to run a strategy of one's own."""

from __future__ import annotations

import numpy as np

from crypto.pipeline import execution
from crypto.pipeline.features import Features
from crypto.pipeline.risk import Approved
from crypto.pipeline.rules import values_of
from crypto.pipeline.signal import Position, Signal
from crypto.pipeline.stages import Allocator, CarrySignal, LimitGuard, PairAllocator, RiskGuard, SignalModel
from crypto.simulator.state import World
from crypto.simulator.strategy import decision_made, is_quiet, send_due, signal_found, situation_of


class PythonPipeline:
    """Signal, portfolio and risk as Python objects for every pair; features come ready from the step.

    Pass a stage to replace its default. Defaults need the run's rules, so they are built when a run starts.
    """

    def __init__(
        self,
        *,
        signal_model: SignalModel | None = None,
        allocator: Allocator | None = None,
        risk_guard: RiskGuard | None = None,
    ) -> None:
        self._given = (signal_model, allocator, risk_guard)

    def bind(self, world: World) -> None:
        """Build the default stages and keep views of what every instant reads."""
        model, allocator, guard = self._given
        rules = values_of(world.rules)
        self._world = world
        self._signal = model or CarrySignal(rules)
        self._allocator = allocator or PairAllocator(rules)
        self._guard = guard or LimitGuard(rules)
        self._features, self._positions = np.asarray(world.features), np.asarray(world.positions)
        self._phase = world.pairs["phase"]
        self._last_signal = world.pairs["last_signal"]
        self._attention = world.quotes["attention"]
        self._killed = world.run["killed"]

    def on_instant(self) -> None:
        """The strategy's turn."""
        killed = int(self._killed[0])
        phases, attention = self._phase.tolist(), self._attention.tolist()
        reasons = self._last_signal.tolist()
        features, positions = self._features.tolist(), self._positions.tolist()
        for pair, phase in enumerate(phases):
            if phase != execution.IDLE:
                send_due(self._world, pair)
                continue
            seen, held = Features(*features[pair]), Position(*positions[pair])
            found = self._signal.evaluate(seen, held)
            if found.reason != reasons[pair]:
                signal_found(self._world, pair, found, seen)
            if not is_quiet(found, held.direction, attention[pair], killed):
                self._decide(pair, found, seen, held)

    def _decide(self, pair: int, found: Signal, seen: Features, held: Position) -> None:
        account, filters = situation_of(self._world, pair)
        target = self._allocator.allocate(found, seen, held, account, filters)
        decision = self._guard.review(target, seen, account, filters)
        if isinstance(decision, Approved):
            decision_made(self._world, pair, seen, decision.target, True, decision.target.reason)
        else:
            decision_made(self._world, pair, seen, target, False, decision.reason)

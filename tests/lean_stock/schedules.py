"""The two recorded strategies as rules: hold one pair, and open, add, trim and close on a fixed hourly schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod

from crypto.pipeline.orders import OrderStatus
from crypto.simulator.order_entry import enter_order
from crypto.simulator.state import World
from crypto.units import HOUR_MS

SPOT, PERP = 0, 1


class Schedule(ABC):
    """Base of a schedule: hours of the run since its first instant, orders in base units."""

    def bind(self, world: World) -> None:
        self._world = world

    def on_instant(self) -> None:
        hour = (int(self._world.run[0].time_ms) - int(self._world.rules[0].start_ms)) // HOUR_MS - 1
        self.on_hour(hour)

    @abstractmethod
    def on_hour(self, hour: int) -> None: ...

    def trade(self, leg: int, base: float, **kwargs: float) -> None:
        lots = round(base / float(self._world.legs[leg].base_per_lot))
        assert enter_order(self._world, leg, lots, **kwargs) == 0

    def close(self, leg: int) -> None:
        lots = int(self._world.legs[leg].lots)
        if lots:
            assert enter_order(self._world, leg, -lots, reduce_only=True) == 0


class StaticCarry(Schedule):
    """First slice: market buy 1 spot, then market sell 1 perp."""

    def on_hour(self, hour: int) -> None:
        if hour == 0:
            self.trade(SPOT, 1.0)
            self.trade(PERP, -1.0)


class SwitchingCarry(Schedule):
    """Hour k modulo 120: 0 open 0.5; 30 add 0.25; 61 trim 0.3; 100 close what is held.

    The trim of the perp is a limit order 0.1 % away, at market after six hours.
    """

    CYCLE_HOURS, ADD, TRIM, GIVE_UP, CLOSE = 120, 30, 61, 67, 100

    def on_hour(self, hour: int) -> None:
        phase = hour % self.CYCLE_HOURS
        if phase in (0, self.ADD):
            size = 0.5 if phase == 0 else 0.25
            self.trade(SPOT, size)
            self.trade(PERP, -size)
        elif phase == self.TRIM:
            self.trade(SPOT, -0.3)
            price = float(self._world.bars[PERP, int(self._world.run[0].instant) - 1, 3])
            self.trade(PERP, 0.3, limit_price=round(price * 0.999, 1))
        elif phase == self.GIVE_UP and self._last_perp_order_timed_out():
            self.trade(PERP, 0.3)
        elif phase == self.CLOSE:
            self.close(SPOT)
            self.close(PERP)

    def _last_perp_order_timed_out(self) -> bool:
        orders = self._world.orders[: int(self._world.run[0].order_rows)]
        last = orders[orders["leg"] == PERP][-1]
        return int(last["status"]) == OrderStatus.CANCELLED

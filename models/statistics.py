"""Post-trade: our attribution in Lean's charts, runtime and summary statistics, and the ledger in its object store."""

from __future__ import annotations

import math
import re

from AlgorithmImports import QCAlgorithm

from crypto.ledger import COMPONENT_NAMES, Component, Flow
from crypto.simulator.hosted import HostedExchange
from crypto.units import DAY_MS, iso

SAMPLES = 200  # points of a chart over the whole run, at most one a day: each costs 18 us (lean-measured.md J.3)
CHART = "Carry"
_SHOWN = (Component.BASIS, Component.DELTA, Component.FUNDING, Component.BORROW, Component.FEES, Component.SLIPPAGE)
_COLUMNS = ("time_ms", "flow", "wallet", "asset", "leg", "order", "amount", "value", "price", "rate", "quantity")


def store_folder(name: str) -> str:
    """A run's folder in the object store, which refuses points and most signs anywhere but in a file's ending."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


class PostTrade:
    """What the trade lives on: where the change of equity came from."""

    def __init__(self, algorithm: QCAlgorithm, exchange: HostedExchange, span_ms: int) -> None:
        self._algorithm, self._exchange = algorithm, exchange
        self._every_ms = max(DAY_MS, span_ms // SAMPLES // DAY_MS * DAY_MS)
        self._next_ms = 0
        self._shown = (*_SHOWN, Component.COLLATERAL) if exchange.world.coins else _SHOWN  # what fee coins gain

    def sample(self, now_ms: int) -> None:
        """A point of every series when it is time for one."""
        if now_ms < self._next_ms:
            return
        self._next_ms = now_ms - now_ms % DAY_MS + self._every_ms
        self._algorithm.log(f"{iso(now_ms)}: equity {self._exchange.run.equity:,.2f}")  # how far the run is
        self._exchange.attribute_moves()
        for component in self._shown:
            name = COMPONENT_NAMES[component]
            value = self.total(component)
            self._algorithm.plot(CHART, name, value)
            self._algorithm.set_runtime_statistic(name.capitalize(), f"{value:,.2f}")
        distance = self._exchange.risk.distance()
        if not math.isnan(distance):
            self._algorithm.plot("Liquidation distance", "percent", 100.0 * distance)
            self._algorithm.set_runtime_statistic("Liquidation distance", f"{distance:.1%}")

    def total(self, component: Component) -> float:
        """Sum of a component over all pairs and wallets so far, account currency."""
        return sum(value for (_, found), value in self._exchange.attribution.items() if found == component)

    def finish(self, name: str) -> None:
        """Summary statistics, and every cash flow as ``NAME/ledger.csv`` in the object store."""
        run = self._exchange.run
        self._exchange.attribute_moves()
        for component in self._shown:
            self._algorithm.set_summary_statistic(f"Carry {COMPONENT_NAMES[component]}", f"{self.total(component):.8f}")
        self._algorithm.set_summary_statistic("Carry equity", f"{run.equity:.8f}")
        self._algorithm.set_summary_statistic("Carry settlements paid", run.settlements_paid)
        self._algorithm.set_summary_statistic("Carry orders", run.order_rows)
        self._algorithm.set_summary_statistic("Carry liquidations", run.liquidations)
        self._algorithm.set_summary_statistic("Carry deleveragings", run.deleveragings)
        self._algorithm.set_summary_statistic("Carry kill switch", "on" if run.killed else "off")
        key = f"{store_folder(name)}/ledger.csv"
        if not self._algorithm.object_store.save(key, self.ledger()):
            self._algorithm.error(f"the object store did not take {key}: raise storage-limit in Lean's configuration")

    def ledger(self) -> str:
        """Every cash flow as comma-separated text with names instead of numbers."""
        names, lines = self._exchange.names, [",".join(("time", *_COLUMNS))]
        for row in self._exchange.world.ledger:
            words = {
                "flow": Flow(row.flow).name.lower(),
                "wallet": names.wallets[row.wallet],
                "asset": names.assets[row.asset],
                "leg": names.instruments[row.leg] if row.leg >= 0 else "",
            }
            values = (str(words.get(column, getattr(row, column))) for column in _COLUMNS)
            lines.append(",".join((iso(row.time_ms), *values)))
        return "\n".join(lines) + "\n"

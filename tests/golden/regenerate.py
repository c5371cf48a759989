"""The golden figures of the bundled sample run: ``python -m tests.golden.regenerate`` writes them again.

Do that only when a change of the results is meant, and say in the change log why they changed.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from crypto.ledger import Flow
from crypto.pipeline.orders import OrderReason, OrderStatus
from crypto.pipeline.reasons import Reason
from crypto.result import BacktestResult
from data.settings import load_settings
from research.backtest import load, run_backtest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config" / "carry.toml"
GOLDEN = Path(__file__).with_name("sample_run.json")
POINTS = 25  # instants at which the equity is kept


def sample_run(*, compiled: bool = True) -> BacktestResult:
    """The run of ``carry backtest`` without options."""
    settings = load_settings(CONFIG, [])
    return run_backtest(settings, load(settings), compiled=compiled)


def figures(result: BacktestResult) -> dict[str, Any]:
    """What is kept of a run: ``counts`` have to be equal, ``money`` to a relative 1e-9."""
    ledger, orders, trips = result.ledger, result.orders, result.trips
    instants = np.linspace(0, result.time_ms.size - 1, POINTS).astype(int)
    return {
        "counts": {
            "status": result.status,
            "config_hash": result.provenance["config_hash"],
            "data_hash": result.provenance["data_hash"],
            "instants": int(result.time_ms.size),
            "ledger": {flow.name.lower(): int(np.sum(ledger["flow"] == flow)) for flow in Flow},
            "orders": {status.name.lower(): int(np.sum(orders["status"] == status)) for status in OrderStatus},
            "order_reasons": {reason.name.lower(): int(np.sum(orders["reason"] == reason)) for reason in OrderReason},
            "filled_lots": [int(lots) for lots in orders["filled_lots"]],
            "journal": dict(sorted(Counter(entry["event"] for entry in result.journal).items())),
            "trips": [
                [result.pair_names[int(t["pair"])], int(t["direction"]), int(t["open_ms"]), int(t["close_ms"]),
                 Reason(int(t["reason"])).name.lower()]
                for t in trips
            ],
            "policies": dict(result.policies),
        },
        "money": {
            "equity": [float(result.equity[instant]) for instant in instants],
            "wallets": dict(zip(result.wallet_names, map(float, result.wallet_equity[-1]), strict=True)),
            "components": dict(result.summary["components"]),
            "pairs": {name: dict(parts) for name, parts in result.summary["pairs"].items()},
            "flows": {flow.name.lower(): float(ledger["value"][ledger["flow"] == flow].sum()) for flow in Flow},
            "trips": [float(trip["pnl"]) for trip in trips],
            "max_drawdown": result.summary["max_drawdown"],
            "turnover": result.summary["turnover"],
        },
    }  # fmt: skip


def main() -> None:
    GOLDEN.write_text(json.dumps(figures(sample_run()), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

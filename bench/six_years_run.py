"""Our side of the six-year benchmark, a process of its own: ingest, load, backtest; says how much memory it took."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench import engine
from bench.equality import require_traded
from bench.markets import count_bars, sum_close_ticks
from bench.measure import peak_memory_bytes


def main() -> None:
    """Write one JSON object to ``--out``: peak memory and what was read, so that it can be checked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="freqtrade's files")
    parser.add_argument("lake", type=Path, help="folder for the new lake")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    engine.ingest(arguments.folder, arguments.lake)
    settings = engine.make_settings(arguments.lake)
    market = engine.load(settings, arguments.lake)
    result = engine.run(settings, market, compiled=True)
    peak = peak_memory_bytes()
    require_traded(result, market)
    answer = {
        "peak_bytes": peak,
        "bars": count_bars(market),
        "close_ticks": sum_close_ticks(market),
        "ledger_rows": int(result.ledger.size),
        "final_equity": float(result.equity[-1]),
    }
    arguments.out.write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()

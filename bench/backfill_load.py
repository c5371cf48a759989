"""``python -m bench.backfill_load LAKE SYMBOLS``: loads that many symbols of a generated lake, prints peak memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.measure import peak_memory_bytes
from data.market import load_market
from data.store.lake import Lake


def main(root: str, symbols: int) -> None:
    """Load them as a backtest does, and print how many bars there are and how much memory it took at most."""
    keys = [f"binance:spot:S{number}USDT" for number in range(symbols)]
    market = load_market(Lake(Path(root)), keys, "1m", "", "", tolerance_ms=60_000)
    bars = sum(history.bars.close.size for history in market.instruments)
    print(json.dumps({"bars": bars, "peak_bytes": peak_memory_bytes()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

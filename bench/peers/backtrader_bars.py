"""backtrader with an empty strategy on the bars of feather files. Runs in the peers' interpreter.

Imports nothing of this project. ``--check`` counts the bars and adds up their closes in ticks instead.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import backtrader as bt
import pandas as pd


class EmptyStrategy(bt.Strategy):
    """Does nothing at each instant."""

    def next(self) -> None:
        """Do nothing."""


class CountingStrategy(bt.Strategy):
    """Counts the bars and adds up their closes in ticks."""

    params = (("decimals", ()),)

    def __init__(self) -> None:
        self.bars = 0
        self.close_ticks = 0

    def next(self) -> None:
        """Count the bar of every feed and add its close."""
        for feed, decimals in zip(self.datas, self.params.decimals, strict=True):
            self.bars += 1
            self.close_ticks += round(feed.close[0] * 10**decimals)


def main() -> None:
    """Write one JSON object to ``--out``: the version and, with ``--check``, the check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--decimals", required=True, help="decimals of each file's prices, separated by commas")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    cerebro = bt.Cerebro(stdstats=False)
    for file in arguments.files:
        cerebro.adddata(bt.feeds.PandasData(dataname=pd.read_feather(file).set_index("date").tz_localize(None)))
    if arguments.check:
        cerebro.addstrategy(CountingStrategy, decimals=tuple(int(text) for text in arguments.decimals.split(",")))
    else:
        cerebro.addstrategy(EmptyStrategy)
    strategy = cerebro.run()[0]
    answer: dict[str, object] = {"version": bt.__version__}
    if arguments.check:
        answer |= {"bars": strategy.bars, "close_ticks": strategy.close_ticks}
    arguments.out.write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()

"""nautilus_trader with an empty Python ``on_bar`` on the bars of an .npz file. Runs in the peers' interpreter.

Imports nothing of this project. ``--check`` counts the bars and adds up their closes in ticks instead of timing.
"""

from __future__ import annotations

import argparse
import json
import time
from decimal import Decimal
from pathlib import Path

import nautilus_trader
import numpy as np
import pandas as pd
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.currencies import BTC, ETH, USDT, XRP
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual, CurrencyPair, Instrument
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("BINANCE")
CURRENCIES = {"BTC": BTC, "ETH": ETH, "XRP": XRP}
SIZE_DECIMALS = 3


class EmptyStrategy(Strategy):
    """Subscribes to every bar and does nothing with it."""

    def __init__(self, bar_types: list[BarType]) -> None:
        super().__init__(StrategyConfig())
        self.bar_types = bar_types

    def on_start(self) -> None:
        """Subscribe to all bars."""
        for bar_type in self.bar_types:
            self.subscribe_bars(bar_type)

    def on_bar(self, bar: Bar) -> None:
        """Do nothing."""


class CountingStrategy(EmptyStrategy):
    """Counts the bars and adds up their closes in ticks, exactly."""

    def __init__(self, bar_types: list[BarType]) -> None:
        super().__init__(bar_types)
        self.bars = 0
        self.close_ticks = 0

    def on_bar(self, bar: Bar) -> None:
        """Count the bar and add its close."""
        self.bars += 1
        close = bar.close
        self.close_ticks += round(close.as_decimal() * 10**close.precision)


def make_instrument(key: str, base: str, decimals: int) -> Instrument:
    """Spot pair or linear perpetual with plain filters; the key is ``venue:kind:symbol``."""
    _, kind, symbol = key.split(":")
    common = {
        "raw_symbol": Symbol(symbol),
        "base_currency": CURRENCIES[base],
        "quote_currency": USDT,
        "price_precision": decimals,
        "size_precision": SIZE_DECIMALS,
        "price_increment": Price(10.0**-decimals, decimals),
        "size_increment": Quantity(10.0**-SIZE_DECIMALS, SIZE_DECIMALS),
        "margin_init": Decimal("0.05"),
        "margin_maint": Decimal("0.025"),
        "maker_fee": Decimal("0.0002"),
        "taker_fee": Decimal("0.0005"),
        "ts_event": 0,
        "ts_init": 0,
    }
    if kind == "spot":
        return CurrencyPair(instrument_id=InstrumentId(Symbol(symbol), VENUE), **common)
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol(f"{symbol}-PERP"), VENUE),
        settlement_currency=USDT,
        is_inverse=False,
        **common,
    )


def read_bars(archive: np.lib.npyio.NpzFile, leg: int) -> pd.DataFrame:
    """Frame of one leg, indexed by the close of each bar, which is when it may be seen."""
    values = archive[f"leg{leg}"]
    close_ms = archive["open_ms"] + int(archive["bar_ms"])
    index = pd.to_datetime(close_ms, unit="ms", utc=True)
    return pd.DataFrame(values.T, columns=["open", "high", "low", "close", "volume"], index=index)


def make_engine(bars_file: Path) -> tuple[BacktestEngine, list[BarType]]:
    """Engine with one venue, all instruments and all bars, ready to run."""
    engine = BacktestEngine(
        BacktestEngineConfig(trader_id="BENCH-001", logging=LoggingConfig(bypass_logging=True), run_analysis=False)
    )
    balances: list[Money] = [Money(1_000_000, currency) for currency in (*CURRENCIES.values(), USDT)]
    engine.add_venue(VENUE, oms_type=OmsType.NETTING, account_type=AccountType.MARGIN, starting_balances=balances)
    bar_types: list[BarType] = []
    with np.load(bars_file) as archive:
        for leg, key in enumerate(archive["keys"]):
            instrument = make_instrument(str(key), str(archive["bases"][leg]), int(archive["decimals"][leg]))
            engine.add_instrument(instrument)
            bar_type = BarType.from_str(f"{instrument.id}-1-HOUR-LAST-EXTERNAL")
            engine.add_data(BarDataWrangler(bar_type, instrument).process(read_bars(archive, leg)))
            bar_types.append(bar_type)
    return engine, bar_types


def main() -> None:
    """Write one JSON object to ``--out``: versions, and either the check or the seconds of ``engine.run``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bars", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    engine, bar_types = make_engine(arguments.bars)
    strategy = CountingStrategy(bar_types) if arguments.check else EmptyStrategy(bar_types)
    engine.add_strategy(strategy)
    wall, cpu = time.perf_counter(), time.process_time()
    engine.run()
    answer: dict[str, object] = {
        "version": nautilus_trader.__version__,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
    }
    if isinstance(strategy, CountingStrategy):
        answer |= {"bars": strategy.bars, "close_ticks": int(strategy.close_ticks)}
    arguments.out.write_text(json.dumps(answer), encoding="utf-8")
    engine.dispose()


if __name__ == "__main__":
    main()

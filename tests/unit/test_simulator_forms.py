"""The loop compiled, the stages in Python and everything interpreted: one and the same result, to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from crypto.compiled import is_enabled
from crypto.market import MarketHistory
from crypto.settings import DiscountSettings, FirstLeg, MissingPolicy, Settings, Style
from research.backtest import run_backtest
from tests.markets import BTC, BTC_INVERSE, ETH_BYBIT, PEPE, digest, make_settings, random_coin, random_market

PAIRS = [BTC, PEPE, BTC_INVERSE, ETH_BYBIT]
WALLETS = {
    "binance:spot": {"USDT": 60_000.0},
    "binance:linear": {"USDT": 25_000.0},
    "binance:inverse": {"BTC": 1.0},
    "bybit:unified": {"USDT": 40_000.0},
}
STYLES = {
    "taker": {"style": Style.TAKER},
    "taker, fees in coins": {"style": Style.TAKER},
    "maker": {"style": Style.MAKER_FIRST, "first_leg": FirstLeg.PERP, "leg_timeout_bars": 2},
}


def case(style: str) -> tuple[Settings, MarketHistory]:
    """Four pairs of every kind, gaps, thin volume, borrowed coins: a bit of everything."""
    coins = {
        name: {**held, "BNB": 0.05} for name, held in WALLETS.items() if name in ("binance:spot", "binance:linear")
    }
    in_coins = "coins" in style
    settings = make_settings(
        PAIRS,
        {**WALLETS, **coins} if in_coins else WALLETS,
        signal={"warmup_hours": 4.0, "holding_hours": 240.0, "forecast_half_life_hours": 8.0, "min_holding_hours": 2.0},
        slippage={"impact_bps": 10.0, "max_participation": 0.05},
        execution=STYLES[style],
        borrow={"enabled": True, "missing_rate": MissingPolicy.SKIP},
        fees={"discount": {"binance": DiscountSettings(enabled=in_coins)}},
    )
    history = random_market(PAIRS, 20_260_516, 96, gaps=0.03, interval=4, volume=200.0)
    if not in_coins:
        return settings, history
    return settings, replace(history, instruments=(*history.instruments, random_coin(7, 96, 0.03)))


@pytest.mark.parametrize("style", STYLES)
def test_compiled_loop_and_python_stages_give_the_same_bytes(style) -> None:
    settings, history = case(style)
    compiled, python = run_backtest(settings, history), run_backtest(settings, history, compiled=False)
    assert compiled.summary["fills"] > 10
    assert digest(compiled) == digest(python)
    assert (compiled.provenance["strategy"], python.provenance["strategy"]) == ("compiled", "python")


def test_running_twice_gives_the_same_bytes() -> None:
    settings, history = case("taker")
    assert digest(run_backtest(settings, history)) == digest(run_backtest(settings, history))


@pytest.mark.parametrize("style", STYLES)
def test_interpreted_and_compiled_give_the_same_bytes(style, repository: Path) -> None:
    """The other form runs in a process of its own: whether numba compiles is decided when it is imported."""
    program = (
        "import json\n"
        "from tests.markets import digest\n"
        "from tests.unit.test_simulator_forms import case\n"
        "from research.backtest import run_backtest\n"
        f"print(json.dumps(digest(run_backtest(*case({style!r})))))\n"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1" if is_enabled() else "0", "PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == digest(run_backtest(*case(style)))

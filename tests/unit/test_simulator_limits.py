"""Ends of a run: records that grow, a wallet that is used up, the last bar, markets with next to nothing in them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import research.backtest as job
from cli.app import main
from crypto.ledger import Flow
from crypto.simulator import loop
from crypto.simulator.loop import run_compiled, run_python
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from crypto.units import HOUR_MS
from research.backtest import run_backtest
from tests.markets import (
    BTC,
    BTC_INVERSE,
    ETH,
    INVERSE_WALLETS,
    NO_FEES,
    START,
    bars,
    enter,
    events,
    every,
    make_settings,
    market,
    one_pair,
    perp,
    rows,
    run_script,
    settlements,
    spot,
    without,
)
from tests.replay import assert_in_order, assert_sound

BUSY = {
    "signal": {"warmup_hours": 1.0, "min_holding_hours": 1.0, "forecast_half_life_hours": 0.001, "cooldown_hours": 1.0},
    "borrow": {"enabled": True, "hourly_rate": {"binance": {"BTC": 1e-5}}},
}


def busy_market(hours: int = 600):
    """Funding that changes its sign every day, so that both directions are traded again and again."""
    count = hours + 1
    rate = np.where(np.arange(count) // 24 % 2 == 0, 1e-3, -1e-3)
    return one_pair(BTC, 100.0, hours, due=settlements(every(1, hours), rate, 100.0, 1.0))


def shrunk(world, rows_left: int = 0):
    """The world with the smallest records that one step needs, so that they have to grow soon."""
    need = loop.ROWS_PER_LEG * world.legs.size + loop.SPARE_ROWS + rows_left
    small = {name: getattr(world, name)[:need].copy() for name in ("ledger", "orders", "journal", "trips")}
    return world._replace(**small)


def test_records_grow_without_losing_or_repeating_a_row() -> None:
    settings, history = make_settings([BTC], **BUSY), busy_market()
    whole = run_backtest(settings, history)
    assert whole.ledger.size > 400 + 60
    for run in (run_compiled, lambda world: run_python(world, PythonPipeline())):
        setup = build(settings, history)
        world = run(shrunk(setup.world, 4))
        assert world.ledger.size > shrunk(setup.world, 4).ledger.size
        count = int(world.run[0].ledger_rows)
        assert np.asarray(world.ledger[:count]).tobytes() == whole.ledger.tobytes()
        assert np.asarray(world.orders[: world.run[0].order_rows]).tobytes() == whole.orders.tobytes()


@pytest.mark.parametrize("compiled", [True, False])
def test_progress_counts_up_to_the_last_bar(compiled) -> None:
    seen: list[tuple[int, int]] = []
    settings, history = make_settings([BTC], **BUSY), busy_market(100)
    run_backtest(settings, history, compiled=compiled, progress=lambda *now: seen.append(now))
    assert seen == sorted(seen)
    assert seen[-1] == (100, 100)
    assert len(seen) >= 10


def crash(**tables):
    """A short of 190 BTC at 100 with 2,000 as collateral; the perp goes to 150 at 10:00."""
    perp_path = np.where(np.arange(31) < 10, 100.0, 150.0)
    wallets = {"binance:spot": {"USDT": 70_000.0}, "binance:linear": {"USDT": 4_000.0}}
    settings = make_settings([BTC], wallets, fees={"override": NO_FEES}, risk={"max_drawdown": 1.0}, **tables)
    history = one_pair(BTC, 100.0, 30, perp_prices=perp_path, due=settlements([10.0], 1e-4))
    return settings, history


def test_a_margin_that_is_used_up_stops_the_run_and_shows_the_loss() -> None:
    settings, history = crash()
    result = run_script(settings, history, {3: enter(19_000_000, -1_900_000)})
    assert result.status.startswith("stopped at 2024-01-01T10:00:00Z")
    assert "binance:linear" in result.status
    # 190 BTC x 50 lost, 190 x 100 x 1e-4 of funding received at 10:00
    assert result.time_ms[-1] == START + 10 * HOUR_MS
    assert result.equity[-1] == pytest.approx(74_000.0 - 190 * 50 + 1.9)
    assert result.wallet_equity[-1, result.wallet_names.index("binance:linear")] < 0.0
    assert rows(result, Flow.FUNDING).size == 1
    assert_sound(result, history, settings)


def test_records_of_a_stopped_run_do_not_go_beyond_its_last_instant() -> None:
    settings, history = crash()
    result = run_script(settings, history, {3: enter(19_000_000, -1_900_000)})
    assert result.ledger["time_ms"].max() <= result.time_ms[-1]
    assert max(entry["time_ms"] for entry in result.journal) <= result.time_ms[-1]
    assert result.trips[0]["close_ms"] == result.time_ms[-1]
    assert result.trips["pnl"].sum() == pytest.approx(result.pair_pnl[-1, 0])


def test_a_spot_wallet_that_owes_more_than_it_holds_stops_the_run_too() -> None:
    # Short spot while the price rises fourfold: the debt grows beyond proceeds and collateral of the spot wallet.
    path = np.concatenate([np.full(12, 100.0), np.linspace(100.0, 400.0, 60)])
    borrow = {"enabled": True, "hourly_rate": {"binance": {"BTC": 1e-6}}}
    settings = make_settings([BTC], signal={"warmup_hours": 1.0}, borrow=borrow, risk={"max_drawdown": 1.0})
    result = run_backtest(settings, one_pair(BTC, path, due=settlements(every(8, 70), -2e-3)))
    if result.status == "completed":  # topped up or cut in time is as good
        assert result.wallet_equity.min() >= 0.0
    else:
        assert "binance:spot" in result.status


def test_proceeds_of_a_short_sale_are_not_free_to_be_sent_away() -> None:
    # They back the borrowed coins: what leaves the spot wallet may not leave it with less than it owes.
    path = np.concatenate([np.full(12, 100.0), np.full(40, 60.0)])
    borrow = {"enabled": True, "hourly_rate": {"binance": {"BTC": 1e-6}}}
    settings = make_settings([BTC], signal={"warmup_hours": 1.0, "basis_reversion": 0.0}, borrow=borrow)
    result = run_backtest(settings, one_pair(BTC, path, due=settlements(every(8, 50), -2e-3)))
    spot_wallet = result.wallet_equity[:, result.wallet_names.index("binance:spot")]
    owed = np.maximum(0.0, -result.spot_value[:, 0])
    assert np.all(spot_wallet[14:] >= 0.1 * owed[14:])


def test_an_inverse_margin_that_is_used_up_stops_the_run() -> None:
    path = np.where(np.arange(31) < 10, 20_000.0, 80_000.0)
    settings = make_settings([BTC_INVERSE], INVERSE_WALLETS, risk={"max_drawdown": 1.0})
    history = one_pair(BTC_INVERSE, 20_000.0, 30, perp_prices=path)
    result = run_script(settings, history, {3: enter(0, -700)})
    assert result.status.startswith("stopped")
    assert "binance:inverse" in result.status
    assert_in_order(result)


def test_the_command_line_ends_with_its_code_for_a_wallet_that_is_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, history = crash()
    small = replace(
        settings, signal=replace(settings.signal, warmup_hours=1.0, basis_blowout_bps=9_999.0, pair_drawdown=1.0)
    )
    small = replace(
        small, portfolio=replace(small.portfolio, collateral_ratio=0.06, min_collateral_ratio=0.01, perp_leverage=50.0)
    )
    early = replace(
        history,
        instruments=(
            history.instruments[0],
            replace(history.instruments[1], settlements=settlements([0.0, 8.0], 5e-3)),
        ),
    )
    monkeypatch.setattr(job, "load", lambda _: early)
    monkeypatch.setattr(
        "cli.backtest.load_settings",
        lambda *_: replace(small, output=replace(small.output, directory=str(tmp_path), report=False)),
    )
    monkeypatch.setattr("sys.argv", ["carry", "backtest", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 7
    printed = capsys.readouterr()
    assert "binance:linear" in printed.out + printed.err
    json.loads(printed.out)  # one document, as a script expects it


def test_orders_of_the_last_instant_are_not_sent() -> None:
    result = run_script(make_settings([BTC]), one_pair(BTC, 100.0, 5), {5: enter(1_001_002, -100_000)})
    assert result.orders.size == 0
    assert result.time_ms[-1] == START + 5 * HOUR_MS


def test_an_order_that_is_still_working_at_the_end_shows_as_placed() -> None:
    settings = make_settings([BTC], execution={"latency_ms": 2 * HOUR_MS})
    result = run_script(settings, one_pair(BTC, 100.0, 5), {4: enter(1_001_002, -100_000)})
    assert [int(status) for status in result.orders["status"]] == [0]
    assert result.orders[0]["done_ms"] == 0


@pytest.mark.parametrize("count", [1, 2])
def test_a_market_of_next_to_no_bars_runs(count) -> None:
    for compiled in (True, False):
        result = run_backtest(make_settings([BTC]), one_pair(BTC, 100.0, count), compiled=compiled)
        assert result.status == "completed"
        assert result.time_ms.size == count + 1
        assert result.summary["bars"] == count
        assert result.summary["net_pnl"] == 0.0


def test_a_perp_that_is_listed_late_is_not_traded_before() -> None:
    late = np.concatenate([np.full(12, np.nan), np.full(29, 100.0)])
    due = settlements(every(8, 40, 16.0), 1e-3)
    history = market(spot(BTC[0], bars(100.0, 40)), perp(BTC[1], bars(late), due))
    settings = make_settings([BTC], signal={"warmup_hours": 1.0})
    result = run_backtest(settings, history)
    assert np.all(np.isfinite(result.equity))
    assert result.orders.size >= 2
    assert result.orders["placed_ms"].min() >= START + 16 * HOUR_MS
    assert_sound(result, history, settings)


def test_a_spot_market_that_opens_late_is_not_traded_before() -> None:
    late = np.concatenate([np.full(12, np.nan), np.full(29, 100.0)])
    history = market(spot(BTC[0], bars(late)), perp(BTC[1], bars(100.0, 40), settlements(every(8, 40), 1e-3)))
    settings = make_settings([BTC], signal={"warmup_hours": 1.0})
    result = run_backtest(settings, history)
    assert np.all(np.isfinite(result.equity))
    assert result.orders["placed_ms"].min() >= START + 13 * HOUR_MS
    assert_sound(result, history, settings)


def test_an_outage_of_spot_shows_no_profit_that_is_not_there() -> None:
    # Both legs fall by a fifth while spot prints nothing: a hedged pair loses nothing.
    path = np.where(np.arange(41) < 20, 100.0, 80.0)
    history = market(spot(BTC[0], without(bars(path), slice(18, 30))), perp(BTC[1], bars(path), settlements([])))
    settings = make_settings([BTC], fees={"override": NO_FEES}, risk={"max_drawdown": 1.0})
    result = run_script(settings, history, {3: enter(1_000_000, -100_000)})
    np.testing.assert_allclose(result.equity, 110_000.0, atol=1e-6)
    assert_sound(result, history, settings)


def test_notes_name_the_bars_without_a_mark_and_a_contract_without_settlements() -> None:
    mark = bars(100.0, 10)
    mark.close[2:5] = math.nan
    history = market(spot(BTC[0], bars(100.0, 10)), perp(BTC[1], bars(100.0, 10), settlements([]), mark))
    notes = run_backtest(make_settings([BTC]), history).provenance["notes"]
    assert "binance:linear:BTCUSDT: no funding settlement in the period" in notes
    assert any("3 of 10 bars have no mark" in note for note in notes)


def test_pairs_do_not_see_each_others_orders() -> None:
    due = settlements(every(8, 60), 1e-3)
    flat = bars(100.0, 60)
    both = market(spot(BTC[0], flat), perp(BTC[1], flat, due), spot(ETH[0], flat), perp(ETH[1], flat, due))
    settings = make_settings([BTC, ETH], signal={"warmup_hours": 1.0})
    result = run_backtest(settings, both)
    for entry in events(result, "order"):
        assert entry["instrument"].split(":")[2][:3] == entry["pair"][:3]
    assert {trip["pair"] for trip in events(result, "trip_opened")} == {"BTC binance", "ETH binance"}

"""Where the venue or a guard acts, the adapter does what the embedded engine does: on markets with a shock.

Prices are those of the recorded market times a factor by hour, so that the shocks are known by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crypto.errors import InsolventError
from crypto.ledger import Flow
from crypto.market import MarketHistory
from crypto.pipeline.reasons import Reason
from crypto.simulator import state
from crypto.simulator.loop import run_python
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from crypto.simulator.strategy import rearm
from data.lean_market import load_lean_market
from data.settings import load_settings
from data.store.rows import Columns
from tests.lean import engine
from tests.lean.folder import PERP, columns, write_folder
from tests.lean.run_parameters import CONFIG, PERIOD
from tests.lean.test_same_orders import Missing, assert_same, history_with_bars

from models.convert import milliseconds, moment  # isort: skip

HOUR_MS = 3_600_000
START_MS = milliseconds(datetime(2020, 3, 10))
# What the venue and the guards write into the journal, and the round trips that follow from it.
WATCHED = (state.KILL, state.LIQUIDATION, state.TAKEOVER, state.DELEVERAGING, state.GUARD_TRIPPED,
           state.GUARD_RELEASED, state.REARMED, state.TRIP_OPENED, state.TRIP_CLOSED, state.TRANSFER_SENT,
           state.TRANSFER_ARRIVED)  # fmt: skip


@dataclass(frozen=True)
class Shock:
    """Prices times ``before``, ..., by hour of the run; the extreme of one hour's mark beyond its open and close."""

    factors: Mapping[int, float] = field(default_factory=dict)  # of the close, from that hour on
    spikes: Mapping[int, float] = field(default_factory=dict)  # of the mark's high (> 1) or low (< 1) in that hour

    def market(self) -> dict[str, Columns]:
        """The input columns of the recorded market with the shock in them."""
        return {name: self._shocked(name) for name in ("spot", "perp", "mark")} | {"funding": columns("funding")}

    def _shocked(self, name: str) -> Columns:
        rows = {key: values.copy() for key, values in columns(name).items()}
        hours = (rows["time_ms"] - START_MS) // HOUR_MS
        close = np.ones(hours.size)
        for hour, factor in sorted(self.factors.items()):
            close[hours >= hour] = factor
        opening = np.concatenate(([1.0], close[:-1]))
        rows["open"], rows["close"] = rows["open"] * opening, rows["close"] * close
        rows["high"] = np.maximum(rows["high"] * np.minimum(opening, close), np.fmax(rows["open"], rows["close"]))
        rows["low"] = np.minimum(rows["low"] * np.maximum(opening, close), np.fmin(rows["open"], rows["close"]))
        for hour, factor in self.spikes.items() if name == "mark" else ():
            (place,) = np.flatnonzero(hours == hour)
            column = "high" if factor > 1.0 else "low"
            rows[column][place] = rows["open"][place] * factor
        return {key: values if key == "time_ms" else np.round(values, 8) for key, values in rows.items()}


@dataclass(frozen=True)
class Run:
    """Both engines on one market."""

    algorithm: Any
    world: Any

    def journal(self, *events: int) -> list[tuple[int, ...]]:
        """Entries of the embedded engine's journal: time, event, pair, reason, lots."""
        rows = self.world.journal[: self.world.run[0].journal_rows]
        return [entry(row) for row in rows if row.event in (events or WATCHED)]


def entry(row: Any) -> tuple[int, ...]:
    return int(row.time_ms), int(row.event), int(row.pair), int(row.reason), int(row.lots)


def slices_of(rows: dict[str, Columns], missing: Missing) -> Iterator[dict[str, Any]]:
    """Slices as Lean delivers them; none for an hour without any bar."""
    names = ("open", "high", "low", "close", "volume")
    for index, open_ms in enumerate(rows["spot"]["time_ms"].tolist()):
        hour = (open_ms - START_MS) // HOUR_MS
        absent = {leg for legs, hours in missing for leg in legs if hour in hours}
        bars = {
            leg: {name: float(rows[leg][name][index]) for name in names}
            for leg in ("spot", "perp")
            if leg not in absent
        }
        if bars:
            yield {"time": f"{moment(open_ms + HOUR_MS).isoformat()}+00:00", "bars": bars}


Commands = Mapping[int, str]  # by instant of the run: given after its decisions, so before the next one's


class CommandedPipeline(PythonPipeline):
    """The default stages, and a person who pulls the kill switch and arms it again."""

    def __init__(self, commands: Commands) -> None:
        super().__init__()
        self._commands = commands

    def on_instant(self) -> None:
        super().on_instant()
        run = self._world.run[0]
        command = self._commands.get(int(run.instant))
        if command == "kill":
            run.killed = 1
            row = self._world.journal[run.journal_rows]
            row.time_ms, row.event, row.pair, row.reason, row.lots = run.time_ms, state.KILL, -1, 0, 0
            run.journal_rows += 1
        elif command == "rearm":
            rearm(self._world)


Both = Callable[..., Run]


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    """Run a shocked market on both engines and compare orders, ledger, journal, attribution and equity."""

    def run(
        shock: Shock,
        more: str = "",
        *,
        text: str = CONFIG.read_text(),
        venue: str = "binance",
        commands: Commands | None = None,
        oracle: Mapping[int, int] | None = None,
        missing: Missing = (),
        **changes: str,
    ) -> Run:
        config = tmp_path / "market.toml"
        config.write_text(text + more)
        given = PERIOD | {name.replace("__", "."): value for name, value in changes.items()}
        settings = load_settings(config, [f"{name}={value}" for name, value in given.items()])
        rows = shock.market()
        folder = write_folder(tmp_path / "lean", rows, venue)
        market = history_with_bars(folder, settings, missing, rows)
        if oracle is not None:
            market = watched(market, oracle)
            monkeypatch.setattr("main.load_lean_market", lambda *_: watched(load_lean_market(folder, settings), oracle))
        setup = build(settings, market)
        world = run_python(setup.world, CommandedPipeline(commands or {}), rearm_ms=setup.rearm_ms)
        algorithm = engine.new_algorithm(folder, {"config": str(config), **given})
        spot, perp = algorithm.double_securities

        def command(found: Any, now: datetime) -> None:
            given = (commands or {}).get((milliseconds(now) - START_MS) // HOUR_MS - 1)
            assert given is None or found.on_command(SimpleNamespace(**{given: True}))

        engine.run(algorithm, slices_of(rows, missing), {"spot": spot, "perp": perp}, command)
        found = Run(algorithm, world)
        assert_same(algorithm, world, opens_at_last_close=False)
        ours = [entry(row) for row in algorithm.exchange.world.journal if row.event in WATCHED]
        assert ours == found.journal()
        return found

    return run


def watched(market: MarketHistory, statuses: Mapping[int, int]) -> MarketHistory:
    """The market with an oracle that is not good in some bars."""
    line = np.zeros(market.open_ms.size, dtype=np.int8)
    for bar, status in statuses.items():
        line[bar] = status
    return MarketHistory(market.bar_ms, market.open_ms, market.instruments, oracle={"BTC": line})


SPIKE = Shock(spikes={60: 1.75})  # of the mark alone, back within the hour
JUMP = Shock(factors={60: 1.6})  # everything, beyond what the wallet holds
RISE = Shock(factors={56: 1.18, 58: 1.3, 60: 1.42, 62: 1.6, 70: 1.2})
FALL = Shock(spikes={60: 0.6})
NO_SWITCH = {"risk__max_drawdown": "1.0"}
BY_GUARDS = NO_SWITCH | {"portfolio__min_collateral_ratio": "0.01"}  # so that only the distance asks for collateral
CHEAP_LIQUIDATION = f"""
[margin.liquidation_fee]
"{PERP}" = 0.0
"""
DELEVERAGING = f"""
[adl]
enabled = true
[adl.open_interest]
"{PERP}" = 2e7
[adl.insurance_fund]
"{PERP}" = 1.0
"""
UNIFIED = CONFIG.read_text().replace("binance:linear", "bybit:linear").replace("binance:spot", "bybit:spot")
UNIFIED = UNIFIED.replace('[wallets."bybit:spot"]\nUSDT = 70000\n', "").replace("USDT = 30000", "USDT = 100000")
UNIFIED = UNIFIED.replace('[wallets."bybit:linear"]', '[wallets."bybit:unified"]')


# -- the venue ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["flatten", "rehedge", "wait"])
def test_a_spike_of_the_mark_liquidates_and_the_naked_leg_is_dealt_with(both: Both, policy: str) -> None:
    found = both(SPIKE, risk__naked_policy=policy, risk__naked_wait_hours="5.0", **NO_SWITCH)
    ((time_ms, _, _, reason, lots),) = found.journal(state.LIQUIDATION)
    assert (time_ms, reason) == (START_MS + 61 * HOUR_MS, Reason.LIQUIDATED)
    assert lots > 0  # the short is bought back
    assert found.algorithm.double_summary["Carry liquidations"] == 1


def test_a_jump_beyond_the_wallet_is_paid_by_the_insurance_fund(both: Both) -> None:
    found = both(JUMP, **NO_SWITCH)
    taken = [row for row in found.algorithm.exchange.world.ledger if row.flow == Flow.TAKEOVER]
    assert [row.time_ms for row in taken] == [START_MS + 61 * HOUR_MS]
    assert taken[0].amount > 0.0


def test_a_liquidation_in_part_leaves_a_position_that_carries_its_margin(both: Both) -> None:
    found = both(Shock(spikes={60: 1.54}), CHEAP_LIQUIDATION, margin__liquidity_gap="0.0", **NO_SWITCH)
    closed = [lots for *_, lots in found.journal(state.LIQUIDATION)]
    opened = -sum(row.lots for row in found.algorithm.exchange.world.orders if row.leg == 1 and row.lots < 0)
    assert closed
    assert sum(closed) < opened
    assert not found.journal(state.TAKEOVER)


def test_marks_that_are_not_known_move_by_what_was_traded(both: Both) -> None:
    found = both(JUMP, data__valuation_price="last", funding__price="last", **NO_SWITCH)
    assert found.journal(state.LIQUIDATION)


def test_a_liquidation_in_hours_without_any_bar_comes_after_the_settlement_of_its_own_hour(both: Both) -> None:
    # Bar 63 ends at the settlement of 16:00; Lean delivers nothing until the bar that ends at 19:00.
    found = both(Shock(spikes={63: 1.75}), missing=((("spot", "perp"), (63, 64, 65)),), **NO_SWITCH)
    ledger = [row for row in found.algorithm.exchange.world.ledger if row.time_ms == START_MS + 64 * HOUR_MS]
    assert [row.flow for row in ledger][:2] == [Flow.FUNDING, Flow.REALISED]


@pytest.mark.parametrize(("style", "first_leg"), [("taker", "spot"), ("maker_first", "spot"), ("maker_first", "perp")])
def test_shock_after_shock(both: Both, style: str, first_leg: str) -> None:
    spikes = {hour: 1.5 + 0.01 * (hour % 30) for hour in range(34, 180, 3)}
    changes = {"execution__style": style, "execution__first_leg": first_leg, "execution__leg_timeout_bars": "2"}
    found = both(Shock(spikes=spikes), **changes, **NO_SWITCH)
    assert len(found.journal(state.LIQUIDATION)) > 3


def test_the_winning_leg_is_deleveraged(both: Both) -> None:
    found = both(FALL, DELEVERAGING, **NO_SWITCH)
    ((time_ms, _, _, reason, lots),) = found.journal(state.DELEVERAGING)
    assert (time_ms, reason) == (START_MS + 61 * HOUR_MS, Reason.DELEVERAGED)
    assert lots > 0
    assert found.algorithm.double_summary["Carry deleveragings"] == 1


def test_without_the_margin_engine_a_wallet_that_is_used_up_stops_the_run_by_name(both: Both) -> None:
    with pytest.raises(InsolventError, match="binance:linear was used up at 2020-03-12T13"):
        both(JUMP, margin__engine="off", **NO_SWITCH)


def test_a_unified_wallet_is_liquidated_on_its_coins_as_well(both: Both) -> None:
    fall = Shock(factors={60: 0.2, 61: 1.0})
    for shock in (SPIKE, fall):
        found = both(shock, text=UNIFIED, venue="bybit", portfolio__perp_leverage="3.0", **NO_SWITCH)
        assert found.journal(state.TRIP_OPENED)


def test_a_perp_that_a_resting_order_opened_is_checked_at_the_extreme_of_its_own_bar(both: Both) -> None:
    calm = both(Shock(), execution__style="maker_first", execution__first_leg="perp")
    opened = next(row for row in calm.algorithm.exchange.world.orders if row.leg == 1)
    hour = (opened.done_ms - START_MS) // HOUR_MS - 1
    changes = {"execution__style": "maker_first", "execution__first_leg": "perp"}
    found = both(Shock(spikes={hour: 2.5}), **changes, **NO_SWITCH)
    assert found.journal(state.LIQUIDATION)[0][0] == opened.done_ms


@pytest.mark.parametrize("seed", range(10))
def test_a_market_that_jumps_about(both: Both, seed: int) -> None:
    """A walk with jumps, and a mark that spikes: what either engine asks of the risk engine or skips is the same."""
    draw, factor, factors = Random(seed), 1.0, {}  # noqa: S311 - a market, no secret
    for hour in range(34, 190):
        if draw.random() < 0.25:
            factor = min(3.0, max(0.3, factor * draw.uniform(0.9, 1.12)))
            factors[hour] = factor
    hours = [hour for hour in range(34, 190) if draw.random() < 0.08]
    spikes = {hour: draw.choice((draw.uniform(1.02, 1.6), draw.uniform(0.5, 0.98))) for hour in hours}
    changes = {
        "execution__style": draw.choice(("taker", "maker_first")),
        "portfolio__deploy": draw.choice(("0.5", "1.0")),
        "portfolio__collateral_ratio": draw.choice(("0.3", "0.5")),
        "risk__max_asset_fraction": draw.choice(("1.0", "0.4")),
        "risk__naked_policy": draw.choice(("flatten", "rehedge", "wait")),
    }
    bad = {bar: 2 for bar in range(60, 190) if draw.random() < 0.03}
    more = draw.choice(("", CHEAP_LIQUIDATION, DELEVERAGING))
    found = both(Shock(factors, spikes), more, oracle=bad, **BY_GUARDS, **changes)
    assert found.journal(state.GUARD_TRIPPED)


# -- guards -------------------------------------------------------------------------------------------------------


def test_collateral_is_moved_in_where_the_spot_wallet_has_it(both: Both) -> None:
    found = both(RISE, portfolio__deploy="0.5", **BY_GUARDS)
    assert Reason.LIQUIDATION_NEAR in {reason for *_, reason, _ in found.journal(state.GUARD_TRIPPED)}
    assert found.journal(state.GUARD_RELEASED)
    assert found.journal(state.TRANSFER_ARRIVED)


def test_a_pair_is_cut_where_the_money_is_not_there(both: Both) -> None:
    found = both(RISE, portfolio__deploy="1.0", portfolio__collateral_ratio="0.3", **BY_GUARDS)
    assert Reason.LIQUIDATION_NEAR in {reason for *_, reason, _ in found.journal(state.GUARD_TRIPPED)}
    assert [row for row in found.algorithm.exchange.world.orders if row.leg == 1 and row.lots > 0]


def test_an_unhedged_pair_is_flattened_in_time(both: Both) -> None:
    opened = (both(Shock()).journal(state.TRIP_OPENED)[0][0] - START_MS) // HOUR_MS
    gap: Missing = ((("perp",), tuple(range(opened, opened + 8))),)  # the perp prints nothing from the entry on
    thin = {"slippage__max_participation": "0.0002", "execution__leg_timeout_bars": "30"}
    found = both(Shock(), missing=gap, risk__max_unhedged_hours="2.0", **thin)
    assert Reason.UNHEDGED in {reason for *_, reason, _ in found.journal(state.GUARD_TRIPPED)}


def test_nothing_is_opened_while_the_oracle_is_not_good(both: Both) -> None:
    quiet = both(Shock()).journal(state.TRIP_OPENED)[0][0]
    bad = (quiet - START_MS) // HOUR_MS
    found = both(Shock(), oracle=dict.fromkeys(range(bad - 3, bad + 4), 2))
    assert found.journal(state.GUARD_TRIPPED)[0][3] == Reason.ORACLE
    assert found.journal(state.TRIP_OPENED)[0][0] > quiet


def test_a_person_kills_and_rearms(both: Both) -> None:
    found = both(Shock(), commands={50: "kill", 70: "rearm"})
    kill, again = found.journal(state.KILL), found.journal(state.REARMED)
    assert [row[0] for row in kill + again] == [START_MS + 50 * HOUR_MS, START_MS + 70 * HOUR_MS]
    opened = [row[0] for row in found.journal(state.TRIP_OPENED)]
    assert opened[0] < kill[0][0]
    assert opened[-1] >= again[0][0]
    assert not [time for time in opened if kill[0][0] < time < again[0][0]]


def test_both_engines_rearm_when_the_settings_say_that_a_person_does(both: Both) -> None:
    date = f"{moment(START_MS + 80 * HOUR_MS - 60_000).isoformat()}Z"
    found = both(SPIKE, risk__rearm=f'["2020-03-11", "{date}"]')
    (pulled, *_), (again,) = found.journal(state.KILL), found.journal(state.REARMED)
    assert pulled[0] < again[0] == START_MS + 80 * HOUR_MS
    opened = [row[0] for row in found.journal(state.TRIP_OPENED)]
    assert not [time for time in opened if pulled[0] < time <= again[0]]
    assert opened[-1] > again[0]


def test_the_drawdown_pulls_the_switch_on_both_engines(both: Both) -> None:
    found = both(SPIKE)
    assert found.journal(state.KILL)
    assert found.algorithm.double_summary["Carry kill switch"] == "on"

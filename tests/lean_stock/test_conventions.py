"""Single conventions of Lean's stock models on small markets: funding clock, buying power, fills in gaps and beyond."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from crypto.errors import DataError, RefusedError
from crypto.ledger import Flow
from crypto.market import InstrumentHistory, MarketHistory
from crypto.pipeline.orders import OrderReason, OrderStatus
from crypto.result import BacktestResult
from crypto.simulator.gaps import lean_settlements
from crypto.units import HOUR_MS, parse_iso
from research.backtest import run_backtest
from tests import markets
from tests.lean_stock.recorded import PERP as PERP_KEY
from tests.lean_stock.recorded import SPOT as SPOT_KEY
from tests.lean_stock.recorded import engine_fills, stock_settings, synthetic_market
from tests.lean_stock.schedules import PERP, SPOT, Schedule

Orders = dict[int, list[tuple[int, float, float]]]  # by hour: leg, base units, limit price
AT_MARKET = math.nan


class Plan(Schedule):
    """Given orders at given hours of the run."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def on_hour(self, hour: int) -> None:
        for leg, base, price in self._orders.get(hour, []):
            self.trade(leg, base, limit_price=price)


def run_synthetic(orders: Orders) -> BacktestResult:
    """Orders by hours since 2020-03-10 00:00 on the generated market."""
    period = ("2020-03-09T23:00", "2020-03-12")
    settings = stock_settings(f"run.start={period[0]}", f"run.end={period[1]}")
    return run_backtest(settings, synthetic_market(*period), strategy=Plan(orders))


def run_by_hand(history: MarketHistory, orders: Orders, *changes: str) -> BacktestResult:
    return run_backtest(stock_settings("run.start=", "run.end=", *changes), history, strategy=Plan(orders))


def funding_times(result: BacktestResult) -> list[str]:
    rows = result.ledger[result.ledger["flow"] == int(Flow.FUNDING)]
    return [str(np.datetime64(int(time), "ms"))[5:13] for time in rows["time_ms"]]


@pytest.mark.parametrize(
    ("entry_hour", "paid"),
    [(6, ["03-10T08", "03-10T16"]), (7, ["03-10T16"]), (8, ["03-10T16"]), (14, ["03-10T16"]), (15, [])],
)
def test_a_position_opened_within_the_hour_before_a_settlement_does_not_pay_it(
    entry_hour: int, paid: list[str]
) -> None:
    # lean-measured.md B.1: 06:00 -> 09:00 pays at 08:00, 07:00 -> 09:00 does not, 08:00 -> 17:00 pays at 16:00 only.
    orders: Orders = {entry_hour: [(PERP, -1.0, AT_MARKET)], 17: [(PERP, 1.0, AT_MARKET)]}
    assert funding_times(run_synthetic(orders)) == paid


def test_a_flip_keeps_the_clock_and_a_second_entry_starts_it_again() -> None:
    orders: Orders = {6: [(PERP, -1.0, AT_MARKET)], 7: [(PERP, 2.0, AT_MARKET)], 9: [(PERP, -1.0, AT_MARKET)]}
    orders |= {15: [(PERP, -1.0, AT_MARKET)], 30: [(PERP, 1.0, AT_MARKET)]}
    assert funding_times(run_synthetic(orders)) == ["03-10T08", "03-11T00"]


def test_the_stock_clock_pays_at_8_hours_with_the_last_rate_delivered() -> None:
    start = parse_iso("2024-01-01T06:00")
    rates = [1e-4, math.nan, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4]
    rows = markets.settlements([4, 8, 12, 16, 20, 24, 32], rates)
    open_ms = np.arange(start, parse_iso("2024-01-02T08:00"), HOUR_MS)
    found = lean_settlements(rows, MarketHistory(HOUR_MS, open_ms, ()))
    assert found.time_ms.tolist() == [markets.START + HOUR_MS * hour for hour in (8, 16, 24, 32)]
    # 08:00 has no rate of its own and takes that of 04:00; the row of the last instant, 6e-4, is never delivered.
    assert found.funding_rate.tolist() == [1e-4, 3e-4, 5e-4, 5e-4]
    assert found.interval_hours.tolist() == [8.0] * 4
    none_yet = replace(rows, funding_rate=np.where(np.arange(7) < 3, math.nan, rows.funding_rate))
    first = lean_settlements(none_yet, MarketHistory(HOUR_MS, open_ms, ())).funding_rate
    assert math.isnan(first[0])
    assert first[1:].tolist() == [3e-4, 5e-4, 5e-4]


def test_a_position_before_the_first_rate_stops_the_run() -> None:
    history = markets.one_pair((SPOT_KEY, PERP_KEY), 100.0, 20)
    with pytest.raises(DataError, match="no funding rate for the settlement of 2024-01-01T08:00:00Z"):
        run_by_hand(history, {0: [(PERP, -1.0, AT_MARKET)]})


# Lean's own words on the generated market after 1 BTC bought at 01:00 and 1 perp sold at 02:00 (order-events.jsonl):
# at 09:00 "Initial Margin: 339549.88, Free Margin: 91686.311127088" for 1,000 perps at 8,404.7;
# at 10:00 "Initial Margin: 2797796.66533..., Free Margin: 96745.008239088" for 1,000 spot at 8,383.33.
HELD: Orders = {1: [(SPOT, 1.0, AT_MARKET)], 2: [(PERP, -1.0, AT_MARKET)]}
PERP_MARGIN = Fraction("8404.7") * (Fraction(1, 25) + Fraction("0.0004"))
SPOT_MARGIN = Fraction("8383.33") * (Fraction(1, 3) + Fraction("0.0004"))


def test_initial_margins_are_those_that_lean_reports() -> None:
    assert Fraction("339549.88") == 1000 * PERP_MARGIN
    assert float(1000 * SPOT_MARGIN) == pytest.approx(2_797_796.6653333333, abs=1e-9)


@pytest.mark.parametrize(
    ("hour", "leg", "side", "free", "margin", "lot", "reason"),
    [
        (9, PERP, -1, "91686.311127088", PERP_MARGIN, "0.001", OrderReason.NO_MARGIN),
        (10, SPOT, 1, "96745.008239088", SPOT_MARGIN, "0.00001", OrderReason.NO_FUNDS),
    ],
)
def test_buying_power_ends_where_lean_s_free_margin_does(
    hour: int, leg: int, side: int, free: str, margin: Fraction, lot: str, reason: OrderReason
) -> None:
    most = math.floor(Fraction(free) / margin / Fraction(lot)) * Fraction(lot)
    for quantity, status in ((most, OrderStatus.FILLED), (most + Fraction(lot), OrderStatus.REJECTED)):
        result = run_synthetic(HELD | {hour: [(leg, side * float(quantity), AT_MARKET)]})
        last = result.orders[-1]
        assert int(last["status"]) == status
        if status is OrderStatus.REJECTED:
            assert int(last["reason"]) == reason
            assert int(last["filled_lots"]) == 0


def test_a_reducing_order_always_passes_and_spot_may_go_below_zero_cash() -> None:
    result = run_synthetic(
        {1: [(PERP, -200.0, AT_MARKET)], 2: [(PERP, 200.0, AT_MARKET)], 3: [(SPOT, 20.0, AT_MARKET)]}
    )
    assert [int(status) for status in result.orders["status"]] == [OrderStatus.FILLED] * 3
    usdt = result.ledger[result.ledger["asset"] == 0]
    assert usdt["amount"].sum() < 0.0
    assert result.status == "completed"


def gap_market() -> MarketHistory:
    """A flat spot at 100 that prints nothing in its third and fourth bar, and a perp that goes on to 110."""
    spot = markets.without(markets.bars([100.0] * 7), [2, 3])
    perp = markets.bars([100.0, 100.0, 100.0, 105.0, 110.0, 110.0, 110.0])
    return markets.market(
        InstrumentHistory(SPOT_KEY, spot), InstrumentHistory(PERP_KEY, perp, perp, markets.settlements([]))
    )


def test_in_a_gap_a_market_order_fills_at_the_last_close_and_spot_is_valued_there() -> None:
    result = run_by_hand(gap_market(), {0: [(SPOT, 2.0, AT_MARKET)], 3: [(SPOT, -1.0, AT_MARKET)]})
    fills = engine_fills(result)
    assert [(fill.time_ms, fill.price) for fill in fills] == [
        (markets.START + HOUR_MS, 100.0),
        (markets.START + 4 * HOUR_MS, 100.0),
    ]
    # 2 bought at 100 with 0.04 % in coins: worth 199.92 as long as the last trade says 100, whatever the perp does.
    np.testing.assert_allclose(result.equity[2:5], 100_000.0 - 0.08, rtol=0, atol=1e-9)


def limit_market(high: float, low: float, close: float) -> MarketHistory:
    bars = markets.bars([100.0, 100.0, 100.0, close])
    bars.high[2], bars.low[2], bars.open[2] = high, low, (high + low) / 2
    return markets.market(
        InstrumentHistory(SPOT_KEY, markets.bars([100.0] * 4)),
        InstrumentHistory(PERP_KEY, bars, bars, markets.settlements([])),
    )


@pytest.mark.parametrize(
    ("base", "limit", "high", "low", "close", "price"),
    [
        (1.0, 99.0, 101.0, 98.0, 100.5, 99.0),  # the bar goes through the limit
        (1.0, 99.0, 98.0, 96.0, 97.0, 98.0),  # the whole bar lies beyond it: filled at its near end
        (-1.0, 101.0, 104.0, 102.0, 103.0, 102.0),
        (1.0, 99.0, 101.0, 99.0, 100.0, None),  # a touch is not enough
    ],
)
def test_a_limit_order_fills_as_lean_does_with_its_fee_on_the_close(
    base: float, limit: float, high: float, low: float, close: float, price: float | None
) -> None:
    result = run_by_hand(limit_market(high, low, close), {1: [(PERP, base, limit)]})
    fills = engine_fills(result)
    if price is None:
        assert fills == []
        return
    (fill,) = fills
    assert (fill.time_ms, fill.price, fill.quantity) == (markets.START + 3 * HOUR_MS, price, base)
    assert fill.fee == pytest.approx(0.0002 * close, rel=1e-12)  # maker rate, on the close of the bar


class Twice(Schedule):
    """Two orders of one leg at once."""

    def on_hour(self, hour: int) -> None:
        self.trade(PERP, -1.0)
        self.trade(PERP, -1.0)


def test_a_leg_has_one_working_order_at_a_time() -> None:
    history = markets.one_pair((SPOT_KEY, PERP_KEY), 100.0, 5)
    with pytest.raises(RefusedError, match="leg 1 has a working order"):
        run_backtest(stock_settings("run.start=", "run.end="), history, strategy=Twice())

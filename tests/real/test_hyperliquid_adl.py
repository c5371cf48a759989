"""The auto-deleveraging of 2025-10-10 on Hyperliquid: totals, and 480 single events through our own allocation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crypto.adl import Positions, adl_rule
from crypto.adl_allocation import deleverage, settle
from crypto.adl_ranking import scores
from crypto.units import parse_iso
from tests.conftest import needed

EVENT = ["coin", "time", "liquidated_user"]


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return needed(shared_data / "hyperliquid-adl-2025-10-10-conejo", "ADL sample")


@pytest.fixture(scope="module")
def events(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "adl_events_high_leverage_sample.csv.gz")


def values(folder: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize(("billions", "minutes"), [pytest.param(2.1, 12, id="A11")])
def test_size_of_the_episode(folder: Path, billions: float, minutes: int) -> None:
    coins = pd.read_csv(folder / "adl_by_coin_REALTIME.csv")
    net = pd.read_csv(folder / "adl_net_volume_full_12min.csv")
    assert coins["adl_notional"].sum() / 1e9 == pytest.approx(billions, abs=0.01)
    assert coins["adl_notional"].sum() == pytest.approx(net["net_notional_usd"].sum(), rel=1e-12)
    assert coins["num_events"].sum() == net["num_adl_events"].sum() == 34_983
    assert len(coins) == 162
    bursts = values(folder, "batch_processing_results.json")
    first = parse_iso(bursts["first_shared_timestamp"][:19] + "Z")
    assert first == parse_iso("2025-10-10T21:16:04Z")
    sample = pd.read_csv(folder / "adl_events_high_leverage_sample.csv.gz")
    assert 0 <= sample["time"].min() - first < sample["time"].max() - first < minutes * 60_000


def test_adl_met_the_forced_orders_one_to_one_after_a_minute_of_them(folder: Path) -> None:
    """The order book takes liquidations first; ADL starts 61.7 seconds later and then mirrors every one."""
    timing = values(folder, "cascade_timing_results.json")
    assert timing["delay_seconds"] == pytest.approx(61.7, abs=0.05)
    assert all(row["adls"] == 0 for row in timing["timeline"] if row["second"] < 61)
    for burst in values(folder, "batch_processing_results.json")["top_shared_bursts"]:
        assert burst["liquidations"] == burst["adls"]


def test_one_price_and_one_side_per_event(events: pd.DataFrame) -> None:
    """All counterparties of one liquidated account are closed at one price, and all stand on one side."""
    grouped = events.groupby(EVENT)
    assert grouped["adl_price"].nunique().max() == 1
    assert grouped["position_size"].agg(lambda sizes: np.sign(sizes).nunique()).max() == 1
    assert (events["adl_size"] <= events["position_size"].abs() * (1 + 1e-12)).all()


def test_at_most_the_last_of_an_event_is_closed_in_part(events: pd.DataFrame) -> None:
    partial = events["adl_size"] < events["position_size"].abs() * (1 - 1e-12)
    assert partial.sum() == 36
    assert partial.groupby([events[name] for name in EVENT]).sum().max() == 1


def test_the_chosen_were_in_profit(folder: Path, events: pd.DataFrame) -> None:
    assert values(folder, "adl_prioritization_results.json")["profitable_pct"] > 99
    assert (events["closed_pnl"] > 0).mean() > 0.95


def lots_of(sizes: pd.Series) -> np.ndarray:
    """Sizes in units of 1e-5, Hyperliquid's finest quantity step."""
    lots: np.ndarray = np.rint(sizes.to_numpy() * 1e5).astype(np.int64)
    return lots


def test_our_allocation_of_each_event_closes_what_was_closed(events: pd.DataFrame) -> None:
    """Queue: the sampled counterparties of an event with their account values; wanted: what they gave up together.

    The published index leaves exactly one position in part, and it is the one that the venue left.
    """
    checked = 0
    for _, event in events.groupby(EVENT):
        lots, taken = lots_of(event["position_size"]), lots_of(event["adl_size"])
        price = float(event["adl_price"].iloc[0])
        entry_value = lots * 1e-5 * event["entry_price"].to_numpy()
        # The sample's account value is what its authors divide the notional by: equity at the event.
        wallet = event["account_value_realtime"].to_numpy() - (lots * 1e-5 * price - entry_value)
        book = Positions(np.arange(len(event), dtype=np.int64), lots, entry_value, wallet, np.zeros(len(event)))
        score = scores(adl_rule("hyperliquid"), book, 1e-5, price)
        side = -int(np.sign(lots[0]))
        outcome = deleverage(score, book.account, lots, bankrupt_side=side, wanted_lots=int(taken.sum()))
        assert outcome.uncovered_lots == 0
        assert outcome.closed_lots.tolist() == taken.tolist()
        exchanged = settle(outcome, side * int(taken.sum()) * round(price * 1e6))
        assert exchanged.values == tuple(side * int(size) * round(price * 1e6) for size in taken)
        checked += len(event) > 1
    assert checked > 50

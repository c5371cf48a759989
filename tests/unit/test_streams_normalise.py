"""Signs and sides, both ways: the raw form of each venue, ours, and back."""

from __future__ import annotations

import pytest

from crypto.errors import DataError
from data.streams.events import Aggressor, Liquidated
from data.streams.normalise import (
    RawSide,
    aggressor,
    funding_received,
    liquidated,
    raw_aggressor,
    raw_funding,
    raw_liquidated,
)


@pytest.mark.parametrize(
    ("venue", "raw", "ours"),
    [
        ("binance", True, Aggressor.SELLER),  # the buyer was the maker
        ("binance", False, Aggressor.BUYER),
        ("bybit", "Buy", Aggressor.BUYER),
        ("bybit", "Sell", Aggressor.SELLER),
        ("okx", "buy", Aggressor.BUYER),
        ("okx", "sell", Aggressor.SELLER),
        ("hyperliquid", "B", Aggressor.BUYER),  # bid
        ("hyperliquid", "A", Aggressor.SELLER),  # ask
        ("dydx", "BUY", Aggressor.BUYER),
        ("dydx", "SELL", Aggressor.SELLER),
    ],
)
def test_trade_sides(venue: str, raw: RawSide, ours: Aggressor) -> None:
    assert aggressor(venue, raw) is ours
    assert raw_aggressor(venue, ours) == raw


@pytest.mark.parametrize(
    ("venue", "raw", "ours"),
    [
        ("binance", "SELL", Liquidated.LONG),  # side of the order
        ("binance", "BUY", Liquidated.SHORT),
        ("bybit", "Buy", Liquidated.LONG),  # side of the position
        ("bybit", "Sell", Liquidated.SHORT),
    ],
)
def test_liquidated_positions(venue: str, raw: str, ours: Liquidated) -> None:
    assert liquidated(venue, raw) is ours
    assert raw_liquidated(venue, ours) == raw


@pytest.mark.parametrize(
    ("venue", "source", "raw"),
    [("binance", "income", 1.25), ("bybit", "execution-fee", -1.25), ("bybit", "transaction-log", 1.25)],
)
def test_one_payment_has_one_sign(venue: str, source: str, raw: float) -> None:
    assert funding_received(venue, source, raw) == 1.25
    assert funding_received(venue, source, -raw) == -1.25
    assert raw_funding(venue, source, 1.25) == raw


def test_what_is_not_in_the_table_is_refused_and_not_quoted() -> None:
    with pytest.raises(DataError, match="kraken"):
        aggressor("kraken", "buy")
    with pytest.raises(DataError, match="bybit writes no trade side") as caught:
        aggressor("bybit", "secret")
    assert "secret" not in str(caught.value)
    with pytest.raises(DataError, match="okx"):
        liquidated("okx", "sell")
    with pytest.raises(DataError, match="sign of 'bills' at 'okx'"):
        funding_received("okx", "bills", 1.0)

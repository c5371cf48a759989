"""Converters are total: every member of an enumeration, and null, is covered or refused by name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from crypto.errors import RefusedError
from crypto.instruments import Kind
from crypto.pipeline.orders import OrderKind
from crypto.pipeline.orders import OrderStatus as Status
from tests.lean import engine

from models import convert  # isort: skip - the double has to be importable first

lean = engine.lean

STATUSES = {
    "NEW": Status.PLACED, "SUBMITTED": Status.PLACED, "PARTIALLY_FILLED": Status.PLACED, "FILLED": Status.FILLED,
    "CANCELED": Status.CANCELLED, "INVALID": Status.REJECTED, "CANCEL_PENDING": Status.PLACED,
    "UPDATE_SUBMITTED": Status.PLACED,
}  # fmt: skip
TABLES: list[tuple[Any, Any, dict[str, Any]]] = [
    (lean.OrderStatus, convert.status, STATUSES),
    (lean.OrderType, convert.order_kind, {"MARKET": OrderKind.MARKET, "LIMIT": OrderKind.POST_ONLY}),
    (lean.OrderDirection, convert.side, {"BUY": 1, "SELL": -1, "HOLD": 0}),
    (lean.Resolution, convert.timeframe, {"MINUTE": "1m", "HOUR": "1h"}),
    (
        lean.SecurityType,
        lambda found: convert.kind(found, is_coin_future=False),
        {"CRYPTO": Kind.SPOT, "CRYPTO_FUTURE": Kind.LINEAR},
    ),
]
MEMBERS = [
    pytest.param(member, converter, table, id=f"{enum.__name__}.{member.name}")
    for enum, converter, table in TABLES
    for member in enum
]


@pytest.mark.parametrize(("member", "converter", "table"), MEMBERS)
def test_every_member_is_covered_or_refused_by_name(member: Any, converter: Any, table: dict[str, Any]) -> None:
    if member.name in table:
        assert converter(member) == table[member.name]
    else:
        with pytest.raises(RefusedError, match=member.name) as refused:
            converter(member)
        assert "known:" in refused.value.remedy


@pytest.mark.parametrize("converter", [table[1] for table in TABLES] + [convert.milliseconds])
def test_null_is_refused(converter: Any) -> None:
    with pytest.raises(RefusedError, match="None"):
        converter(None)


def test_an_unknown_number_is_refused() -> None:
    with pytest.raises(RefusedError, match="order status 99"):
        convert.status(99)


def test_coin_margined_perps_are_inverse() -> None:
    assert convert.kind(lean.SecurityType.CRYPTO_FUTURE, is_coin_future=True) is Kind.INVERSE


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Kind.SPOT, "CRYPTO"), (Kind.LINEAR, "CRYPTO_FUTURE"), (Kind.INVERSE, "CRYPTO_FUTURE")],
)
def test_every_kind_has_a_security_type(ours: Kind, theirs: str) -> None:
    assert convert.security_type(ours).name == theirs


def test_bar_lengths_that_lean_lacks_are_refused() -> None:
    assert convert.resolution("1m") == lean.Resolution.MINUTE
    assert convert.resolution("1h") == lean.Resolution.HOUR
    with pytest.raises(RefusedError, match="4h"):
        convert.resolution("4h")


def test_aware_and_naive_times_are_the_same_instant() -> None:
    # 2020-03-10 08:00:00 UTC is 1,583,827,200 seconds after 1970.
    naive = datetime(2020, 3, 10, 8)
    assert convert.milliseconds(naive) == convert.milliseconds(naive.replace(tzinfo=UTC)) == 1_583_827_200_000
    assert convert.moment(1_583_827_200_000) == naive


def test_parts_of_a_millisecond_are_cut_towards_the_past() -> None:
    assert convert.milliseconds(datetime(1970, 1, 2, 0, 0, 1, 1_999)) == 86_401_001
    assert convert.milliseconds(datetime(1969, 12, 31, 23, 59, 59, 999_500)) == -1

"""Lean's words in ours and back. Every member of an enumeration, and null, is covered or refused by name.

Members are compared one by one: a C# enumeration need not hash as a Python one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from AlgorithmImports import OrderDirection, OrderStatus, OrderType, Resolution, SecurityType

from crypto.errors import RefusedError
from crypto.instruments import Kind
from crypto.pipeline.orders import OrderKind
from crypto.pipeline.orders import OrderStatus as Status

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - Lean's naive times are UTC (lean-measured.md A.2)
_MILLISECOND = timedelta(milliseconds=1)

_RESOLUTIONS = ((Resolution.MINUTE, "1m"), (Resolution.HOUR, "1h"))
_DIRECTIONS = ((OrderDirection.BUY, 1), (OrderDirection.SELL, -1), (OrderDirection.HOLD, 0))
_ORDER_TYPES = ((OrderType.MARKET, OrderKind.MARKET), (OrderType.LIMIT, OrderKind.POST_ONLY))
_STATUSES = (
    (OrderStatus.NEW, Status.PLACED),
    (OrderStatus.SUBMITTED, Status.PLACED),
    (OrderStatus.PARTIALLY_FILLED, Status.PLACED),
    (OrderStatus.UPDATE_SUBMITTED, Status.PLACED),
    (OrderStatus.CANCEL_PENDING, Status.PLACED),
    (OrderStatus.FILLED, Status.FILLED),
    (OrderStatus.CANCELED, Status.CANCELLED),
    (OrderStatus.INVALID, Status.REJECTED),
)


def milliseconds(moment: datetime | None) -> int:
    """UTC milliseconds since 1970 of one of Lean's times, aware or naive UTC; ``RefusedError`` for null."""
    if moment is None:
        raise _refusal("time", moment, "every time that Lean gives")
    since = moment - (_NAIVE_EPOCH if moment.tzinfo is None else _EPOCH)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000  # twice as fast as dividing it


def moment(time_ms: int) -> datetime:
    """Naive UTC time as Lean takes it."""
    return _NAIVE_EPOCH + time_ms * _MILLISECOND


def kind(security_type: SecurityType | None, *, is_coin_future: bool) -> Kind:
    """Kind of a security; ``RefusedError`` for every type that is neither crypto nor a perpetual."""
    if security_type == SecurityType.CRYPTO:
        return Kind.SPOT
    if security_type == SecurityType.CRYPTO_FUTURE:
        return Kind.INVERSE if is_coin_future else Kind.LINEAR
    raise _refusal("security type", security_type, "CRYPTO and CRYPTO_FUTURE")


def security_type(wanted: Kind) -> SecurityType:
    """Lean's type of a kind."""
    return SecurityType.CRYPTO if wanted is Kind.SPOT else SecurityType.CRYPTO_FUTURE


def resolution(timeframe: str) -> Resolution:
    """Lean's resolution of a bar length; ``RefusedError`` for lengths that Lean does not have."""
    for ours, name in _RESOLUTIONS:
        if name == timeframe:
            return ours
    raise _refusal("run.timeframe", timeframe, "1m and 1h")


def timeframe(found: Resolution | None) -> str:
    """Bar length of a resolution; ``RefusedError`` for ticks, seconds and days, on which nothing settles hourly."""
    return _look_up("resolution", found, _RESOLUTIONS)


def side(direction: OrderDirection | None) -> int:
    """+1 buy, -1 sell, 0 hold."""
    return _look_up("order direction", direction, _DIRECTIONS)


def order_kind(found: OrderType | None) -> OrderKind:
    """Our kind of an order; ``RefusedError`` for types that no venue model here carries out."""
    return _look_up("order type", found, _ORDER_TYPES)


def status(found: OrderStatus | None) -> Status:
    """State of an order; ``RefusedError`` for NONE, which only orders made up by the engine have."""
    return _look_up("order status", found, _STATUSES)


def _look_up(what: str, found: Any, table: Sequence[tuple[Any, T]]) -> T:
    for theirs, ours in table:
        if found == theirs:
            return ours
    raise _refusal(what, found, ", ".join(str(theirs) for theirs, _ in table))


def _refusal(what: str, found: Any, known: str) -> RefusedError:
    return RefusedError(f"{what} {found!r} has no meaning here", remedy=f"known: {known}")

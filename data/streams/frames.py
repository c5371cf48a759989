"""What all parsers share: number types that refuse NaN and infinity, errors that name a position, pieces of routes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, NoReturn, TypeVar

import msgspec

from crypto.errors import DataError, UsageError
from data.streams.events import FrameError, Ignored
from data.streams.protocol import Channel, Frame, Route, Subscription

T = TypeVar("T")

# Bounds keep NaN, infinities and stamps that fit no 64-bit integer out of the state; venues send nothing near them.
Price = Annotated[float, msgspec.Meta(ge=0.0, le=1e300)]
Number = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]  # to the end of the year 9999
SequenceId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Symbol = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Levels = tuple[tuple[Price, Price], ...]

_BYTE = re.compile(r"byte (\d+)")
_PATH = re.compile(r"at `(\$[^`]{0,80})`")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z0-9_.!@-]{1,60}")


class UnreadableError(Exception):
    """A well-formed frame that makes no sense; parsers turn it into a ``FrameError``. Holds no text of the frame."""

    def __init__(self, problem: str, position: str = "$") -> None:
        super().__init__(problem)
        self.problem = problem
        self.position = position


# What decoding bytes from a network can raise. DataError: a side that the table of sides does not know.
DECODING_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError, UnreadableError, DataError)


def as_bytes(frame: Frame) -> bytes:
    """The frame as UTF-8; lone surrogates, which no socket delivers, raise ``UnicodeEncodeError``."""
    return frame if isinstance(frame, bytes) else frame.encode()


def fail(venue: str, route: Route, frame: Frame, error: BaseException) -> NoReturn:
    """Raise the ``FrameError`` of a decoding error. Values of the frame stay out: only offsets and field paths."""
    position, problem = "$", "a value of the wrong kind"
    text = str(error)
    if isinstance(error, UnreadableError):
        position, problem = error.position, error.problem
    elif isinstance(error, UnicodeError):
        position, problem = "an unknown byte", "text is not UTF-8"
    elif isinstance(error, RecursionError):
        problem = "nested too deeply"
    elif isinstance(error, DataError):
        problem = error.message
    elif byte := _BYTE.search(text):
        position, problem = f"byte {byte[1]}", "malformed JSON"
    elif path := _PATH.search(text):
        position = path[1]
    elif "truncated" in text:
        position, problem = f"byte {len(frame)}", "truncated JSON"
    raise FrameError(venue, route.name, problem, position, len(frame)) from None


def text_number(text: str, position: str) -> float:
    """A decimal text as float; '' (none, at Bybit and OKX) as NaN. ``UnreadableError`` for anything else."""
    if not text:
        return math.nan
    if _NUMBER.fullmatch(text) is None or not math.isfinite(value := float(text)):
        raise UnreadableError("a text that is no number", position)
    return value


def text_price(text: str, position: str) -> float:
    """Like ``text_number``, and not negative."""
    value = text_number(text, position)
    if value < 0.0:
        raise UnreadableError("a negative price", position)
    return value


def text_ms(text: str, position: str) -> int:
    """Milliseconds as text; '' as 0, which stands for none."""
    value = text_number(text, position)
    if math.isnan(value):
        return 0
    if value < 0 or value > 253_402_300_799_999 or not value.is_integer():
        raise UnreadableError("a text that is no time in milliseconds", position)
    return int(value)


def word(text: str, what: str) -> str:
    """``text`` if it looks like a name of the protocol, so that it may stand in a reason; else ``UnreadableError``."""
    if _WORD.fullmatch(text) is None:
        raise UnreadableError(f"{what} is no name")
    return text


def ignored(venue: str, reason: str) -> tuple[Ignored]:
    """The one event of a message that changes nothing."""
    return (Ignored(venue=venue, reason=reason),)


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive pieces of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))


def fitting(items: Sequence[str], most: int, most_characters: int, overhead: int) -> Iterator[list[str]]:
    """Consecutive pieces of at most ``most`` items whose lengths, with ``overhead`` each, stay within a limit."""
    piece: list[str] = []
    length = 0
    for item in items:
        size = len(item) + overhead
        if piece and (len(piece) == most or length + size > most_characters):
            yield piece
            piece, length = [], 0
        piece.append(item)
        length += size
    if piece:
        yield piece


def named_symbols(venue: str, subscription: Subscription) -> tuple[str, ...]:
    """The subscription's symbols, each once; ``UsageError`` where none is named and the venue has no stream for all."""
    if not subscription.symbols:
        raise UsageError(
            f"{venue} has no {subscription.channel} stream for all {subscription.kind} symbols",
            remedy="name the symbols",
        )
    return tuple(dict.fromkeys(subscription.symbols))


def not_offered(venue: str, kind: str, channel: Channel) -> UsageError:
    """The error of a channel that the venue (or this adapter) does not have."""
    return UsageError(
        f"{venue} has no {channel} stream for {kind} instruments",
        remedy="see the table of channels in docs/specs/streams.md",
    )

"""What a venue's answer means: good, wrong for good, or a failure that may pass, by ccxt's mapping of its codes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import ccxt
import msgspec

from data.credentials import Credentials
from data.sources.endpoints.base import VenueRest
from data.sources.faults import (
    FetchError,
    KeyRefusedError,
    Place,
    UnknownSymbolError,
    html_words,
    short,
    without,
)
from data.sources.transport import Answer

Parsed = TypeVar("Parsed")

# An envelope's code stands among its first characters: 0 there means that the answer needs no second look.
_OK_ENVELOPE = re.compile(rb'\s*\{\s*"(?:retCode|code)"\s*:\s*"?0"?\s*[,}]')
_ENVELOPE_HEAD = 64
_BANNED_UNTIL = re.compile(rb"banned until (\d{13})\b")
_WORDS_HEAD = 1000


class PassingError(Exception):
    """A failure that may be gone at the next attempt; ``wait_s`` is how long the venue wants us away, 0 if unsaid."""

    def __init__(self, words: str, wait_s: float = 0.0) -> None:
        super().__init__(words)
        self.words, self.wait_s = words, wait_s


class Answers:
    """Reads the answers of one venue. ``now_s``: the venue's time, for limits that are reset at an instant of it."""

    def __init__(
        self,
        rest: VenueRest,
        exchange: Any,
        credentials: Credentials | None,
        longest_wait_s: float,
        now_s: Callable[[], float],
    ) -> None:
        self._rest, self._exchange, self._credentials = rest, exchange, credentials
        self._longest_wait_s, self._now_s = longest_wait_s, now_s

    def check(self, answer: Answer, place: Place) -> None:
        """Raise for anything but a good answer, by ccxt's mapping of statuses and codes."""
        if answer.status in self._rest.pause_s:
            raise PassingError(_limit_words(answer), self._pause(answer))
        content = answer.content
        if answer.status < 300 and not self._suspicious(content):
            return
        text = content.decode("utf-8", "replace")
        try:
            decoded: Any = json.loads(text)
        except ValueError:
            decoded = None
        if answer.status < 300 and decoded is None:
            return  # a good status with broken JSON: the parser says so
        arguments = (answer.status, answer.reason, answer.url, answer.method)
        try:
            self._exchange.handle_errors(*arguments, dict(answer.headers), text, decoded, None, None)
            self._exchange.handle_http_status_code(*arguments, text)
        except ccxt.BaseError as error:
            raise self._mapped(error, answer, place) from None
        if answer.status >= 300:
            raise FetchError(f"{place}: HTTP {answer.status} {self._words(answer)}", remedy="see the venue's words")

    def _suspicious(self, content: bytes) -> bool:
        return self._rest.envelope and _OK_ENVELOPE.match(content[:_ENVELOPE_HEAD]) is None

    def _mapped(self, error: ccxt.BaseError, answer: Answer, place: Place) -> Exception:
        words = f"HTTP {answer.status}, {self._words(answer)}"
        if answer.status == 451:
            return FetchError(f"{place}: {words}", remedy="the venue does not serve this location")
        if isinstance(error, ccxt.InvalidNonce):
            return FetchError(f"{place}: {words}", remedy="this machine's clock is off: set it (NTP) and run it again")
        if isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded):
            return PassingError(words, self._pause(answer))
        if isinstance(error, ccxt.AuthenticationError):  # PermissionDenied is one of them
            return KeyRefusedError(
                f"{place}: the venue refuses the key: {words}",
                remedy="check that the key is of this venue, may read, and allows this address; nothing else is needed",
            )
        if isinstance(error, ccxt.BadSymbol):
            return UnknownSymbolError(f"{place}: {words}", remedy=f"symbols look like {self._rest.symbol_hint}")
        if isinstance(error, ccxt.OperationFailed) or answer.status >= 500:
            return PassingError(words)
        return FetchError(f"{place}: {words}", remedy="the venue does not take these parameters: see its words")

    def _pause(self, answer: Answer) -> float:
        """Seconds to stay away: what the venue says, else what its documents say of that status."""
        usual_s = self._rest.pause_s.get(answer.status, min(self._rest.pause_s.values(), default=1.0))
        text = answer.headers.get("retry-after", "")
        if text.replace(".", "", 1).isdigit():
            return float(text)
        until_s = _instant_s(text, answer.content)
        if until_s is not None:
            return max(usual_s, until_s - self._now_s())  # a clock that is ahead must not make it shorter than usual
        reset = answer.headers.get("x-bapi-limit-reset-timestamp", "")
        if reset.isdigit():
            ahead_s = int(reset) / 1000 - self._now_s()
            if 0 < ahead_s < self._longest_wait_s:
                return ahead_s
        return usual_s

    def _words(self, answer: Answer) -> str:
        text = short(answer.content.decode("utf-8", "replace")) or answer.reason
        if self._credentials is None:
            return text
        return without(text, (self._credentials.key, self._credentials.secret))

    def parsed(self, answer: Answer, place: Place, parse: Callable[[bytes], Parsed]) -> Parsed:
        """The content as ``parse`` reads it; ``FetchError`` for wrong types, ``PassingError`` for a cut-off answer."""
        try:
            return parse(answer.content)
        except msgspec.ValidationError as error:
            raise FetchError(
                f"{place}: the answer is not what the venue documents: {error}; it begins {self._words(answer)[:80]!r}",
                remedy="the venue may have changed its interface: nothing of this answer was kept; report it",
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PassingError(f"the answer is cut off or not JSON ({error})") from None


def _instant_s(retry_after: str, content: bytes) -> float | None:
    """Seconds since 1970 of a ``Retry-After`` that is a date (RFC 9110, 10.2.3), or of Binance's words for -1003."""
    with suppress(ValueError):  # no date
        return parsedate_to_datetime(retry_after).timestamp()
    banned = _BANNED_UNTIL.search(content[:_WORDS_HEAD])
    return int(banned[1]) / 1000 if banned else None


def refuse_html(answer: Answer, wanted: str) -> None:
    """``PassingError`` for a page made for people: a firewall, a login or a maintenance page answered."""
    if answer.content.lstrip()[:1] == b"<":
        title = html_words(answer.content)
        raise PassingError(f"HTTP {answer.status}, and an HTML page{title} instead of {wanted}")


def _limit_words(answer: Answer) -> str:
    return f"HTTP {answer.status} {answer.reason}: limit reached" + (" (ban)" if answer.status == 418 else "")

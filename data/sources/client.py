"""One venue's REST, called within its limits: retries, bans, error mapping, decoding, and the venue's clock."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from crypto.units import iso
from data.credentials import Credentials, variable_names
from data.sources.answers import Answers, Parsed, PassingError, refuse_html
from data.sources.bans import Bans
from data.sources.endpoints.base import Parameters, Route, VenueRest
from data.sources.faults import AROUND_THE_ARCHIVE, BanError, FetchError, KeyRefusedError, Place
from data.sources.limits import Clock, Limiter, Sleep
from data.sources.spent import SpentFile
from data.sources.transport import ConnectionFailedError, get, make_exchange, with_base

CLOCK_TOLERANCE_MS = 30_000
# Of waits shorter than this, people are told nothing.
_WORTH_A_NOTE_S = 5.0


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """``base``: scheme and host that replace the venue's (a proxy, a test server). ``attempts``: calls before a failure
    that may pass is final. ``longest_wait_s``: how long a ban may last before we give up instead of waiting.
    """

    base: str = ""
    timeout_s: float = 30.0
    attempts: int = 6
    first_backoff_s: float = 0.5
    longest_wait_s: float = 900.0


class Client:
    """Calls of one venue. Use as ``async with``; ``calls`` counts what was sent.

    ``spent`` and ``bans`` outlive the process. ``on_wait`` gets words for people about waits of some seconds or more.
    """

    def __init__(
        self,
        rest: VenueRest,
        options: ClientOptions | None = None,
        credentials: Credentials | None = None,
        *,
        spent: SpentFile | None = None,
        bans: Bans | None = None,
        on_wait: Callable[[str], None] = lambda _: None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.rest = rest
        self.options = options or ClientOptions()
        self.limiter = Limiter(rest.budgets, clock, sleep, self._waiting)
        self._files = Limiter({}, clock, sleep, self._waiting)
        self._spent, self._bans, self._on_wait = spent, bans, on_wait
        if spent is not None:
            spent.resume(self.limiter)
        self._sleep = sleep
        self._credentials = credentials
        self._exchange = make_exchange(rest, self.options.base, credentials, self.options.timeout_s)
        self._answers = Answers(rest, self._exchange, credentials, self.options.longest_wait_s, self._venue_now_s)
        self._hosts = {name.lower(): _host(with_base(url, self.options.base)) for name, url in rest.urls.items()}
        self.calls = 0
        self.offset_ms = 0

    async def __aenter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections, and note what was spent of the limits."""
        await self._exchange.close()
        if self._spent is not None and self.calls:
            self._spent.save(self.limiter)

    async def call(self, route: Route, parameters: Parameters, parse: Callable[[bytes], Parsed]) -> Parsed:
        """The parsed answer. ``FetchError`` names venue, route, parameters and what to do.

        Broken connections, cut-off or HTML answers, 5xx and limits are tried again; limits after the time that the
        venue names. Answers of wrong types, refused keys and unknown symbols are final at once.
        """
        place = Place(self.rest.name, route.path, parameters)
        if route.signed:
            self._check_key(place)
        send = getattr(self._exchange, route.call)
        # A venue with one base names its calls otherwise (okx).
        host = self._hosts.get(route.call.partition("_")[0]) or next(iter(self._hosts.values()))

        async def attempt() -> Parsed:
            self._keep_away(host, place, self.limiter)
            await self.limiter.acquire(route.weights)
            self.calls += 1
            if self._spent is not None:
                self._spent.note(self.limiter)
            answer = await send(dict(parameters))  # a copy: ccxt changes what it is given
            self.limiter.observe(route.weights, answer.headers)
            if answer.status not in self.rest.pause_s:
                refuse_html(answer, "JSON")
            self._answers.check(answer, place)
            return self._answers.parsed(answer, place, parse)

        return await self._tried(attempt, place, host, self.limiter)

    async def download(self, url: str) -> bytes | None:
        """A file of the bulk archive; None when it isn't there (404). Does not count against the limits of REST."""
        place = Place(self.rest.name, f"GET {url}", {})
        address = with_base(url, self.options.base)
        host = _host(address)

        async def attempt() -> bytes | None:
            self._keep_away(host, place, self._files)
            await self._files.acquire({})
            self._exchange.open()
            answer = await get(self._exchange.session, address, self.options.timeout_s)
            if answer.status == 404:
                return None
            if answer.status == 403:
                raise FetchError(f"{place}: HTTP 403, the archive refuses this address", remedy=AROUND_THE_ARCHIVE)
            self._answers.check(answer, place)
            refuse_html(answer, "a file")
            return answer.content

        return await self._tried(attempt, place, host, self._files)

    def _venue_now_s(self) -> float:
        return time.time() + self.offset_ms / 1000

    async def server_now_ms(self) -> int:
        """The venue's time now, by the offset that ``read_clock`` found."""
        return time.time_ns() // 1_000_000 + self.offset_ms

    async def read_clock(self) -> int:
        """Ask for the venue's time; returns how far it is ahead of this machine's clock, in milliseconds."""
        before = time.time_ns()
        theirs = await self.call(self.rest.time, dict(self.rest.time_parameters), self.rest.parse_time)
        ours = (before + time.time_ns()) // 2_000_000
        self.offset_ms = theirs - ours
        return self.offset_ms

    def clock_words(self) -> str:
        """What to say about this machine's clock; empty when it agrees with the venue's."""
        if abs(self.offset_ms) <= CLOCK_TOLERANCE_MS:
            return ""
        side = "behind" if self.offset_ms > 0 else "ahead of"
        return (
            f"this machine's clock is {abs(self.offset_ms) / 1000:.0f} s {side} {self.rest.name}'s "
            f"({self.rest.time.path}); the venue's time was used. Set the clock (NTP): signed calls fail with it"
        )

    async def _tried(self, attempt: Callable[[], Any], place: Place, host: str, limiter: Limiter) -> Any:
        failure = PassingError("it was never tried")
        for number in range(self.options.attempts):
            try:
                return await attempt()
            except ConnectionFailedError as error:
                failure = PassingError(str(error))
            except PassingError as error:
                failure = error
            await self._wait_after(failure, number, place, host, limiter)
        around = f"; {AROUND_THE_ARCHIVE}" if limiter is self._files else ""
        raise FetchError(
            f"{place}: {failure.words} ({self.options.attempts} attempts)",
            remedy=f"run the same command again later: it goes on where it stopped{around}",
        )

    def _keep_away(self, host: str, place: Place, limiter: Limiter) -> None:
        """Hold calls back while a ban that was noted lasts, or refuse them when that is longer than we wait."""
        left_s = 0.0 if self._bans is None else self._bans.left_s(host)
        if self._bans is None or not left_s:
            return
        if left_s > self.options.longest_wait_s:
            raise BanError(
                f"{place}: not called, {host} wants no calls {self._bans.words(host)}",
                remedy=f"run the same command again after that; until then stop everything that calls "
                f"{self.rest.name} from this address, as calls make a ban longer. If that ban was of another address, "
                f"delete {self._bans.path}",
            )
        limiter.stay_away(left_s)

    def _waiting(self, left_s: float) -> None:
        if left_s >= _WORTH_A_NOTE_S:
            until = iso(int(1000 * (time.time() + left_s)))
            self._on_wait(f"{self.rest.name}: its limits allow the next call at {until}, in {left_s:.0f} s")

    async def _wait_after(self, failure: PassingError, number: int, place: Place, host: str, limiter: Limiter) -> None:
        if failure.wait_s and self._bans is not None:
            self._bans.note(host, failure.wait_s, failure.words)
        if failure.wait_s > self.options.longest_wait_s:
            raise BanError(
                f"{place}: {failure.words}; it wants no calls for {failure.wait_s:.0f} s",
                remedy="stop everything that calls this venue from this address, wait that long, and run it again",
            )
        if failure.wait_s:
            limiter.stay_away(failure.wait_s)
        elif number + 1 < self.options.attempts:
            # Different waits, so that several symbols that failed together do not come back together.
            await self._sleep(self.options.first_backoff_s * 2**number * random.uniform(0.75, 1.25))  # noqa: S311 - spreads retries

    def _check_key(self, place: Place) -> None:
        if self._credentials is None:
            key, secret = variable_names(self.rest.name)
            raise KeyRefusedError(
                f"{place} needs a key, and none was given",
                remedy=f"make a read-only key, set {key} and {secret}, or name an owner-only file with --credentials",
            )
        if abs(self.offset_ms) > CLOCK_TOLERANCE_MS:
            raise FetchError(f"{place}: {self.clock_words()}", remedy="set the clock (NTP) and run it again")


def _host(url: str) -> str:
    return urlsplit(url).netloc

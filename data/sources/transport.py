"""ccxt with its addresses, signing and error mapping, but with the answer's bytes and headers handed out as they came.

ccxt's own transport decodes every answer into Python objects and keeps headers per instance, where concurrent calls
overwrite each other's; parsers here want the bytes, and limits want the headers of their own call.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import ccxt.async_support as exchanges
import yarl

from data.credentials import Credentials
from data.sources.endpoints.base import VenueRest

_HOST = re.compile(r"https?://[^/]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. Header names are lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    content: bytes
    url: str
    method: str


class ConnectionFailedError(Exception):
    """The call did not get a whole answer: refused, cut off, timed out, or the name can't be resolved."""


def with_base(url: str, base: str) -> str:
    """``url`` with scheme and host replaced by ``base`` (a proxy or a test server); unchanged when it is empty."""
    return _HOST.sub(lambda _: base.rstrip("/"), url, count=1) if base else url


def make_exchange(rest: VenueRest, base: str, credentials: Credentials | None, timeout_s: float) -> Any:
    """A ccxt exchange of that venue, without its limiter, whose calls return an ``Answer``."""
    kind = getattr(exchanges, rest.ccxt_id)
    raw = type(f"Raw{kind.__name__}", (_RawFetch, kind), {})
    options: dict[str, Any] = {"enableRateLimit": False, "timeout": int(timeout_s * 1000)}
    if credentials is not None:
        options |= {"apiKey": credentials.key, "secret": credentials.secret}
    exchange = raw(options)
    exchange.timeout_on_exit = 0
    exchange.urls["api"] = {name: with_base(url, base) for name, url in rest.urls.items()}
    return exchange


async def get(session: aiohttp.ClientSession, url: str, timeout_s: float) -> Answer:
    """GET of a plain address, for archives."""
    return await _send(session, "GET", url, None, None, timeout_s)


class _RawFetch:
    """Replaces ``fetch``, the one function of a ccxt exchange that talks to the network."""

    session: aiohttp.ClientSession
    timeout: int

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Answer:
        """Send a signed request and return what came, whatever its status."""
        self.open(True)  # type: ignore[attr-defined]  # ccxt's: makes the session on the running loop
        prepared = self.prepare_request_headers(headers)  # type: ignore[attr-defined]  # ccxt's
        content = body.encode() if body else None
        return await _send(self.session, method, url, prepared, content, self.timeout / 1000)


async def _send(
    session: aiohttp.ClientSession, method: str, url: str, headers: Any, body: bytes | None, timeout_s: float
) -> Answer:
    limits = aiohttp.ClientTimeout(total=timeout_s, sock_connect=timeout_s, sock_read=timeout_s)
    try:
        async with session.request(
            method, yarl.URL(url, encoded=True), headers=headers, data=body, timeout=limits
        ) as response:
            content = await response.read()
            lower = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, response.reason or "", lower, content, url, method)
    except socket.gaierror as error:
        raise ConnectionFailedError(f"its name can't be resolved ({error.strerror})") from None
    except TimeoutError:
        raise ConnectionFailedError(f"no answer within {timeout_s:g} s") from None
    except (aiohttp.ClientError, ConnectionError, OSError) as error:
        # The text of the error is left out: it may hold the signed address.
        raise ConnectionFailedError(_words(error)) from None


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name can't be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or type(error.os_error).__name__})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer was cut off"
    return f"the connection broke ({type(error).__name__})"

"""A route without the symbols that its venue refused: one that is unknown or delisted ends no other's subscription."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import msgspec

from data.streams.protocol import Route


def named_symbols_of(route: Route, words: str) -> frozenset[str]:
    """Symbols of the route that a venue's refusal names; none where it names none, or all of them."""
    symbols = {_symbol(stream) for stream in route.streams}
    found = {
        symbol for symbol in symbols if re.search(rf"(?<![A-Za-z0-9_-]){re.escape(symbol)}(?![A-Za-z0-9_-])", words)
    }
    return frozenset(found) if found < symbols else frozenset()


def without(route: Route, symbols: Collection[str]) -> Route | None:
    """The route that asks for everything but these symbols; None when nothing is left to ask for."""
    dropped = {stream for stream in route.streams if _symbol(stream) in symbols}
    frames: list[str] = []
    requests_gone: set[str] = set()
    for text in route.subscribe_frames:
        request: dict[str, Any] = msgspec.json.decode(text)
        kept = _kept(request, dropped)
        if kept is None:
            requests_gone.add(request.get("req_id", ""))
        else:
            frames.append(msgspec.json.encode(kept).decode())
    if not frames:
        return None
    return replace(
        route,
        streams=tuple(stream for stream in route.streams if stream not in dropped),
        subscribe_frames=tuple(frames),
        acknowledgements=route.acknowledgements - dropped - requests_gone,
    )


def _kept(request: dict[str, Any], dropped: Collection[str]) -> dict[str, Any] | None:
    """What is left of a subscription request (Bybit and OKX list streams, Hyperliquid has one); None: nothing."""
    if "args" in request:
        left = [argument for argument in request["args"] if _stream(argument) not in dropped]
        return request | {"args": left} if left else None
    asked = request.get("subscription")
    return None if asked and f"{asked['type']}:{asked['coin']}" in dropped else request


def _stream(argument: str | dict[str, str]) -> str:
    return argument if isinstance(argument, str) else f"{argument['channel']}:{argument['instId']}"


def _symbol(stream: str) -> str:
    """``tickers.BTCUSDT`` (Bybit) or ``mark-price:BTC-USDT-SWAP`` (OKX, Hyperliquid)."""
    return stream.partition(":")[2] or stream.rpartition(".")[2]

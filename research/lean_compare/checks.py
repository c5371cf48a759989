"""Whether a Lean result and settings belong together; what does not fit is refused by name before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from crypto.errors import RefusedError
from crypto.settings import Settings
from crypto.units import iso, parse_iso, timeframe_ms
from crypto.venues.registry import pair
from data.lean_results import LeanResult
from data.settings import settings_as_mapping
from data.stored_run import StoredRun
from research.lean_compare.trades import find_instrument

_REMEDY = "name the settings with which Lean ran (--config, --set), or compare the result that belongs to them"


def settings_for(lean: LeanResult, settings: Settings) -> Settings:
    """The settings over the period of the Lean run; ``RefusedError`` lists every way in which they do not fit it.

    Lean's first slice comes at its start and holds the bar that ended then, so the engine starts a bar earlier.
    """
    bar_ms = timeframe_ms(settings.run.timeframe)
    wrong = [*_period_faults(lean, settings.run.start, settings.run.end, bar_ms), *_faults(lean, settings)]
    _refuse(lean, wrong)
    return replace(settings, run=replace(settings.run, start=iso(lean.start_ms - bar_ms), end=iso(lean.end_ms)))


def check_run(lean: LeanResult, run: StoredRun) -> None:
    """``RefusedError`` when a stored run is of another period or of other settings than the Lean run."""
    bar_ms = timeframe_ms(run.settings.run.timeframe)
    start, end = iso(int(run.time_ms[0])), iso(int(run.time_ms[-1]))
    wrong = [*_period_faults(lean, start, end, bar_ms), *_faults(lean, run.settings)]
    _refuse(lean, wrong)


def _refuse(lean: LeanResult, wrong: list[str]) -> None:
    if wrong:
        raise RefusedError(
            "\n  ".join([f"Lean run {lean.id} is of another run than these settings:", *wrong]), remedy=_REMEDY
        )


def _period_faults(lean: LeanResult, start: str, end: str, bar_ms: int) -> Iterator[str]:
    if start and parse_iso(start) not in {lean.start_ms, lean.start_ms - bar_ms}:
        yield f"period: Lean starts {iso(lean.start_ms)}, run.start is {start}"
    if end and parse_iso(end) != lean.end_ms:
        yield f"period: Lean ends {iso(lean.end_ms)}, run.end is {end}"


def _faults(lean: LeanResult, settings: Settings) -> Iterator[str]:
    currency = settings.run.account_currency
    if lean.account_currency != currency:
        yield f"account currency: Lean has {lean.account_currency}, run.account_currency is {currency}"
    wallets = settings.wallets.values()
    capital = sum(amounts.get(currency, 0.0) for amounts in wallets)
    has_coins = any(amount for amounts in wallets for asset, amount in amounts.items() if asset != currency)
    if not has_coins and abs(capital - lean.start_equity) > 0.005:
        yield f"capital: Lean begins with {lean.start_equity:,.2f}, the wallets hold {capital:,.2f}"
    legs = [leg for item in settings.pairs for leg in _legs(item.spot, item.perp, settings)]
    traded = {leg.key: leg for leg in legs}
    for symbol in dict.fromkeys(order.symbol for order in lean.orders):
        if find_instrument(symbol, traded) is None:
            yield f"instruments: Lean trades {symbol}, the pairs have {', '.join(traded)}"
    yield from _parameter_faults(lean.parameters, settings_as_mapping(settings))


def _legs(spot: str, perp: str, settings: Settings) -> tuple[Any, Any]:
    found = pair(spot, perp, settings.instruments)
    return found.spot, found.perp


def _parameter_faults(parameters: Mapping[str, str], values: Mapping[str, Any]) -> Iterator[str]:
    """Lean's parameters that name a settings key (``section.key``) must have its value."""
    for name, text in parameters.items():
        value: Any = values
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if "." in name and value is not None and not _same(text, value):
            yield f"parameter: Lean ran with {name} = {text}, the settings have {value}"


def _same(text: str, value: Any) -> bool:
    if text == str(value):
        return True
    try:
        told = tomllib.loads(f"value = {text.lower() if text.lower() in ('true', 'false') else text}")["value"]
    except tomllib.TOMLDecodeError:
        return False
    return bool(told == value)

"""Whether a Lean result and settings belong together; what does not fit is refused by name before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from crypto.errors import RefusedError
from crypto.settings import Settings
from crypto.units import DAY_MS, HOUR_MS, iso, parse_iso, timeframe_ms
from crypto.venues.registry import pair
from data.lean_results import LeanResult
from data.settings import settings_as_mapping
from data.stored_run import StoredRun
from research.lean_compare.trades import find_instrument

START, END = "run.start", "run.end"  # parameters that ``carry lean backtest`` gives
_REMEDY = "name the settings with which Lean ran (--config, --set), or compare the result that belongs to them"


def settings_for(lean: LeanResult, settings: Settings) -> Settings:
    """The settings over the period of the Lean run; ``RefusedError`` lists every way in which they do not fit it.

    Carry's own algorithm says its period in its parameters, or has the settings'. Another algorithm gets its first
    slice at Lean's start with the bar that ended then, so there the engine starts a bar earlier.
    """
    run = settings.run
    wrong = [*_period_faults(lean, settings, run.start, run.end), *_faults(lean, settings)]
    _refuse(lean, wrong)
    if lean.own_equity is None:
        bar_ms = timeframe_ms(run.timeframe)
        run = replace(run, start=iso(lean.start_ms - bar_ms), end=iso(lean.end_ms))
    else:
        told = lean.parameters
        run = replace(run, start=told.get(START, run.start), end=told.get(END, run.end))
    return replace(settings, run=run)


def check_run(lean: LeanResult, run: StoredRun) -> None:
    """``RefusedError`` when a stored run is of another period or of other settings than the Lean run."""
    start, end = iso(int(run.time_ms[0])), iso(int(run.time_ms[-1]))
    wrong = [*_period_faults(lean, run.settings, start, end), *_faults(lean, run.settings)]
    _refuse(lean, wrong)


def _refuse(lean: LeanResult, wrong: list[str]) -> None:
    if wrong:
        raise RefusedError(
            "\n  ".join([f"Lean run {lean.id} is of another run than these settings:", *wrong]), remedy=_REMEDY
        )


def _period_faults(lean: LeanResult, settings: Settings, start: str, end: str) -> Iterator[str]:
    """What is wrong with bounds of a run (empty: none is asked for)."""
    told = lean.parameters
    if start and START in told:
        fits = parse_iso(start) == parse_iso(told[START])
    else:
        fits = not start or lean.start_ms in _first_instants(lean, settings, parse_iso(start))
    if not fits:
        yield f"period: Lean starts {told.get(START, iso(lean.start_ms))}, run.start is {start}"
    if end and END in told:
        fits = parse_iso(end) == parse_iso(told[END])
    else:  # Lean ends with a day, Carry's algorithm in it
        day_ms = DAY_MS if lean.own_equity is not None else 1
        fits = not end or lean.end_ms == -(-parse_iso(end) // day_ms) * day_ms
    if not fits:
        yield f"period: Lean ends {told.get(END, iso(lean.end_ms))}, run.end is {end}"


def _first_instants(lean: LeanResult, settings: Settings, start_ms: int) -> set[int]:
    """Starts of a Lean run that go with a start of the engine: Carry's algorithm puts the warm-up before Lean's."""
    if lean.own_equity is None:
        return {start_ms, start_ms + timeframe_ms(settings.run.timeframe)}
    warm_ms = start_ms + round(settings.signal.warmup_hours * HOUR_MS)
    return {max(start_ms, warm_ms // DAY_MS * DAY_MS)}


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
        if name in {START, END}:  # instants, compared as such
            continue
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

"""The oracle of a run: status of every traded asset at every bar's close, out of the lake.

A bar's status uses what had closed by then, as ``data.oracle_series`` does. Spec: docs/specs/oracle.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from crypto.errors import DataError, SettingsError
from crypto.instruments import Instrument, Kind
from crypto.market import Floats, Integers, MarketHistory
from crypto.oracle_composite import ALTS, MAJOR_ASSETS, MAJORS, Codes, Rules, Status, Verdict
from crypto.settings import OracleSettings, PriceSource, Settings
from crypto.units import iso
from crypto.venues.registry import pair as find_pair
from data.oracle_series import WEIGHTS, OracleRequest, OracleSeries, SeriesStore, column_at, rebuild, status_at

_HEARD = (int(Verdict.USED), int(Verdict.OUTLIER))  # a source with one of these said something at that bar
_OFF = "set oracle.enabled = false"


def with_oracle(market: MarketHistory, lake: SeriesStore, settings: Settings) -> MarketHistory:
    """The market with the oracle's status by asset, and by perp where its own price is compared.

    The market itself when the oracle is not enabled. ``data_hash``, ``sources``, ``synthetic`` and ``notes`` then cover
    what the oracle was made of. ``DataError`` names a source without data in the run and what to do; ``SettingsError``
    an asset in ``oracle.sources`` that no pair trades.
    """
    oracle = settings.oracle
    if not oracle.enabled:
        return market
    perps = _perps(settings)
    _refuse_unknown_assets(oracle, perps)
    close_ms = market.open_ms + market.bar_ms
    found = {perp.base: _rebuilt(lake, perp.base, perps, market, settings) for perp in perps}
    status: dict[str, Codes] = {
        asset: status_at(series, close_ms)[1].astype(np.int8) for asset, series in found.items()
    }
    if oracle.max_mark_deviation > 0.0:
        for perp in perps:
            price = _own_price(market, perp, settings.data.valuation_price)
            status[perp.key] = status_of_perp(found[perp.base], close_ms, price, perp.quote, oracle.max_mark_deviation)
    series = list(found.values())
    return replace(
        market,
        oracle=status,
        data_hash=_hash(market.data_hash, series, status),
        synthetic=market.synthetic or any(item.synthetic for item in series),
        sources={**market.sources, **{key: origin for item in series for key, origin in item.origins.items()}},
        notes=(*market.notes, *(note for item in series for note in _notes(item))),
    )


def oracle_requests(settings: Settings) -> tuple[OracleRequest, ...]:
    """What the composite of every traded base asset is made of, as the run makes it; also where it is not enabled.

    ``SettingsError`` as in ``with_oracle``.
    """
    perps = _perps(settings)
    _refuse_unknown_assets(settings.oracle, perps)
    return tuple(_request(asset, perps, settings) for asset in dict.fromkeys(perp.base for perp in perps))


def _perps(settings: Settings) -> list[Instrument]:
    return list(dict.fromkeys(find_pair(item.spot, item.perp, settings.instruments).perp for item in settings.pairs))


def rules_of(oracle: OracleSettings, asset: str) -> Rules:
    """Limits that hold for an asset: those of the majors for BTC and ETH, else the others'."""
    is_major = asset in MAJOR_ASSETS
    return (MAJORS if is_major else ALTS)._replace(
        max_age_ms=float(oracle.max_age_ms),
        mad_factor=oracle.mad_factor,
        deviation_floor=oracle.deviation_floor_majors if is_major else oracle.deviation_floor_others,
        deviation_cap=oracle.deviation_cap,
        max_dispersion=oracle.max_dispersion_majors if is_major else oracle.max_dispersion_others,
        quorum=oracle.quorum,
        degraded_quorum=oracle.degraded_quorum,
    )


def status_of_perp(series: OracleSeries, close_ms: Integers, price: Floats, quote: str, limit: float) -> Codes:
    """Status for one perp: the asset's, but at least ``DEGRADED`` where its price lies off the composite.

    ``price`` in ``quote`` per base unit at each of ``close_ms``; where it is NaN or its quote has no rate, nothing says
    that the two agree, so that is ``DEGRADED``, too. ``limit``: allowed deviation as a fraction.
    """
    value, status = status_at(series, close_ms)
    rate = column_at(series, series.quote_rates[quote], close_ms, np.nan)
    off = np.abs(price * rate / value - 1.0)
    return np.where(off <= limit, status, np.maximum(status, int(Status.DEGRADED))).astype(np.int8)


def _refuse_unknown_assets(oracle: OracleSettings, perps: Sequence[Instrument]) -> None:
    traded = sorted({perp.base for perp in perps})
    for asset in oracle.sources:
        if asset not in traded:
            raise SettingsError(
                f"oracle.sources names {asset}, which no pair trades", remedy=f"assets of this run: {', '.join(traded)}"
            )


def _rebuilt(
    lake: SeriesStore, asset: str, perps: Sequence[Instrument], market: MarketHistory, settings: Settings
) -> OracleSeries:
    """Composite of an asset over the run; ``DataError`` when a source, or the quorum, has nothing in it."""
    oracle, request = settings.oracle, _request(asset, perps, settings)
    start, end = iso(int(market.open_ms[0])), iso(int(market.open_ms[-1]) + market.bar_ms)
    try:
        series = rebuild(lake, request, start, end)
    except DataError as error:
        raise DataError(f"oracle of {asset}: {error.message}", remedy=f"{error.remedy}; or {_OFF}") from error
    _refuse_silent_sources(series, f"between {start} and {end}", oracle)
    if oracle.max_mark_deviation > 0.0:
        _refuse_unknown_rates(series)
    return series


def _request(asset: str, perps: Sequence[Instrument], settings: Settings) -> OracleRequest:
    oracle = settings.oracle
    return OracleRequest(
        asset,
        oracle.kind.value,
        settings.run.timeframe,
        oracle.unit,
        rules_of(oracle, asset),
        oracle.max_age_ms,
        weights={**WEIGHTS, **oracle.weights},
        quote_rates=dict(oracle.quote_rates),
        instruments=tuple(oracle.sources.get(asset, ())),
        quotes=tuple(sorted({perp.quote for perp in perps if perp.base == asset})),
    )


def _refuse_silent_sources(series: OracleSeries, period: str, oracle: OracleSettings) -> None:
    """A source that was asked for has to say something in the run, and as many as the quorum have to in any case."""
    request, verdicts = series.request, series.arrays.verdict
    heard = np.isin(verdicts, _HEARD).any(axis=0)
    for place in np.flatnonzero(~heard) if request.instruments else ():
        source = series.sources[place]
        reason = Verdict(int(np.bincount(verdicts[:, place]).argmax()))
        remedy = (
            f"ingest it for that time, allow an older price (oracle.max_age_ms), or take it out of {_list(request)}"
        )
        if reason is Verdict.NO_QUOTE_RATE:
            quote = source.terms.quote
            remedy = f"ingest spot bars of {quote}{request.unit}, or state oracle.quote_rates.{quote}"
        raise DataError(
            f"oracle of {request.asset}: {source.key} has no usable price {period} ({reason.name.lower()})",
            remedy=remedy,
        )
    if heard.sum() < oracle.quorum:
        names = ", ".join(str(source.key) for source, is_heard in zip(series.sources, heard, strict=True) if is_heard)
        raise DataError(
            f"oracle of {request.asset}: sources with usable prices {period}: {names or 'none'}; fewer than"
            f" oracle.quorum = {oracle.quorum}, so it would never be good and nothing be opened",
            remedy=f"ingest {request.asset} of further venues, lower oracle.quorum, or {_OFF}",
        )


def _list(request: OracleRequest) -> str:
    return f"oracle.sources.{request.asset}"


def _refuse_unknown_rates(series: OracleSeries) -> None:
    request = series.request
    for quote in request.quotes:
        if np.isnan(series.quote_rates[quote]).all():
            raise DataError(
                f"oracle of {request.asset}: no rate of {quote} in {request.unit} to compare the perp's price by",
                remedy=f"ingest spot bars of {quote}{request.unit}, state oracle.quote_rates.{quote}, or set"
                " oracle.max_mark_deviation = 0",
            )


def _own_price(market: MarketHistory, perp: Instrument, source: PriceSource) -> Floats:
    """What the run values the perp on, per base unit at each close: its mark, or its last trade."""
    history = market.instrument(perp.key)
    is_mark = source is PriceSource.MARK
    bars = history.mark if is_mark else history.bars
    price = None if bars is None else bars.close if is_mark else np.where(bars.volume > 0.0, bars.close, np.nan)
    if price is None or np.isnan(price).all():
        raise DataError(
            f"oracle of {perp.base}: no {'mark' if is_mark else 'bars'} of {perp.key} to compare with the composite",
            remedy='ingest them, set data.valuation_price to the other of "mark" and "last", or'
            " oracle.max_mark_deviation = 0",
        )
    per_price = 1.0 if perp.kind is Kind.INVERSE else float(perp.multiplier)
    return price / per_price


def _notes(series: OracleSeries) -> Iterator[str]:
    request = series.request
    names = ", ".join(f"{source.key} (weight {source.weight:g})" for source in series.sources)
    yield f"oracle of {request.asset}: composite {request.kind} in {request.unit} of {names}"
    for note in series.notes:
        yield f"oracle of {request.asset}: {note}"


def _hash(before: str, found: Sequence[OracleSeries], status: Mapping[str, Codes]) -> str:
    """SHA-256 over the market's hash, every source as it was seen at the run's closes, the limits and the statuses."""
    digest = hashlib.sha256(before.encode())
    for series in found:
        request = series.request
        digest.update(f"\noracle {request.asset} {request.kind} {request.unit} {series.rules}".encode())
        digest.update(series.close_ms.tobytes())
        for source in series.sources:
            digest.update(f"\n{source.key} {source.weight!r}\n".encode())
            for column in (source.price, source.quote_rate, source.age_ms):
                digest.update(np.ascontiguousarray(column).data)
    for name, codes in sorted(status.items()):
        digest.update(f"\n{name}\n".encode())
        digest.update(codes.tobytes())
    return digest.hexdigest()

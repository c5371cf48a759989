"""Rules that tie the keys of ``[oracle]`` together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from crypto.errors import SettingsError
from crypto.instruments import Kind, parse_key
from crypto.settings import OracleKind, OracleSettings

_KINDS: Mapping[OracleKind, tuple[Kind, ...]] = {
    OracleKind.INDEX: (Kind.SPOT,),
    OracleKind.MARK: (Kind.LINEAR, Kind.INVERSE),
    OracleKind.LAST: (Kind.LINEAR, Kind.INVERSE),
}


def check_oracle(oracle: OracleSettings) -> Iterator[str]:
    """Problems of the oracle's limits and of its lists of sources."""
    if oracle.degraded_quorum > oracle.quorum:
        yield (
            f"oracle.degraded_quorum = {oracle.degraded_quorum} must not be above oracle.quorum = {oracle.quorum}"
            " (fewer sources than that are no price at all)"
        )
    for name in ("deviation_floor_majors", "deviation_floor_others"):
        floor = getattr(oracle, name)
        if floor > oracle.deviation_cap:
            yield f"oracle.{name} = {floor:g} must not be above oracle.deviation_cap = {oracle.deviation_cap:g}"
    for asset, keys in oracle.sources.items():
        yield from _check_sources(asset, keys, oracle)


def _check_sources(asset: str, keys: Sequence[str], oracle: OracleSettings) -> Iterator[str]:
    path = f"oracle.sources.{asset}"
    if len(keys) < oracle.quorum:
        yield f"{path} has fewer entries ({len(keys)}) than oracle.quorum = {oracle.quorum}: it would never be good"
    venues: set[str] = set()
    for place, key in enumerate(keys):
        try:
            venue, kind, _ = parse_key(key)
        except SettingsError as error:
            yield f"{path}.{place} = {key!r}: {error.message} ({error.remedy})"
            continue
        if kind not in _KINDS[oracle.kind]:
            words = " or ".join(allowed.value for allowed in _KINDS[oracle.kind])
            yield f"{path}.{place} = {key!r} must be a {words} instrument, because oracle.kind = {oracle.kind.value!r}"
        if venue in venues:
            yield f"{path}.{place} = {key!r}: {venue} is named twice; contracts of one venue are not independent"
        venues.add(venue)

"""The oracle: composite price of named sources, and whether it may be relied on. Spec: docs/specs/oracle.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crypto.errors import SettingsError
from crypto.oracle_composite import MAJORS, Rules, Status, Verdict, check_rules, check_weights, composite, deviation


@dataclass(frozen=True, slots=True)
class Source:
    """A price of one venue: ``price`` in ``quote`` per base unit (NaN: none), received ``age_ms`` ago."""

    name: str
    price: float
    quote: str
    age_ms: float
    weight: float = 1.0
    bad_book: bool = False  # the top of book was there, but crossed, locked or too wide


@dataclass(frozen=True, slots=True)
class SourceVerdict:
    """A source, its price in the common quote (NaN: not known), how far that is off the value, and its verdict."""

    source: Source
    common_price: float
    deviation: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class OracleReading:
    """Composite of one instant in units of ``unit`` per base unit; ``value`` is NaN exactly when ``HALT``."""

    unit: str
    value: float
    status: Status
    oldest_ms: float
    dispersion: float
    sources: tuple[SourceVerdict, ...]

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the sources that made the value."""
        return tuple(item.source.name for item in self.sources if item.verdict is Verdict.USED)

    @property
    def rejected(self) -> Mapping[str, Verdict]:
        """Why each of the other sources was left out."""
        return {item.source.name: item.verdict for item in self.sources if item.verdict is not Verdict.USED}


def evaluate(
    sources: Sequence[Source], quote_rates: Mapping[str, float], unit: str, rules: Rules = MAJORS
) -> OracleReading:
    """Composite of named sources. ``quote_rates``: units of ``unit`` per unit of a quote; ``unit`` itself is 1.

    A source whose quote has no rate is rejected, never taken at par. ``SettingsError`` for rules or weights that make
    no sense, and for a venue that is named twice: it would count twice in the quorum.
    """
    check_rules(rules)
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingsError(f"oracle source {twice!r} is given twice", remedy="give one price per venue")
    price = np.array([math.nan if source.bad_book else source.price for source in sources])
    rate = np.array([1.0 if source.quote == unit else quote_rates.get(source.quote, math.nan) for source in sources])
    age = np.array([source.age_ms for source in sources])
    weight = np.array([source.weight for source in sources], dtype=float)
    check_weights(weight)
    count = len(sources)
    verdict = np.empty(count, np.int8)
    found = composite(price, rate, age, weight, rules, verdict, np.empty((2, count)), np.empty((2, count), np.int64))
    known = [float(amount) * float(factor) for amount, factor in zip(price, rate, strict=True)]
    judged = tuple(
        SourceVerdict(
            source,
            known[index],
            float(deviation(known[index], float(found.value))),
            Verdict.BAD_BOOK if source.bad_book else Verdict(verdict[index]),
        )
        for index, source in enumerate(sources)
    )
    return OracleReading(
        unit, float(found.value), Status(found.status), float(found.oldest_ms), float(found.dispersion), judged
    )

"""The form of a finding about market data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from crypto.market import Integers
from crypto.units import iso
from data.store.series import Series, SeriesKey

SAMPLE_ROWS = 5
Sample = Mapping[str, float | str]


class Severity(StrEnum):
    """``ERROR``: the series must not be used. ``WARNING``: results depend on it. ``INFO``: good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of oddity in one series: how often, when first, and some of the rows."""

    severity: Severity
    kind: str
    key: SeriesKey
    count: int
    first_ms: int | None
    message: str
    samples: tuple[Sample, ...] = ()

    def as_mapping(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "severity": self.severity.value,
            "kind": self.kind,
            "series": str(self.key),
            "count": self.count,
            "first": None if self.first_ms is None else iso(self.first_ms),
            "message": self.message,
            "samples": [dict(sample) for sample in self.samples],
        }


def samples_of(series: Series, rows: Integers | NDArray[np.intp]) -> tuple[dict[str, float | str], ...]:
    """The first few of the given rows, as values by column name and ``time``."""
    result = []
    for row in rows[:SAMPLE_ROWS]:
        values: dict[str, float | str] = {"time": iso(int(series.time_ms[row]))}
        values.update({name: float(column[row]) for name, column in series.columns.items() if name != "time_ms"})
        result.append(values)
    return tuple(result)


def finding_of_rows(
    severity: Severity, kind: str, series: Series, chosen: NDArray[np.bool_], message: str
) -> list[Finding]:
    """A finding about the rows where ``chosen`` is true, as a list that is empty when there are none."""
    rows = np.flatnonzero(chosen)
    if len(rows) == 0:
        return []
    first = int(series.time_ms[rows[0]])
    return [Finding(severity, kind, series.key, len(rows), first, message, samples_of(series, rows))]

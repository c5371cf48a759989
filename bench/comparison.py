"""What a bench item says: a denominator, our figure, their ratio and the goal for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bench.measure import Sample


class Direction(StrEnum):
    """Whether the ratio has to reach the goal or to stay under it."""

    AT_LEAST = "at least"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One item. ``figure`` and ``denominator`` are in ``unit``; ``goal`` None means that the ratio is only shown."""

    item: str
    unit: str
    denominator_name: str
    denominator: Sample
    figure_name: str
    figure: Sample
    goal: float | None = None
    direction: Direction = Direction.AT_LEAST
    note: str = ""

    @property
    def ratio(self) -> float:
        """Median of our figure over the median of the denominator."""
        return self.figure.median / self.denominator.median

    @property
    def passed(self) -> bool:
        """Whether the ratio meets the goal; true where there is none."""
        if self.goal is None:
            return True
        if self.direction is Direction.AT_LEAST:
            return self.figure.median >= self.goal * self.denominator.median
        return self.figure.median < self.goal * self.denominator.median

    @property
    def goal_text(self) -> str:
        """The goal in words."""
        return "shown only" if self.goal is None else f"{self.direction.value} {self.goal:g}"

    def as_values(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "item": self.item,
            "unit": self.unit,
            "denominator": _sample_values(self.denominator_name, self.denominator),
            "figure": _sample_values(self.figure_name, self.figure),
            "ratio": self.ratio,
            "goal": self.goal,
            "direction": self.direction.value,
            "passed": self.passed,
            "note": self.note,
        }


def _sample_values(name: str, sample: Sample) -> dict[str, Any]:
    return {"name": name, "median": sample.median, "spread": sample.spread, "values": list(sample.values)}

"""What a comparison holds: differences by kind, the equity of both engines, the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from crypto.market import Floats, Integers
from data.lean_flows import BORROW, FUNDING

ORDER, FILL, FEE, EQUITY = "order", "fill", "fee", "equity"
KINDS = (ORDER, FILL, FEE, FUNDING, BORROW, EQUITY)  # causes first


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; ``lean`` and ``engine`` are in words.

    ``amount``: its size in account currency, 0 for a difference of time or of an order that has no price.
    """

    kind: str
    time_ms: int
    instrument: str
    what: str
    lean: str
    engine: str
    amount: float


@dataclass(frozen=True, slots=True)
class Section:
    """All differences of one kind, largest first; ``compared`` is how many items were put side by side."""

    kind: str
    compared: int
    differences: tuple[Difference, ...]

    @property
    def largest(self) -> float:
        """Size of the largest difference, account currency."""
        return max((item.amount for item in self.differences), default=0.0)


@dataclass(frozen=True, slots=True)
class Samples:
    """Equity of both engines at common times, counted alike."""

    time_ms: Integers
    lean: Floats
    engine: Floats


@dataclass(frozen=True, slots=True)
class Comparison:
    """A Lean run beside a run of the embedded engine. ``tolerance``: account currency per item."""

    tolerance: float
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    equity: Samples

    @property
    def agree(self) -> bool:
        """Whether nothing differs by more than the tolerance."""
        return not any(section.differences for section in self.sections)

    @property
    def count(self) -> int:
        """How many differences there are."""
        return sum(len(section.differences) for section in self.sections)

    @property
    def not_compared(self) -> tuple[str, ...]:
        """Kinds of which there is something, and nothing could be put side by side; ``notes`` say why."""
        silent = [section.kind for section in self.sections if not section.compared]
        return tuple(kind for kind in silent if any(note.startswith(f"{kind}:") for note in self.notes))

    @property
    def cause(self) -> Difference | None:
        """The largest difference of the first kind that has any: what the rest most likely follows from."""
        return next((section.differences[0] for section in self.sections if section.differences), None)

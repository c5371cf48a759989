"""What became of an update: the typed answer of the stores of state."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """Only APPLIED changed a value; after NEEDS_SNAPSHOT and GAP the caller has to ask for a new snapshot."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"  # the same message again: nothing changed, and nothing became fresher
    OUT_OF_ORDER = "out-of-order"  # older than what is held: ignored
    NEEDS_SNAPSHOT = "needs-snapshot"  # a change of something that is not held: ignored
    GAP = "gap"  # a message between was lost: what was held is dropped

    @property
    def resync(self) -> bool:
        """Whether the stream has to be subscribed again, or its REST snapshot fetched."""
        return self in (Verdict.NEEDS_SNAPSHOT, Verdict.GAP)

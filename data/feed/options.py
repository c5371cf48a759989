"""Time constants of a feed. All are parameters, so that tests run in milliseconds what takes hours at a venue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeedTimes:
    """Seconds.

    ``open_seconds``: to dial and shake hands. ``first_wait_seconds`` .. ``most_wait_seconds``: before the next attempt.
    ``good_seconds``: a connection that lived so long forgives earlier failures. ``check_seconds``: how often silence is
    looked for. ``rotate_share``: part of the venue's lifetime of a connection after which it is replaced;
    ``overlap_seconds``: how long the replacement may take to deliver before it is given up.
    ``tick_seconds``: how often rows, settlements and staleness are looked at.
    ``silence_scale``: factor on the venues' own silence and first-message limits.
    ``settlement_waits``: when a settled rate is asked for, after the settlement (venues publish it some seconds later;
    the last wait is for a clock of ours that is minutes ahead of a venue that stamps no messages).
    ``late_seconds``: a venue's values are stale when its messages come so much later than at best.
    ``skew_seconds``: a difference between a venue's clock and ours that is worth a warning.
    """

    open_seconds: float = 10.0
    close_seconds: float = 5.0
    first_wait_seconds: float = 1.0
    most_wait_seconds: float = 60.0
    good_seconds: float = 30.0
    check_seconds: float = 0.5
    rotate_share: float = 0.95
    overlap_seconds: float = 20.0
    tick_seconds: float = 0.25
    silence_scale: float = 1.0
    settlement_waits: tuple[float, ...] = (5.0, 30.0, 120.0, 600.0, 1800.0)
    late_seconds: float = 5.0
    skew_seconds: float = 5.0

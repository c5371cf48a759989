"""What Lean's console says while it runs: version, how far it got, errors, and its own account of the work."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from crypto.errors import UsageError
from crypto.units import parse_iso

_LINE = re.compile(r"(?:\d{8} \d\d:\d\d:\d\d\.\d{3} )?(?P<level>TRACE|ERROR|DEBUG|REPORT):: ?(?P<text>.*)")
_VERSION = re.compile(r"LEAN ALGORITHMIC TRADING ENGINE v(\S+)")
_DONE = re.compile(r"completed in ([\d.,]+) seconds at .* Processing total of ([\d,.]+) data points")
_MESSAGE = re.compile(r"(?:Debug|Log): (.*)")
_PAYMENT_TIME = re.compile(r'"time_ms":\s*(\d{12,14})\b')
_DATE = re.compile(r"\b(\d{4}-\d\d-\d\d)\b")
_MOST_ERRORS = 20


@dataclass(slots=True)
class LeanLog:
    """Collects from the lines as they come. ``reached_ms``: latest instant named by a message of the algorithm.

    Lean itself does not say how far a backtest got. Our algorithm logs every payment with its instant.
    """

    version: str = ""
    reached_ms: int | None = None
    seconds: float | None = None
    data_points: int | None = None
    errors: list[str] = field(default_factory=list)

    def read(self, line: str) -> None:
        """Take in one line of the console."""
        match = _LINE.search(line)
        if match is None:
            return
        text = match["text"]
        if match["level"] == "ERROR" and len(self.errors) < _MOST_ERRORS:
            self.errors.append(text.strip())
        version, done, message = _VERSION.search(text), _DONE.search(text), _MESSAGE.match(text)
        if version:
            self.version = version[1]
        elif done:
            self.seconds = float(done[1].replace(",", ""))
            self.data_points = int(re.sub(r"[,.]", "", done[2]))
        elif message:
            self._advance(message[1])

    def _advance(self, message: str) -> None:
        payment, date = _PAYMENT_TIME.search(message), _DATE.search(message)
        try:
            named = int(payment[1]) if payment else parse_iso(date[1]) if date else None
        except UsageError:  # digits like 2024-99-01 are no date, so the message says nothing about progress
            named = None
        if named is not None:
            self.reached_ms = max(named, self.reached_ms or named)

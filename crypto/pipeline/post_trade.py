"""Post-trade: round trips, headline figures and the result of a run."""

from __future__ import annotations

import numpy as np

TRIP = np.dtype(
    [
        ("pair", "i8"),
        ("direction", "i8"),  # +1 long spot and short perp, -1 the reverse
        ("open_ms", "i8"),  # decision that opened it
        ("close_ms", "i8"),  # last fill that closed it; the last instant of the run when still open
        ("is_open", "i8"),
        ("reason", "i8"),  # crypto.pipeline.reasons.Reason of the exit
        ("quantity_base", "f8"),  # largest hedged base quantity
        ("notional", "f8"),  # spot value at entry
        ("open_basis_bps", "f8"),
        ("close_basis_bps", "f8"),
        ("basis", "f8"),
        ("delta", "f8"),
        ("funding", "f8"),
        ("borrow", "f8"),
        ("fees", "f8"),
        ("slippage", "f8"),
        ("pnl", "f8"),
        ("hours", "f8"),
    ],
    align=True,
)

"""The pairs that can be traded out of a screen, and why the others can't."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from crypto.errors import SettingsError, UsageError
from crypto.instruments import Kind
from crypto.venues.registry import VENUES


def tradable_pairs(
    screened: pd.DataFrame, *, least_net_percent_a_year: float = 0.0, most: int = 10, venues: Sequence[str] = ()
) -> pd.DataFrame:
    """Rows of a screen with the pair to trade, or the reason why not; the best ``most`` tradable ones get a weight.

    Tradable ones come first. Weights are equal and sum to 1. A pair needs both legs in the shipped tables of one venue,
    a known cost, a forecast with the sign of the trade, and a net carry above ``least_net_percent_a_year``.
    """
    if np.isnan(least_net_percent_a_year):
        raise UsageError("the least net carry is not a number", remedy="give per cent a year, for example 2")
    if most < 1:
        raise SettingsError(f"most = {most} leaves no pair", remedy="give most >= 1")
    rows = []
    taken = 0
    for row in screened.to_dict("records"):
        reason = _why_not(row, least_net_percent_a_year, venues)
        if not reason and taken == most:
            reason = f"not among the best {most}"
        taken += not reason
        rows.append(
            {
                "perp": f"{row['venue']}:{row['kind']}:{row['symbol']}",
                "spot": row["spot_leg"],
                "net_percent_a_year": row["net_percent_a_year"],
                "forecast_percent_a_year": row["forecast_percent_a_year"],
                "break_even_days": row["break_even_days"],
                "tradable": not reason,
                "reason": reason,
            }
        )
    frame = pd.DataFrame(rows, columns=_PAIR_COLUMNS).sort_values(
        "tradable", ascending=False, kind="stable", ignore_index=True
    )
    frame["weight"] = np.where(frame["tradable"].astype(bool), 1.0 / max(1, taken), 0.0)
    return frame


_PAIR_COLUMNS = (
    "perp",
    "spot",
    "net_percent_a_year",
    "forecast_percent_a_year",
    "break_even_days",
    "tradable",
    "reason",
)


def _why_not(row: dict[Any, Any], least: float, venues: Sequence[str]) -> str:
    if venues and row["venue"] not in venues:
        return "venue not asked for"
    if row["ended"]:
        return f"its data end on {row['to_utc']:%Y-%m-%d}, before those of the others"
    if not row["spot_leg"]:
        return "no spot leg in the shipped tables"
    if (Kind(row["kind"]), row["symbol"]) not in VENUES[row["venue"]].instruments:
        return "contract not in the shipped tables: its filters are needed in the settings"
    if not np.isfinite(row["round_trip_bps"]):
        return "fees of the venue are not known"
    if not row["forecast_percent_a_year"] > 0:
        return "forecast is not positive"
    if not row["net_percent_a_year"] > least:
        return f"net carry is not above {least:g} % a year"
    return ""


def settings_text(pairs: pd.DataFrame) -> str:
    """The tradable pairs as ``[[pairs]]`` tables for a settings file."""
    chosen = pairs[pairs["tradable"].astype(bool)]
    return "\n".join(
        f'[[pairs]]\nspot = "{row.spot}"\nperp = "{row.perp}"\nweight = {row.weight:.6g}\n'
        for row in chosen.itertuples()
    )

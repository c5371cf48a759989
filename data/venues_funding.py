"""Funding rules of each venue in words, with source and date. Spec: docs/specs/venues.md.

No formula of this project uses them: what was paid is read out of the settled rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class FundingRule(NamedTuple):
    """How the rate is made and when it settles. ``as_of``: ISO date or month that ``source`` names, empty: none."""

    known: str
    as_of: str
    source: str


FUNDING_RULES: Mapping[str, FundingRule] = {
    "binance": FundingRule(
        "F = (mean premium + clamp(0.01 % - mean premium, -0.05 %, 0.05 %)) / (8 / hours), at most the contract's cap; "
        "8, 4 or 1 h, and 1 h for a while after a rate at the cap",
        "2026-01-02",
        "the venue's notice of 2025-09-18 (formula) and its rule of 2026-01-02 for the way back to 4 h, both as "
        "reported by others; caps and intervals of adjusted contracts: GET /fapi/v1/fundingInfo",
    ),
    "bybit": FundingRule(
        "F = mean premium + clamp(interest - mean premium, -0.05 %, 0.05 %), later minutes weigh more; interest 0.03 % "
        "a day; N hours by contract, shorter for a while after a rate at the limit",
        "2026-11",
        "Bybit help centre, 'Introduction to Funding Rate', and announcement page 'Funding Rate' (read 2026-11); "
        "limits and interval by contract: upperFundingRate, lowerFundingRate, fundingInterval of "
        "/v5/market/instruments-info",
    ),
    "okx": FundingRule(
        "8, 4, 2 or 1 h: one step shorter at each settlement at the cap or floor, back when the premium is normal; "
        "what was paid is realizedRate, not fundingRate",
        "2026-04-14",
        "OKX announcement of 2026-04-14 on the settlement frequency; fields: API documentation of "
        "/api/v5/public/funding-rate-history. The formula is NOT KNOWN here",
    ),
    "hyperliquid": FundingRule(
        "every hour an eighth of P + clamp(0.01 % - P, -0.05 %, 0.05 %), P the mean premium over the oracle price; at "
        "most 4 % an hour; paid on oracle price; settled every 8 h in 2023-05",
        "2026-11",
        "copies of Hyperliquid docs, 'Funding' (read 2026-11); every 8 h in 2023-05 as its own history has it",
    ),
    "dydx": FundingRule(
        "every hour an eighth of the hour's mean premium, plus an interest by market (0, or 0.00125 % an hour for "
        "isolated markets if governance took the proposal)",
        "2026-11",
        "dYdX help, 'Funding Rates on dYdX Chain', and its forum, proposal 3417 (read 2026-11); the caps are "
        "NOT KNOWN here",
    ),
}

"""Coins that paid fees, as the report shows them: what each wallet held and paid, and all fees by currency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from research.report.markup import coloured, row, table
from research.report.words import number, signed_money

NOTE = (
    "A fee is paid in the coin while the wallet that trades holds enough of it, else whole and without discount in the "
    "usual currency. The gain of the coin's price is collateral in the attribution."
)


def fee_coin_tables(figures: Mapping[str, Any]) -> str:
    """Two tables per coin out of the summary's ``fee_coins``."""
    return "".join(_wallets(asset, found) + _fees(asset, found) for asset, found in figures.items())


def _wallets(asset: str, found: Mapping[str, Any]) -> str:
    rows = [
        row(name, [number(held[part], 6) for part in ("start", "paid", "end")])
        for name, held in found["wallets"].items()
    ]
    head = [f"{asset} held in", "At the start", "Paid in fees", "At the end"]
    return table(f"{asset} by wallet, in coins", head, rows)


def _fees(asset: str, found: Mapping[str, Any]) -> str:
    covered = f"{number(found['fills'], 0)} fills paid in {asset}, {number(found['fills_not_covered'], 0)} not covered"
    rows = [
        row(f"Fees paid in {name}", [coloured(-value, signed_money(-value))]) for name, value in found["fees"].items()
    ]
    gain = found["gain_of_price"]
    rows.append(row(f"Gain of {asset}'s price", [coloured(gain, signed_money(gain))]))
    return table(f"Fees by currency: {covered}", [covered, "Account currency"], rows)

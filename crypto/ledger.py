"""Typed, timed cash flows, the attribution components they feed, and the array records that hold them.

A ledger row moves ``amount`` of ``asset`` in one wallet (positive: we receive). Rows are only ever appended. Every
change of a wallet balance or debt has a row; prices alone never do.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Flow(IntEnum):
    """Type of a cash flow."""

    OPENING = 0  # starting balance
    TRADE = 1  # spot: base and quote amounts exchanged, two rows per fill
    REALISED = 2  # perp: profit realised by a reducing fill
    FEE = 3
    FUNDING = 4
    FUNDING_GRACE = 5  # correction of a settlement by a fill inside the venue's grace seconds
    BORROW = 6  # principal received
    REPAY = 7  # principal returned
    INTEREST = 8  # borrow interest
    TRANSFER_OUT = 9
    TRANSFER_IN = 10
    TRANSFER_FEE = 11
    LIQUIDATION_FEE = 12  # to the insurance fund
    TAKEOVER = 13  # margin left goes to the insurance fund (negative), or the fund covers a deficit (positive)


class Component(IntEnum):
    """Where a change of equity comes from, in account currency.

    ``BASIS``: perp move relative to spot; ``DELTA``: spot move on what is not hedged; ``COLLATERAL``: revaluation of
    assets other than the account currency that no leg holds. The rest are cash flows. ``SLIPPAGE`` is the distance of a
    fill from the market's open. ``LIQUIDATION``: forced fills against the mark that triggered them, liquidation fees,
    takeovers. ``ADL``: closing price of a deleveraging against the mark. ``NAKED``: what the spot leg costs or earns
    (price, fees, slippage) while the venue has closed its hedge.
    """

    BASIS = 0
    DELTA = 1
    FUNDING = 2
    BORROW = 3
    FEES = 4
    SLIPPAGE = 5
    COLLATERAL = 6
    TRANSFER = 7
    LIQUIDATION = 8
    ADL = 9
    NAKED = 10


COMPONENT_NAMES = tuple(component.name.lower() for component in Component)

LEDGER = np.dtype(
    [
        ("time_ms", "i8"),
        ("flow", "i8"),
        ("wallet", "i8"),
        ("asset", "i8"),
        ("leg", "i8"),  # -1: belongs to no pair
        ("order", "i8"),  # -1: not caused by an order
        ("amount", "f8"),  # in units of the asset
        ("value", "f8"),  # in account currency at the time
        ("price", "f8"),  # fill, mark or valuation price used
        ("rate", "f8"),  # fee, funding or hourly borrow rate; 0 where none
        ("quantity", "f8"),  # base quantity (signed) that the flow is on; 0 where none
    ],
    align=True,
)

"""Margin calls of Lean, kept on whole pairs.

Lean compares the whole portfolio with initial margin, on last prices, every five minutes, and cuts the leg that shows a
loss, which leaves the other one naked (lean-measured.md C.3). They are switched off, because the exchange liquidates as
the venue does (``crypto.simulator.hosted_risk``); this rewrites the requests of an account that has them on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from AlgorithmImports import SubmitOrderRequest

from crypto import margin
from models.convert import security_type
from models.legs import Leg


def whole_pairs(legs: Sequence[Leg], requests: Sequence[SubmitOrderRequest]) -> list[SubmitOrderRequest]:
    """Margin call requests so that both legs of a pair shrink together.

    Lean asks each leg alone for the whole shortfall; together both need only part of that. Requests for what is no leg
    of ours stay as they are. The list is never empty when Lean's was not, which it would refuse.
    """
    kept: list[SubmitOrderRequest] = []
    asked: dict[int, list[float]] = {}
    sample: dict[int, SubmitOrderRequest] = {}
    for request in requests:
        leg = next((leg for leg in legs if leg.symbol == request.symbol and leg.row.lots != 0), None)
        if leg is None:
            kept.append(request)
            continue
        asked.setdefault(leg.row.pair, []).append(min(1.0, abs(request.quantity) / (abs(leg.row.lots) * leg.lot)))
        sample[leg.row.pair] = request
    for pair, alone in asked.items():
        share = margin.joint_cut(alone)
        for leg in legs[2 * pair : 2 * pair + 2]:
            lots = math.ceil(share * abs(leg.row.lots))
            if lots > 0:
                kept.append(_request(sample[pair], leg, -lots if leg.row.lots > 0 else lots))
    return kept


def _request(like: SubmitOrderRequest, leg: Leg, lots: int) -> SubmitOrderRequest:
    return SubmitOrderRequest(
        like.order_type,
        security_type(leg.instrument.kind),
        leg.symbol,
        leg.quantity(lots),
        0,
        0,
        like.time,
        "margin call on the whole pair",
    )

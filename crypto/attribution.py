"""Attribution of a panel: how much each symbol of a carry portfolio earned on basis, delta, funding, borrow and fees.

A panel holds S symbols by T instants in arrays that are contiguous in time, so that one pass reads each value once. The
loop is bound by memory and not by arithmetic: one sum per component is enough to hide the latency of an addition.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from crypto.borrow import interest
from crypto.compiled import jit
from crypto.funding import payment
from crypto.ledger import Component
from crypto.market import Floats

PANEL_COMPONENTS = (Component.BASIS, Component.DELTA, Component.FUNDING, Component.BORROW, Component.FEES)


@dataclass(frozen=True, slots=True)
class CarryPanel:
    """Inputs of ``attribute_panel``: float64 arrays of one shape (symbols, instants), C-contiguous, time ascending.

    Instants are one hour apart. Column t is the state at instant t; column 0 gives the opening prices only.

    ``perp_quantity``, ``spot_quantity``: base units, signed, held from instant t - 1 until instant t.
    ``spot_price``, ``mark_price``: account currency per base unit at instant t.
    ``funding_rate``: fraction paid by longs at instant t; 0 where nothing settles.
    ``borrow_rate``: fraction per hour on borrowed base units, for the hour that ends at instant t.
    ``fees``: account currency in the interval that ends at instant t; negative when paid.

    ``ValueError`` names the array that has another shape, type or layout.
    """

    perp_quantity: Floats
    spot_quantity: Floats
    spot_price: Floats
    mark_price: Floats
    funding_rate: Floats
    borrow_rate: Floats
    fees: Floats

    def __post_init__(self) -> None:
        shape = self.perp_quantity.shape
        if len(shape) != 2 or shape[1] == 0:
            raise ValueError(f"perp_quantity has shape {shape}; needs (symbols, instants) with at least one instant")
        for name in (field.name for field in fields(self)):
            _check_layout(name, getattr(self, name), shape)

    @property
    def nbytes(self) -> int:
        """Bytes that one pass over the panel reads."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))


def _check_layout(name: str, array: Floats, shape: tuple[int, ...]) -> None:
    # Converting here would silently copy arrays that can be hundreds of megabytes large.
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; perp_quantity has {shape}")
    if array.dtype != np.float64:
        raise ValueError(f"{name} has dtype {array.dtype}; needs float64")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} is not contiguous in time; pass numpy.ascontiguousarray(...)")


@jit
def basis_gain(perp_quantity: float, mark_move: float, spot_move: float) -> float:
    """Gain of a perp position from the mark price moving against the spot price, in account currency."""
    return perp_quantity * (mark_move - spot_move)


@jit
def delta_gain(spot_quantity: float, perp_quantity: float, spot_move: float) -> float:
    """Gain of the base quantity that the legs leave unhedged from the spot price moving, in account currency."""
    return (spot_quantity + perp_quantity) * spot_move


@jit
def borrow_gain(spot_quantity: float, spot_price: float, hourly_rate: float) -> float:
    """Interest of one hour on a borrowed (negative) spot quantity, in account currency: zero or negative."""
    # Written so that NaN, which fails the comparison, reaches the result.
    borrowed = 0.0 if spot_quantity >= 0.0 else -spot_quantity
    return -interest(borrowed * spot_price, hourly_rate)


@jit
def _attribute_symbol(
    perp_quantity: Floats,
    spot_quantity: Floats,
    spot_price: Floats,
    mark_price: Floats,
    funding_rate: Floats,
    borrow_rate: Floats,
    fees: Floats,
) -> tuple[float, float, float, float, float]:
    basis = delta = funding = borrow = fee = 0.0
    for t in range(1, perp_quantity.size):
        spot_move = spot_price[t] - spot_price[t - 1]
        mark_move = mark_price[t] - mark_price[t - 1]
        basis += basis_gain(perp_quantity[t], mark_move, spot_move)
        delta += delta_gain(spot_quantity[t], perp_quantity[t], spot_move)
        funding += payment(perp_quantity[t], mark_price[t], funding_rate[t])
        borrow += borrow_gain(spot_quantity[t], spot_price[t], borrow_rate[t])
        fee += fees[t]
    return basis, delta, funding, borrow, fee


@jit
def _attribute_symbols(
    perp_quantity: Floats,
    spot_quantity: Floats,
    spot_price: Floats,
    mark_price: Floats,
    funding_rate: Floats,
    borrow_rate: Floats,
    fees: Floats,
    out: Floats,
) -> None:
    for s in range(perp_quantity.shape[0]):
        out[s, 0], out[s, 1], out[s, 2], out[s, 3], out[s, 4] = _attribute_symbol(
            perp_quantity[s],
            spot_quantity[s],
            spot_price[s],
            mark_price[s],
            funding_rate[s],
            borrow_rate[s],
            fees[s],
        )


def attribute_panel(panel: CarryPanel) -> Floats:
    """Attribution of each symbol over the whole panel, in account currency, positive when earned.

    Returns shape (symbols, 5); column ``Component.BASIS`` and so on, in the order of ``PANEL_COMPONENTS``. Basis and
    delta together are the price profit of both legs. A NaN in the inputs makes the components that use it NaN.
    """
    out = np.zeros((panel.perp_quantity.shape[0], len(PANEL_COMPONENTS)))
    _attribute_symbols(
        panel.perp_quantity,
        panel.spot_quantity,
        panel.spot_price,
        panel.mark_price,
        panel.funding_rate,
        panel.borrow_rate,
        panel.fees,
        out,
    )
    return out

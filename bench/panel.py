"""Attribution of a panel against the memory it has to read, and against the pandas group-by of the same formula."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import pandas as pd

from bench.comparison import Comparison
from bench.equality import require_close
from bench.measure import cpu_seconds, in_turns, timed
from crypto.attribution import PANEL_COMPONENTS, CarryPanel, attribute_panel
from crypto.ledger import COMPONENT_NAMES
from crypto.market import Floats

TOLERANCE = 1e-12
SHARE_OF_READ = 0.7
TIMES_PANDAS = 10.0


@dataclass(frozen=True, slots=True)
class PanelSize:
    """Symbols and hours of the panel, and how often each side is timed."""

    symbols: int = 500
    hours: int = 3 * 365 * 24
    repeats: int = 9
    pandas_repeats: int = 3


def make_panel(symbols: int, hours: int, seed: int) -> CarryPanel:
    """Carry positions of both directions with prices, 8-hour funding, borrow rates and now and then a fee."""
    rng = np.random.default_rng(seed)
    shape = (symbols, hours)
    spot_price = np.exp(0.005 * rng.standard_normal(shape).cumsum(axis=1))
    mark_price = spot_price * (1.0 + 0.0005 * rng.standard_normal(shape))
    spot_quantity = rng.choice((-1.0, 1.0), (symbols, 1)) * rng.uniform(1.0, 2.0, shape)
    perp_quantity = -spot_quantity * rng.uniform(0.999, 1.001, shape)
    funding_rate = np.zeros(shape)
    funding_rate[:, 8::8] = 0.0001 * rng.standard_normal(funding_rate[:, 8::8].shape)
    borrow_rate = rng.uniform(0.0, 1e-5, shape)
    fees = np.where(rng.uniform(size=shape) < 0.01, -0.0005, 0.0)
    # Nothing is held before column 0, so the group-by need not treat that row in any other way.
    borrow_rate[:, 0] = fees[:, 0] = 0.0
    return CarryPanel(perp_quantity, spot_quantity, spot_price, mark_price, funding_rate, borrow_rate, fees)


def read_memory(panel: CarryPanel) -> float:
    """Sum of every input: one pass over the same bytes with next to no arithmetic."""
    return float(sum(getattr(panel, field.name).sum() for field in fields(panel)))


def attribute_with_einsum(panel: CarryPanel) -> tuple[Floats, Floats]:
    """The same formula as contractions: totals, and the sums of the absolute terms, shape (symbols, 5)."""
    perp, spot = panel.perp_quantity[:, 1:], panel.spot_quantity[:, 1:]
    spot_move, mark_move = np.diff(panel.spot_price), np.diff(panel.mark_price)
    terms = (
        (perp, mark_move - spot_move),
        (perp + spot, spot_move),
        (-perp, panel.mark_price[:, 1:], panel.funding_rate[:, 1:]),
        (np.minimum(spot, 0.0), panel.spot_price[:, 1:], panel.borrow_rate[:, 1:]),
        (panel.fees[:, 1:],),
    )
    totals = [_contract(factors) for factors in terms]
    scales = [_contract(tuple(np.abs(factor) for factor in factors)) for factors in terms]
    return np.stack(totals, axis=1), np.stack(scales, axis=1)


def _contract(factors: tuple[Floats, ...]) -> Floats:
    total: Floats = np.einsum(",".join(["st"] * len(factors)) + "->s", *factors)
    return total


def long_frame(panel: CarryPanel) -> pd.DataFrame:
    """The panel as a long table, sorted by symbol and time, as most people hold it."""
    symbols, hours = panel.perp_quantity.shape
    columns = {field.name: getattr(panel, field.name).ravel() for field in fields(panel)}
    return pd.DataFrame({"symbol": np.repeat(np.arange(symbols), hours), **columns})


def attribute_with_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    """The same formula as a group-by over the long table."""
    by_symbol = frame.groupby("symbol", sort=False)
    spot_move = by_symbol["spot_price"].diff()
    mark_move = by_symbol["mark_price"].diff()
    terms = pd.DataFrame(
        {
            "symbol": frame["symbol"],
            "basis": frame["perp_quantity"] * (mark_move - spot_move),
            "delta": (frame["spot_quantity"] + frame["perp_quantity"]) * spot_move,
            "funding": -frame["perp_quantity"] * frame["mark_price"] * frame["funding_rate"],
            "borrow": frame["spot_quantity"].clip(upper=0.0) * frame["spot_price"] * frame["borrow_rate"],
            "fees": frame["fees"],
        }
    )
    return terms.groupby("symbol", sort=False).sum()


def check_equal(panel: CarryPanel, frame: pd.DataFrame) -> None:
    """All three forms agree to 1e-12 of the sum of the absolute terms, per symbol and component."""
    ours = attribute_panel(panel)
    totals, scales = attribute_with_einsum(panel)
    grouped = attribute_with_pandas(frame)
    for column, component in enumerate(PANEL_COMPONENTS):
        name = COMPONENT_NAMES[component]
        scale = scales[:, column]
        require_close(f"{name}, compiled against einsum", ours[:, column], totals[:, column], scale, TOLERANCE)
        require_close(f"{name}, compiled against pandas", ours[:, column], grouped[name].to_numpy(), scale, TOLERANCE)


def compare(size: PanelSize) -> list[Comparison]:
    """Check equality, then time: bytes per second against a plain read, cells per second against pandas."""
    panel = make_panel(size.symbols, size.hours, seed=20)
    frame = long_frame(panel)
    check_equal(panel, frame)
    read_memory(panel)
    ours, read, pandas_form = (
        partial(attribute_panel, panel),
        partial(read_memory, panel),
        partial(attribute_with_pandas, frame),
    )
    quick = in_turns({"read": partial(timed, read), "ours": partial(timed, ours)}, size.repeats)
    slow = in_turns({"pandas": partial(timed, pandas_form), "ours": partial(timed, ours)}, size.pandas_repeats)
    cells = panel.perp_quantity.size
    shape = f"{size.symbols} symbols x {size.hours} hours"
    return [
        Comparison(
            item=f"attribution of {shape}, memory",
            unit="GB/s",
            denominator_name="float64 sum of the same arrays",
            denominator=cpu_seconds(quick["read"]).rates(panel.nbytes / 1e9),
            figure_name="attribute_panel",
            figure=cpu_seconds(quick["ours"]).rates(panel.nbytes / 1e9),
            goal=SHARE_OF_READ,
        ),
        Comparison(
            item=f"attribution of {shape}, pandas",
            unit="M cells/s",
            denominator_name="pandas group-by",
            denominator=cpu_seconds(slow["pandas"]).rates(cells / 1e6),
            figure_name="attribute_panel",
            figure=cpu_seconds(slow["ours"]).rates(cells / 1e6),
            goal=TIMES_PANDAS,
        ),
    ]

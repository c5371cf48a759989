"""What became of a held book: first guard, liquidation, losses by component, what is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crypto.result import BacktestResult
from research.laboratory.held_book import Book

GUARD_REASONS = frozenset(
    {"funding_flip", "basis_blowout", "pair_drawdown", "killed", "liquidation_near", "adl_light", "concentrated",
     "unhedged", "oracle"}
)  # fmt: skip
FORCED = ("liquidation", "takeover", "deleveraging")


@dataclass(frozen=True, slots=True)
class GuardEvent:
    """The first thing that a guard did. ``action``: what the strategy decided on it, empty when nothing."""

    time_ms: int
    reason: str
    value: float | None
    limit: float | None
    action: str


@dataclass(frozen=True, slots=True)
class Story:
    """A run of one book. ``left``: equity at the end over equity at the opening; ``components``: from then on.

    ``margin``: equity of the perp wallets at each instant (T,). ``closed_ms``: when the last trip closed, if all did.
    """

    book: Book
    guarded: bool
    result: BacktestResult
    opened: int  # instant (row) of the opening
    guard: GuardEvent | None
    forced: tuple[Mapping[str, Any], ...]
    components: Mapping[str, float]
    left: float
    lowest: float
    nearest: float  # smallest liquidation distance; NaN when none was measured
    top_ups: float  # moved into the perp wallet by guards, account currency
    closed_ms: int | None

    @property
    def used_up_ms(self) -> int | None:
        """When the run ended early, because a wallet held less than nothing: nobody liquidates borrowed coins here."""
        return None if self.result.status == "completed" else int(self.result.time_ms[-1])

    @property
    def left_hedged(self) -> float:
        """``left`` without what the naked leg gained or lost: that is luck."""
        return self.left - self.components["naked"] / float(self.result.equity[self.opened])

    @property
    def liquidation(self) -> Mapping[str, Any] | None:
        """The venue's first liquidation of the book."""
        return next((entry for entry in self.forced if entry["event"] == "liquidation"), None)

    @property
    def deleveraging(self) -> Mapping[str, Any] | None:
        """The first time ADL took from the book."""
        return next((entry for entry in self.forced if entry["event"] == "deleveraging"), None)


def story_of(book: Book, result: BacktestResult, open_ms: int, *, guarded: bool) -> Story:
    """Read the story out of a run's journal, series and attribution."""
    opened = int(np.searchsorted(result.time_ms, open_ms))
    equity = result.equity[opened:]
    later = [entry for entry in result.journal if entry["time_ms"] > open_ms]
    parts = result.attribution[opened + 1 :].sum(axis=(0, 1))
    distance = result.liquidation_distance[opened:]
    closed = [entry["time_ms"] for entry in later if entry["event"] == "trip_closed"]
    return Story(
        book=book,
        guarded=guarded,
        result=result,
        opened=opened,
        guard=_first_guard(later) if guarded else None,
        forced=tuple(entry for entry in later if entry["event"] in FORCED),
        components={name: float(value) for name, value in zip(result.component_names, parts, strict=True)},
        left=float(equity[-1] / equity[0]),
        lowest=float(equity.min() / equity[0]),
        nearest=float(np.nanmin(distance)) if np.isfinite(distance).any() else float("nan"),
        top_ups=sum(float(entry["amount"]) for entry in later if _is_top_up(entry)),
        closed_ms=max(closed) if len(closed) == len(result.trips) else None,
    )


def _is_top_up(entry: Mapping[str, Any]) -> bool:
    return bool(entry["event"] == "transfer_sent" and str(entry["from"]).endswith(":spot"))


def _first_guard(later: list[Mapping[str, Any]]) -> GuardEvent | None:
    for place, entry in enumerate(later):
        if entry["event"] == "guard_tripped":
            action = _action(later[place:])
            return GuardEvent(int(entry["time_ms"]), str(entry["reason"]), entry["value"], entry["limit"], action)
        if entry["event"] == "kill_switch":
            return GuardEvent(int(entry["time_ms"]), "drawdown", entry["equity"], entry["peak_equity"], "close")
        if _acts(entry):
            return GuardEvent(int(entry["time_ms"]), str(entry["reason"]), None, None, str(entry["action"]))
    return None


def _acts(entry: Mapping[str, Any]) -> bool:
    return bool(entry["event"] == "decision" and entry["approved"] and entry["reason"] in GUARD_REASONS)


def _action(later: list[Mapping[str, Any]]) -> str:
    return next((str(entry["action"]) for entry in later if _acts(entry)), "")


def story_payload(story: Story) -> dict[str, Any]:
    """The story as plain values."""
    first, guard = story.liquidation, story.guard
    return {
        "leverage": story.book.leverage,
        "direction": "carry" if story.book.direction > 0 else "reverse",
        "guards": story.guarded,
        "wallet_split": story.book.split,
        "notional": story.book.notional,
        "first_guard": None if guard is None else {
            "time_ms": guard.time_ms, "reason": guard.reason, "value": guard.value, "limit": guard.limit,
            "action": guard.action,
        },
        "liquidation": None if first is None else {
            "time_ms": first["time_ms"], "mark_price": first["mark_price"], "price": first["price"],
            "lots": first["lots"], "fee": first["fee"],
        },
        "liquidations": sum(entry["event"] == "liquidation" for entry in story.forced),
        "deleveragings": sum(entry["event"] == "deleveraging" for entry in story.forced),
        "equity_left": story.left,
        "equity_left_without_naked": story.left_hedged,
        "lowest_equity": story.lowest,
        "nearest_liquidation": story.nearest,
        "moved_to_margin": story.top_ups,
        "closed_ms": story.closed_ms,
        "components": dict(story.components),
        "status": story.result.status,
    }  # fmt: skip

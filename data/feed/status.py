"""How a feed is doing, as plain values for its status line, its socket and its summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from data.feed.engine import Engine
from data.feed.recorder import Recorder
from data.feed.rows import RowWriter
from data.feed.server import SnapshotServer
from data.feed.supervisor import Supervisor
from data.feed.view import Board


class Parts(NamedTuple):
    """What a feed consists of."""

    engine: Engine
    board: Board
    recorder: Recorder
    supervisors: Sequence[Supervisor]
    rows: RowWriter | None
    server: SnapshotServer | None


def describe(feed: Parts, now_ns: int) -> dict[str, Any]:
    """Connections by route, counts since the start, clocks, what is stale, what was written and served."""
    engine, recorder = feed.engine, feed.recorder
    counts = engine.counts
    stale = feed.board.stale(now_ns)
    return {
        "time_ms": now_ns // 1_000_000,
        "routes": [_route(feed, number) for number in range(len(feed.supervisors))],
        "frames": counts.frames,
        "frame_bytes": counts.frame_bytes,
        "events": counts.events,
        "garbage_frames": counts.garbage,
        "refused_subscriptions": counts.refused_subscriptions,
        "interval_changes": counts.interval_changes,
        "updates": {verdict.value: count for verdict, count in engine.state.verdicts.items()},
        "settled_rates": counts.settled_rates,
        "clocks": {
            venue: {"least_apart_ms": round(delay.least_ms, 3), "late_ms": round(delay.late_ms, 3)}
            for venue, delay in engine.delays.items()
        },
        "instruments": len(feed.board.instruments()),
        "stale": stale,
        "books": {
            "held": len(engine.books),
            "stale": feed.board.stale_books(now_ns),
            "updates": {verdict.value: count for verdict, count in engine.books.verdicts.items()},
        },
        "never_heard": [name for name, key in feed.board.instruments().items() if key not in engine.keys],
        "recording": {
            "folder": str(recorder.folder),
            "segments": list(recorder.segments),
            "bytes": recorder.written_bytes,
            "repaired": [{"segment": cut.segment, "torn_bytes": cut.torn_bytes} for cut in recorder.cuts],
        },
        "rows": None if feed.rows is None else {"folder": str(feed.rows.folder), "rows": feed.rows.rows},
        "clients": None if feed.server is None else feed.server.clients,
    }


def _route(feed: Parts, number: int) -> dict[str, Any]:
    supervisor = feed.supervisors[number]
    route = supervisor.route
    channels = [
        channel
        for channel in feed.engine.channels.values()
        if channel.route.venue == route.venue and channel.route.name == route.name
    ]
    return {
        "venue": route.venue,
        "route": route.name,
        "connected": any(channel.is_open for channel in channels),
        "attempts": supervisor.attempts,
        "reconnect_reason": supervisor.last_reason,
        "left_out": sorted(supervisor.left_out),
    }

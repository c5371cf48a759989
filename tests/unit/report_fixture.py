"""Results made by hand or by a seeded generator, for the tests of the writers and of the report."""

from __future__ import annotations

from typing import Any

import numpy as np

from crypto.ledger import COMPONENT_NAMES, LEDGER, Component, Flow
from crypto.pipeline.orders import ORDER, Intent, OrderKind, OrderReason, OrderStatus
from crypto.pipeline.post_trade import TRIP
from crypto.pipeline.reasons import Reason
from crypto.result import BacktestResult

HOUR = 3_600_000
START = 1_704_067_200_000  # 2024-01-01 00:00 UTC, a Monday
PAIRS = ("BTC binance", "ETH binance")
KEYS = ("binance:spot:BTCUSDT", "binance:linear:BTCUSDT", "binance:spot:ETHUSDT", "binance:linear:ETHUSDT")
WALLETS = ("binance:spot", "binance:linear", "in transit")
ASSETS = ("USDT", "BTC", "ETH")
CAPITAL = 100_000.0


def tiny_result(**changes: Any) -> BacktestResult:
    """Three hours of one pair with numbers that can be checked by eye."""
    attribution = np.zeros((3, 2, len(COMPONENT_NAMES)))
    attribution[1, 0, Component.BASIS] = -2.5
    attribution[1, 0, Component.FEES] = -0.5
    attribution[2, 0, Component.FUNDING] = 8.0
    attribution[2, 1, Component.COLLATERAL] = 1.0
    wallets = np.zeros((3, 2, len(COMPONENT_NAMES)))
    wallets[:, 0] = attribution[:, 0]
    wallets[:, 1] = attribution[:, 1]
    fields: dict[str, Any] = {
        "pair_names": PAIRS[:1],
        "wallet_names": WALLETS[:2],
        "asset_names": ASSETS[:2],
        "instrument_keys": KEYS[:2],
        "component_names": COMPONENT_NAMES,
        "time_ms": START + HOUR * np.arange(3, dtype=np.int64),
        "wallet_equity": np.array([[600.0, 400.0], [597.0, 400.0], [605.0, 401.0]]),
        "pair_pnl": np.array([[0.0], [-3.0], [5.0]]),
        "attribution": attribution,
        "wallet_attribution": wallets,
        "basis_bps": np.array([[np.nan], [4.0], [6.0]]),
        "carry_annual": np.array([[np.nan], [0.10], [0.12]]),
        "spot_value": np.array([[0.0], [500.0], [505.0]]),
        "perp_value": np.array([[0.0], [-500.5], [-505.5]]),
        "collateral_ratio": np.array([[np.nan], [0.8], [0.79]]),
        "liquidation_distance": np.array([[np.nan], [0.4], [0.38]]),
        "ledger": tiny_ledger(),
        "orders": tiny_orders(),
        "trips": tiny_trips(),
        "journal": (
            {"time_ms": START, "event": "decision", "pair": "BTC binance", "edge_bps": np.float64(12.5)},
            {"time_ms": START + HOUR, "event": "fill", "order": np.int64(0), "note": float("nan")},
        ),
        "status": "completed",
        "summary": {"start_equity": 1000.0, "end_equity": 1006.0, "sharpe": float("nan"), "round_trips": 1},
        "policies": {"missing_mark": {"policy": "last_known", "applied": 3}},
        "provenance": {"config_hash": "aa11", "data_hash": "bb22", "seed": 7, "versions": {"numpy": "1.26.4"}},
        "settings": {"run": {"name": "tiny", "account_currency": "USDT"}},
    }
    return BacktestResult(**(fields | changes))


def tiny_ledger() -> np.ndarray:
    """An opening balance, one spot fee in base, one funding payment."""
    rows = [
        (START, Flow.OPENING, 0, 0, -1, -1, 600.0, 600.0, 1.0, 0.0, 0.0),
        (START + HOUR, Flow.FEE, 0, 1, 0, 0, -0.00001, -0.5, 50_000.0, 0.001, 0.01),
        (START + 2 * HOUR, Flow.FUNDING, 1, 0, 1, -1, 8.0, 8.0, 50_500.0, 0.0001, -0.01),
    ]
    return np.array(rows, dtype=LEDGER)


def tiny_orders() -> np.ndarray:
    """A filled market order and a rejected post-only order that never arrived."""
    rows = [
        (0, 0, 0, 0, 0, 100, 100, START, START + 250, 0, START + HOUR, 1, 0, 0, np.nan, 50_000.0, -0.5, -0.25, 0.0),
        (1, 0, 1, 1, 1, -100, 0, START, START + 250, START + HOUR, 0, 3, 3, 1, 50_100.5, np.nan, 0.0, 0.0, 0.0),
    ]
    return np.array(rows, dtype=ORDER)


def tiny_trips() -> np.ndarray:
    """One closed round trip with a gain of 5."""
    when = (START, START + 2 * HOUR, 0, Reason.FUNDING_FLIP)
    components = (-2.5, 0.0, 8.0, 0.0, -0.5, 0.0)
    return np.array([(0, 1, *when, 0.01, 500.0, 4.0, 6.0, *components, 0.0, 0.0, 0.0, 5.0, 2.0)], dtype=TRIP)


def two_year_result(hours: int = 2 * 365 * 24, seed: int = 11, **changes: Any) -> BacktestResult:
    """Two pairs, hourly, in and out of the market, with funding every eight hours."""
    market = _Market(hours, seed)
    attribution = market.attribution()
    cumulative = np.cumsum(attribution[:, :2].sum(axis=2), axis=0)
    wallet_changes, wallets = market.wallets(attribution)
    total = wallets.sum(axis=1)
    fields: dict[str, Any] = {
        "pair_names": PAIRS,
        "wallet_names": WALLETS,
        "asset_names": ASSETS,
        "instrument_keys": KEYS,
        "component_names": COMPONENT_NAMES,
        "time_ms": market.time_ms,
        "wallet_equity": wallets,
        "pair_pnl": cumulative,
        "attribution": attribution,
        "wallet_attribution": wallet_changes,
        "basis_bps": np.where(market.outage[:, None], np.nan, market.basis_bps),
        "carry_annual": market.carry(),
        "spot_value": market.notional,
        "perp_value": -market.notional * (1.0 + 1e-3 * market.noise),
        "collateral_ratio": market.collateral_ratio(),
        "liquidation_distance": 0.9 * market.collateral_ratio(),
        "ledger": market.ledger(),
        "orders": market.orders(),
        "trips": market.trips(attribution),
        "journal": tuple({"time_ms": int(t), "event": "signal", "reason": "hold"} for t in market.time_ms[::500]),
        "status": "completed",
        "summary": _summary(market, total, attribution),
        "policies": {
            "missing_mark": {"policy": "last_known", "applied": 3, "max_age_hours": 8.0},
            "missing_rate": {"policy": "fail", "applied": 0},
            "grace": {"policy": "adverse", "applied": 12},
            "stale_after_bars": 1,
        },
        "provenance": {
            "config_hash": "5f1c" * 16,
            "data_hash": "9ab0" * 16,
            "seed": seed,
            "timeframe": "1h",
            "start": "2024-01-01",
            "end": "2025-12-31",
            "synthetic": True,
            "versions": {"carry": "0.1.0", "numpy": np.__version__},
            "sources": {f"{key} bars": "generated, seed 11" for key in KEYS},
            "notes": ("binance:linear:ETHUSDT: 3 settlement stamps were up to 14 ms late, brought to their instant",),
        },
        "settings": {
            "run": {"name": "two-years", "account_currency": "USDT", "seed": seed},
            "portfolio": {"min_collateral_ratio": 0.25, "max_collateral_ratio": 1.0},
            "pairs": [
                {"spot": KEYS[0], "perp": KEYS[1], "weight": 0.5},
                {"spot": KEYS[2], "perp": KEYS[3], "weight": 0.5},
            ],
        },
    }
    return BacktestResult(**(fields | changes))


class _Market:
    """Seeded arrays from which the parts of the result are made."""

    def __init__(self, hours: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.count = hours + 1
        self.time_ms = START + HOUR * np.arange(self.count, dtype=np.int64)
        self.noise = self.random.standard_normal((self.count, 2))
        self.basis_bps = self._reverting(self.count, 0.02, 1.6) + 4.0
        self.rate = 1e-4 * (1.0 + self._reverting(self.count, 0.01, 0.25))  # per eight hours
        self.is_in = self._holding()
        growth = np.exp(np.cumsum(self.random.standard_normal((self.count, 2)) * 0.004, axis=0))
        self.notional = np.where(self.is_in, 28_000.0 * np.clip(growth, 0.7, 1.4), 0.0)
        self.outage = np.zeros(self.count, dtype=bool)
        self.outage[self.count // 2 : self.count // 2 + max(1, self.count // 60)] = True

    def _reverting(self, count: int, speed: float, scale: float) -> np.ndarray:
        values = np.zeros((count, 2))
        shocks = self.random.standard_normal((count, 2)) * scale
        for k in range(1, count):
            values[k] = values[k - 1] * (1.0 - speed) + shocks[k]
        return values

    def _holding(self) -> np.ndarray:
        is_in = np.zeros((self.count, 2), dtype=bool)
        self.spans: list[tuple[int, int, int]] = []
        for pair in range(2):
            start = 72
            while start < self.count - 30:
                end = min(self.count - 1, start + int(self.random.integers(60, 900)))
                is_in[start:end, pair] = True
                self.spans.append((pair, start, end))
                start = end + int(self.random.integers(24, 200))
        return is_in

    def attribution(self) -> np.ndarray:
        change = np.zeros((self.count, 3, len(COMPONENT_NAMES)))
        basis = np.diff(self.basis_bps, axis=0, prepend=self.basis_bps[:1])
        change[:, :2, Component.BASIS] = -basis / 1e4 * self.notional
        change[:, :2, Component.DELTA] = self.noise * self.notional * 2e-6
        paid = self.rate * self.notional
        change[8::8, :2, Component.FUNDING] = paid[8::8]
        for pair, start, end in self.spans:
            for k in (start, end):
                traded = 2 * 28_000.0
                change[k, pair, Component.FEES] -= traded * 4e-4
                change[k, pair, Component.SLIPPAGE] -= traded * 0.7e-4
        change[:, 2, Component.COLLATERAL] = self.noise[:, 0] * 0.05
        change[500::500, 2, Component.TRANSFER] = -1.0
        change[0] = 0.0
        return change

    def wallets(self, attribution: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        change = np.zeros((self.count, 3, len(COMPONENT_NAMES)))
        change[:, 0] = attribution.sum(axis=1) * 0.4
        change[:, 1] = attribution.sum(axis=1) * 0.6
        for k in range(700, self.count - 2, 700):
            change[k, 0, Component.TRANSFER] -= 1_500.0
            change[k, 2, Component.TRANSFER] += 1_500.0
            change[k + 1, 2, Component.TRANSFER] -= 1_500.0
            change[k + 1, 1, Component.TRANSFER] += 1_500.0
        start = np.array([0.68 * CAPITAL, 0.32 * CAPITAL, 0.0])
        return change, start + np.cumsum(change.sum(axis=2), axis=0)

    def carry(self) -> np.ndarray:
        carry = self.rate * 3 * 365
        carry[:72] = np.nan
        return carry

    def collateral_ratio(self) -> np.ndarray:
        safe = np.where(self.notional > 0.0, self.notional, np.nan)
        return 15_000.0 / safe + 0.02 * self.noise

    def ledger(self) -> np.ndarray:
        rows: list[tuple[Any, ...]] = [(START, Flow.OPENING, 0, 0, -1, -1, CAPITAL, CAPITAL, 1.0, 0.0, 0.0)]
        for k in range(8, self.count, 8):
            for pair in range(2):
                if self.notional[k, pair] > 0.0:
                    rate, notional = self.rate[k, pair], self.notional[k, pair]
                    leg, paid, size = 2 * pair + 1, rate * notional, -notional / 50_000.0
                    rows.append((self.time_ms[k], Flow.FUNDING, 1, 0, leg, -1, paid, paid, 50_000.0, rate, size))
        for number, order in enumerate(self.orders()):
            fee = order["fee_value"]
            if fee != 0.0:
                wallet = int(order["leg"]) % 2
                rows.append(
                    (order["done_ms"], Flow.FEE, wallet, 0, order["leg"], number, fee, fee, 50_000.0, 4e-4, 0.56)
                )
        rows.sort(key=lambda row: int(row[0]))
        return np.array(rows, dtype=LEDGER)

    def orders(self) -> np.ndarray:
        orders = []
        for pair, start, end in self.spans:
            for k, side, intents in (
                (start, 1, (Intent.OPEN, Intent.HEDGE)),
                (end, -1, (Intent.REDUCE, Intent.REDUCE)),
            ):
                for is_perp, intent in enumerate(intents):
                    lots = side * (1 - 2 * is_perp) * 5600
                    orders.append(self._order(len(orders), 2 * pair + is_perp, intent, lots, k))
        return np.array(orders, dtype=ORDER)

    def _order(self, number: int, leg: int, intent: Intent, lots: int, k: int) -> tuple[Any, ...]:
        placed = int(self.time_ms[k])
        is_maker, is_rejected = number % 5 == 0, number % 23 == 7
        kind = OrderKind.POST_ONLY if is_maker else OrderKind.MARKET
        status = OrderStatus.REJECTED if is_rejected else OrderStatus.FILLED
        reason = OrderReason.NO_MARGIN if is_rejected else OrderReason.NONE
        filled, price = (0, np.nan) if is_rejected else (lots, 50_000.0)
        fee, slip = (0.0, 0.0) if is_rejected else (-28_000.0 * 4e-4, -28_000.0 * 0.7e-4)
        times = (placed, placed + 250, placed + 3 * HOUR, placed + 400)
        limit = 49_990.0 if is_maker else np.nan
        is_reduce = int(intent is Intent.REDUCE)
        return (
            number,
            leg // 2,
            leg,
            intent,
            kind,
            lots,
            filled,
            *times,
            status,
            reason,
            is_reduce,
            limit,
            price,
            fee,
            slip,
            0.0,
        )

    def trips(self, attribution: np.ndarray) -> np.ndarray:
        rows = []
        for pair, start, end in sorted(self.spans, key=lambda span: span[2]):
            parts = attribution[start : end + 1, pair].sum(axis=0)
            is_open = end == self.count - 1
            reason = (Reason.FUNDING_FLIP, Reason.BASIS_BLOWOUT, Reason.PAIR_DRAWDOWN)[int(self.random.integers(3))]
            times = (int(self.time_ms[start]), int(self.time_ms[end]), int(is_open), Reason.NONE if is_open else reason)
            basis = (self.basis_bps[start, pair], self.basis_bps[end, pair])
            named = parts[[*range(6), 8, 9, 10]]
            rows.append((pair, 1, *times, 0.56, 28_000.0, *basis, *named, parts.sum(), float(end - start)))
        return np.array(rows, dtype=TRIP)


def _summary(market: _Market, total: np.ndarray, attribution: np.ndarray) -> dict[str, Any]:
    """Headline figures in the shape that the pipeline gives them."""
    peaks = np.maximum.accumulate(total)
    low = int(np.argmin(total / peaks))
    names = [name.lower() for name in COMPONENT_NAMES]
    sums = attribution.sum(axis=0)
    daily = total[::24][1:] / total[::24][:-1] - 1.0
    volatility = float(daily.std(ddof=1) * np.sqrt(365.0)) if len(daily) > 1 else float("nan")
    years = (market.count - 1) / 8760.0
    annual = float((total[-1] / total[0]) ** (1.0 / years) - 1.0)
    orders = market.orders()
    return {
        "start_equity": float(total[0]),
        "end_equity": float(total[-1]),
        "net_pnl": float(total[-1] - total[0]),
        "net_return": float(total[-1] / total[0] - 1.0),
        "annual_return": annual,
        "annual_volatility": volatility,
        "sharpe": float(daily.mean() / daily.std(ddof=1) * np.sqrt(365.0)) if len(daily) > 1 else float("nan"),
        "max_drawdown": float((total / peaks - 1.0).min()),
        "max_drawdown_start_ms": int(market.time_ms[int(np.argmax(total[: low + 1]))]),
        "max_drawdown_end_ms": int(market.time_ms[low]),
        "round_trips": len(market.spans),
        "time_in_market": float(market.is_in.any(axis=1).mean()),
        "turnover": 31.4,
        "orders": len(orders),
        "fills": int((orders["status"] == OrderStatus.FILLED).sum()),
        "rejected": int((orders["status"] == OrderStatus.REJECTED).sum()),
        "components": dict(zip(names, sums.sum(axis=0).tolist(), strict=True)),
        "pairs": {
            name: dict(zip(names, sums[i].tolist(), strict=True)) | {"pnl": float(sums[i].sum())}
            for i, name in enumerate(PAIRS)
        },
        "years": years,
        "bars": market.count - 1,
    }

"""Bybit: one unified wallet for spot, linear and inverse, with fees, borrow and settlement rules, and filters."""

from __future__ import annotations

from collections.abc import Mapping

from crypto.borrow import BorrowRule
from crypto.fees import FeeSchedule, FeeTier
from crypto.instruments import Kind
from crypto.venues.base import Row, Venue, instrument_table

NAME = "bybit"

_FEE_TABLE = (
    "VIP0..VIP5 and Supreme VIP from a copy of Bybit's help article 'Trading Fee Structure' (id 000001634, undated, "
    "read 2026-11); rates differ by region (the Dutch and Turkish sites are dearer)"
)

SOURCES: Mapping[str, str] = {
    "fees spot": f"{_FEE_TABLE}; VIP0 as in Lean's BybitFeeModel (2026-08-21)",
    "fees linear": f"{_FEE_TABLE}; VIP0 as in Lean's BybitFuturesFeeModel (2026-08-21)",
    "fees inverse": f"{_FEE_TABLE}: one table for all perpetuals and futures",
    "fee currency": "charged in the asset bought: Bybit help article 'Spot Trading: Fees Explained' (2024-11-12)",
    "fee discount": "NONE for us: fees can be paid in MNT, but not those of API orders: Bybit help article 'FAQ - "
    "Paying Trading Fees with MNT' (2025-10-14)",
    "borrow": "interest each hour at five past on the amount borrowed then: Bybit API docs, account/repay (commit "
    "072c197d, 2026-07-24). Interest is taken from the coin's equity, whose shortfall is the loan: it compounds",
    "settlement grace": "NOT KNOWN: no published grace was found, so 0: the position at the settlement instant counts",
    "closing below min notional": "closing orders are exempt from the notional minimum, not from the smallest size: "
    "reprint (mlmrehab.com, undated) of Bybit's help article 'Derivatives Trading Rules' (2024-06-10); no exemption "
    "is published for spot",
    "filters spot": "tick, lot: Lean symbol-properties database, commit 24863901 (2026-08-21). minOrderQty is not "
    "checked any more (Bybit API docs, commit 072c197d, 2026-07-24), so min quantity is one lot. Min notional 5 USDT "
    "is documented for BTCUSDT (minOrderAmt, 2025-10-09) and reported for ETHUSDT (2025-11-18), ASSUMED for the others",
    "filters linear": "tick, lot, min quantity: Lean symbol-properties database, commit 24863901 (2026-08-21). Min "
    "notional 5 USDT is documented for BTCUSDT (Bybit API docs, 2025-01-02), ASSUMED for the others",
    "filters inverse": "Lean symbol-properties database, commit 24863901 (2026-08-21): one contract is 1 USD. No min "
    "notional was found, so 0",
    "settlement interval": "8 h, documented for BTCUSDT (Bybit API docs, 2025-01-02), ASSUMED for the others. They "
    "change: the funding rows decide, this is what is expected where there are none",
}

_DERIVATIVES: Mapping[str, FeeTier] = {
    "VIP0": FeeTier(maker=0.0002, taker=0.00055),
    "VIP1": FeeTier(maker=0.00018, taker=0.0004),
    "VIP2": FeeTier(maker=0.00016, taker=0.000375),
    "VIP3": FeeTier(maker=0.00014, taker=0.00035),
    "VIP4": FeeTier(maker=0.00012, taker=0.00032),
    "VIP5": FeeTier(maker=0.0001, taker=0.00032),
    "SUPREME": FeeTier(maker=0.0, taker=0.0003),
}

_FEES: Mapping[Kind, FeeSchedule] = {
    Kind.SPOT: FeeSchedule(
        venue=NAME,
        kind=Kind.SPOT,
        tiers={
            "VIP0": FeeTier(maker=0.001, taker=0.001),
            "VIP1": FeeTier(maker=0.000675, taker=0.0008),
            "VIP2": FeeTier(maker=0.00065, taker=0.000775),
            "VIP3": FeeTier(maker=0.000625, taker=0.00075),
            "VIP4": FeeTier(maker=0.0005, taker=0.0006),
            "VIP5": FeeTier(maker=0.0004, taker=0.0005),
            "SUPREME": FeeTier(maker=0.0003, taker=0.00045),
        },
        spot_buy_fee_in_base=True,
        source=SOURCES["fees spot"],
    ),
    Kind.LINEAR: FeeSchedule(
        venue=NAME, kind=Kind.LINEAR, tiers=_DERIVATIVES, spot_buy_fee_in_base=False, source=SOURCES["fees linear"]
    ),
    Kind.INVERSE: FeeSchedule(
        venue=NAME, kind=Kind.INVERSE, tiers=_DERIVATIVES, spot_buy_fee_in_base=False, source=SOURCES["fees inverse"]
    ),
}

# symbol, base, tick, lot, min quantity, min notional
_SPOT = (
    Row("BTCUSDT", "BTC", "0.1", "0.000001", "0.000001", "5"),
    Row("ETHUSDT", "ETH", "0.01", "0.00001", "0.00001", "5"),
    Row("SOLUSDT", "SOL", "0.01", "0.001", "0.001", "5"),
    Row("XRPUSDT", "XRP", "0.0001", "0.01", "0.01", "5"),
    Row("BNBUSDT", "BNB", "0.1", "0.0001", "0.0001", "5"),
    Row("ADAUSDT", "ADA", "0.0001", "0.01", "0.01", "5"),
    Row("DOGEUSDT", "DOGE", "0.00001", "0.1", "0.1", "5"),
    Row("AVAXUSDT", "AVAX", "0.01", "0.001", "0.001", "5"),
    Row("LINKUSDT", "LINK", "0.01", "0.001", "0.001", "5"),
    Row("LTCUSDT", "LTC", "0.01", "0.00001", "0.00001", "5"),
    Row("DOTUSDT", "DOT", "0.001", "0.001", "0.001", "5"),
    Row("PEPEUSDT", "PEPE", "0.000000001", "1", "1", "5"),
    Row("SHIBUSDT", "SHIB", "0.00000001", "0.1", "0.1", "5"),
    Row("KASUSDT", "KAS", "0.00001", "0.01", "0.01", "5"),
    Row("ONDOUSDT", "ONDO", "0.0001", "0.01", "0.01", "5"),
)

# symbol, base, tick, lot, min quantity, min notional, base units per contract
_LINEAR = (
    Row("BTCUSDT", "BTC", "0.1", "0.001", "0.001", "5"),
    Row("ETHUSDT", "ETH", "0.01", "0.01", "0.01", "5"),
    Row("SOLUSDT", "SOL", "0.01", "0.1", "0.1", "5"),
    Row("XRPUSDT", "XRP", "0.0001", "1", "1", "5"),
    Row("BNBUSDT", "BNB", "0.1", "0.01", "0.01", "5"),
    Row("ADAUSDT", "ADA", "0.0001", "1", "1", "5"),
    Row("DOGEUSDT", "DOGE", "0.00001", "1", "1", "5"),
    Row("AVAXUSDT", "AVAX", "0.001", "0.1", "0.1", "5"),
    Row("LINKUSDT", "LINK", "0.001", "0.1", "0.1", "5"),
    Row("LTCUSDT", "LTC", "0.01", "0.1", "0.1", "5"),
    Row("DOTUSDT", "DOT", "0.0001", "0.1", "0.1", "5"),
    Row("1000PEPEUSDT", "PEPE", "0.000001", "100", "100", "5", "1000"),
    Row("SHIB1000USDT", "SHIB", "0.000001", "10", "10", "5", "1000"),
    Row("KASUSDT", "KAS", "0.00001", "10", "10", "5"),
    Row("ONDOUSDT", "ONDO", "0.0001", "1", "1", "5"),
)

# symbol, base, tick, lot, min quantity, min notional, USD per contract
_INVERSE = (
    Row("BTCUSD", "BTC", "0.1", "1", "1", "0"),
    Row("ETHUSD", "ETH", "0.01", "1", "1", "0"),
    Row("SOLUSD", "SOL", "0.01", "1", "1", "0"),
    Row("XRPUSD", "XRP", "0.0001", "1", "1", "0"),
    Row("ADAUSD", "ADA", "0.0001", "1", "1", "0"),
    Row("DOGEUSD", "DOGE", "0.00001", "1", "1", "0"),
    Row("AVAXUSD", "AVAX", "0.001", "1", "1", "0"),
    Row("LINKUSD", "LINK", "0.001", "1", "1", "0"),
    Row("LTCUSD", "LTC", "0.01", "1", "1", "0"),
    Row("DOTUSD", "DOT", "0.001", "1", "1", "0"),
)

_CLOSING: Mapping[Kind, bool] = {Kind.SPOT: False, Kind.LINEAR: True, Kind.INVERSE: True}

BYBIT = Venue(
    name=NAME,
    wallets={Kind.SPOT: "unified", Kind.LINEAR: "unified", Kind.INVERSE: "unified"},
    fees=_FEES,
    discount=None,
    borrow=BorrowRule(charge_at_borrow=False, mark_offset_ms=5 * 60_000, compounds=True),
    settlement_grace_ms=0,
    closing_may_be_below_min_notional=_CLOSING,
    instruments=instrument_table(NAME, Kind.SPOT, "USDT", _SPOT, closing_may_be_below_min_notional=_CLOSING[Kind.SPOT])
    | instrument_table(NAME, Kind.LINEAR, "USDT", _LINEAR, closing_may_be_below_min_notional=_CLOSING[Kind.LINEAR])
    | instrument_table(NAME, Kind.INVERSE, "USD", _INVERSE, closing_may_be_below_min_notional=_CLOSING[Kind.INVERSE]),
    sources=SOURCES,
)

"""Binance: spot, USD-M (linear) and COIN-M (inverse) wallets, fees, borrow and settlement rules, and filters."""

from __future__ import annotations

from collections.abc import Mapping

from crypto.borrow import BorrowRule
from crypto.fees import FeeDiscount, FeeSchedule, FeeTier
from crypto.instruments import Kind
from crypto.venues.base import Row, Venue, instrument_table

NAME = "binance"

_FEE_TABLE = (
    "third-party copies of Binance's fee page (zb-binance.com 'VIP fee comparison' and 'VIP futures benefit', "
    "i-binance.com 'VIP level'; read 2026-11, undated): confirm a VIP account's rates against the account itself"
)

SOURCES: Mapping[str, str] = {
    "fees spot": f"VIP0..VIP9 without the BNB discount: {_FEE_TABLE}; VIP0 as in Lean's BinanceFeeModel (2026-08-21)",
    "fees linear": f"VIP0..VIP9 without the BNB discount, USDT contracts: {_FEE_TABLE}; Lean's taker of 0.04% is older",
    "fees inverse": "VIP0 only, NOT CERTAIN: 0.02%/0.05% is the dearest of the figures found, so results err on the "
    "careful side; Lean (2026-08-21) and third-party tables have a maker of 0.01%, an undated example in Binance's "
    "futures fee FAQ has 0.015%/0.04%, and Binance changed these fees on 2023-09-26. Higher tiers are left out",
    "fee currency": "spot buys pay in base unless BNB pays: Lean's BinanceFeeModel (2026-08-21)",
    "fee discount": "25% off spot fees, 10% off futures fees when BNB pays: Binance FAQ 115000583311 (copy read "
    "2026-11). BNB of the futures wallet pays there; where it does not cover a fee, USDT pays without discount; it is "
    "no collateral and pays no liquidation fee: futures fee schedule 360033544231 (2020-06-11). That the whole fee "
    "falls back on spot too is a user's account (bmino/binance-triangle-arbitrage issue 54, 2019-06-12). COIN-M is in "
    "neither, so it has no discount here",
    "borrow": "Binance margin FAQ: simple interest, one hour charged at borrow, then one at each full hour UTC",
    "settlement grace": "15 s: freqtrade's Binance cutoff (opens until hh:00:14); Binance support says up to a minute",
    "closing below min notional": "futures error -4164 exempts reduce-only orders, and hummingbot issue 7094 "
    "(2024-06-26) saw one accepted; no exemption is published for spot",
    "filters spot": "tick, lot, min notional: Lean symbol-properties database, commit 24863901 (2026-08-21). "
    "Min quantity, which it lacks, is ASSUMED to be one lot",
    "filters linear": "fapi exchangeInfo of 2026-03-31 08:43:49 UTC (PRICE_FILTER, LOT_SIZE, MIN_NOTIONAL)",
    "filters inverse": "contract size, tick, lot: Lean symbol-properties database, commit 24863901 (2026-08-21). "
    "Min quantity, which it lacks, is ASSUMED to be one contract; no min notional was found, so 0",
    "settlement interval": "spacing of the last 200 funding rows to 2026-03-20: KAS and ONDO 4 h, other linear 8 h; "
    "inverse 8 h. Intervals change: the funding rows decide, this is what is expected where there are none",
}

_FEES: Mapping[Kind, FeeSchedule] = {
    Kind.SPOT: FeeSchedule(
        venue=NAME,
        kind=Kind.SPOT,
        tiers={
            "VIP0": FeeTier(maker=0.001, taker=0.001),
            "VIP1": FeeTier(maker=0.0009, taker=0.001),
            "VIP2": FeeTier(maker=0.0008, taker=0.001),
            "VIP3": FeeTier(maker=0.00042, taker=0.0006),
            "VIP4": FeeTier(maker=0.00042, taker=0.00054),
            "VIP5": FeeTier(maker=0.00036, taker=0.00048),
            "VIP6": FeeTier(maker=0.0003, taker=0.00042),
            "VIP7": FeeTier(maker=0.00024, taker=0.00036),
            "VIP8": FeeTier(maker=0.00018, taker=0.0003),
            "VIP9": FeeTier(maker=0.00012, taker=0.00024),
        },
        spot_buy_fee_in_base=True,
        source=SOURCES["fees spot"],
    ),
    Kind.LINEAR: FeeSchedule(
        venue=NAME,
        kind=Kind.LINEAR,
        tiers={
            "VIP0": FeeTier(maker=0.0002, taker=0.0005),
            "VIP1": FeeTier(maker=0.00016, taker=0.0004),
            "VIP2": FeeTier(maker=0.00014, taker=0.00035),
            "VIP3": FeeTier(maker=0.00012, taker=0.00032),
            "VIP4": FeeTier(maker=0.0001, taker=0.0003),
            "VIP5": FeeTier(maker=0.00008, taker=0.00027),
            "VIP6": FeeTier(maker=0.00006, taker=0.00025),
            "VIP7": FeeTier(maker=0.00004, taker=0.00022),
            "VIP8": FeeTier(maker=0.00002, taker=0.0002),
            "VIP9": FeeTier(maker=0.0, taker=0.00017),
        },
        spot_buy_fee_in_base=False,
        source=SOURCES["fees linear"],
    ),
    Kind.INVERSE: FeeSchedule(
        venue=NAME,
        kind=Kind.INVERSE,
        tiers={"VIP0": FeeTier(maker=0.0002, taker=0.0005)},
        spot_buy_fee_in_base=False,
        source=SOURCES["fees inverse"],
    ),
}

# symbol, base, tick, lot, min quantity, min notional
_SPOT = (
    Row("BTCUSDT", "BTC", "0.01", "0.00001", "0.00001", "5"),
    Row("ETHUSDT", "ETH", "0.01", "0.0001", "0.0001", "5"),
    Row("SOLUSDT", "SOL", "0.01", "0.001", "0.001", "5"),
    Row("XRPUSDT", "XRP", "0.0001", "0.1", "0.1", "5"),
    Row("BNBUSDT", "BNB", "0.01", "0.001", "0.001", "5"),
    Row("ADAUSDT", "ADA", "0.0001", "0.1", "0.1", "5"),
    Row("DOGEUSDT", "DOGE", "0.00001", "1", "1", "1"),
    Row("AVAXUSDT", "AVAX", "0.001", "0.01", "0.01", "5"),
    Row("LINKUSDT", "LINK", "0.001", "0.01", "0.01", "5"),
    Row("LTCUSDT", "LTC", "0.01", "0.001", "0.001", "5"),
    Row("DOTUSDT", "DOT", "0.001", "0.01", "0.01", "5"),
    Row("PEPEUSDT", "PEPE", "0.00000001", "1", "1", "1"),
    Row("SHIBUSDT", "SHIB", "0.00000001", "1", "1", "1"),
    Row("ONDOUSDT", "ONDO", "0.0001", "0.1", "0.1", "5"),
)

# symbol, base, tick, lot, min quantity, min notional, base units per contract, hours between settlements
_LINEAR = (
    Row("BTCUSDT", "BTC", "0.1", "0.0001", "0.0001", "100"),
    Row("ETHUSDT", "ETH", "0.01", "0.001", "0.001", "20"),
    Row("SOLUSDT", "SOL", "0.01", "0.01", "0.01", "5"),
    Row("XRPUSDT", "XRP", "0.0001", "0.1", "0.1", "5"),
    Row("BNBUSDT", "BNB", "0.01", "0.01", "0.01", "5"),
    Row("ADAUSDT", "ADA", "0.0001", "1", "1", "5"),
    Row("DOGEUSDT", "DOGE", "0.00001", "1", "1", "5"),
    Row("AVAXUSDT", "AVAX", "0.001", "1", "1", "5"),
    Row("LINKUSDT", "LINK", "0.001", "0.01", "0.01", "5"),
    Row("LTCUSDT", "LTC", "0.01", "0.001", "0.001", "5"),
    Row("DOTUSDT", "DOT", "0.001", "0.1", "0.1", "5"),
    Row("1000PEPEUSDT", "PEPE", "0.0000001", "1", "1", "5", "1000"),
    Row("1000SHIBUSDT", "SHIB", "0.000001", "1", "1", "5", "1000"),
    Row("KASUSDT", "KAS", "0.00001", "1", "1", "5", settlement_interval_hours=4),
    Row("ONDOUSDT", "ONDO", "0.0001", "1", "1", "5", settlement_interval_hours=4),
)

# symbol, base, tick, lot, min quantity, min notional, USD per contract
_INVERSE = (
    Row("BTCUSD", "BTC", "0.1", "1", "1", "0", "100"),
    Row("ETHUSD", "ETH", "0.01", "1", "1", "0", "10"),
    Row("SOLUSD", "SOL", "0.01", "1", "1", "0", "10"),
    Row("XRPUSD", "XRP", "0.0001", "1", "1", "0", "10"),
    Row("BNBUSD", "BNB", "0.01", "1", "1", "0", "10"),
    Row("ADAUSD", "ADA", "0.0001", "1", "1", "0", "10"),
    Row("DOGEUSD", "DOGE", "0.00001", "1", "1", "0", "10"),
    Row("AVAXUSD", "AVAX", "0.01", "1", "1", "0", "10"),
    Row("LINKUSD", "LINK", "0.001", "1", "1", "0", "10"),
    Row("LTCUSD", "LTC", "0.01", "1", "1", "0", "10"),
    Row("DOTUSD", "DOT", "0.001", "1", "1", "0", "10"),
)

_CLOSING: Mapping[Kind, bool] = {Kind.SPOT: False, Kind.LINEAR: True, Kind.INVERSE: True}

BINANCE = Venue(
    name=NAME,
    wallets={Kind.SPOT: "spot", Kind.LINEAR: "linear", Kind.INVERSE: "inverse"},
    fees=_FEES,
    discount=FeeDiscount("BNB", {Kind.SPOT: 0.25, Kind.LINEAR: 0.10}, SOURCES["fee discount"]),
    borrow=BorrowRule(charge_at_borrow=True, mark_offset_ms=0, compounds=False),
    settlement_grace_ms=15_000,
    closing_may_be_below_min_notional=_CLOSING,
    instruments=instrument_table(NAME, Kind.SPOT, "USDT", _SPOT, closing_may_be_below_min_notional=_CLOSING[Kind.SPOT])
    | instrument_table(NAME, Kind.LINEAR, "USDT", _LINEAR, closing_may_be_below_min_notional=_CLOSING[Kind.LINEAR])
    | instrument_table(NAME, Kind.INVERSE, "USD", _INVERSE, closing_may_be_below_min_notional=_CLOSING[Kind.INVERSE]),
    sources=SOURCES,
)

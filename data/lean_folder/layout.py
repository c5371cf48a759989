"""Names in Lean's data folder: markets, tickers, paths and zip entries of a series.

<type>/<market>/<hour|daily>/<ticker>_trade.zip        one file for the whole history
<type>/<market>/minute/<ticker>/<yyyymmdd>_trade.zip   one file per UTC day
cryptofuture/<market>/margin_interest/<ticker>.csv     rates, one file for the whole history

Lean knows trade bars, quote bars and margin interest only. Mark, index and oracle prices are trade bars of a market of
their own (``binancemark``), which Lean reads at native speed (lean-measured.md I); borrow rates are margin interest of
``binanceborrow``, and the mark price of a settlement is the margin interest of ``binancemark``.
"""

from __future__ import annotations

from dataclasses import dataclass

from crypto.errors import DataError, RefusedError
from crypto.instruments import Instrument, Kind
from crypto.units import DAY_MS, timeframe_ms
from data.store.series import SeriesKey

MANIFEST_NAME = "carry-manifest.json"
MANIFEST_FORMAT = "carry-lean-1"
SYMBOL_PROPERTIES = "symbol-properties/symbol-properties-database.csv"
MARKET_HOURS = "market-hours/market-hours-database.json"
INTEREST_RATE = "alternative/interest-rate/usa/interest-rate.csv"

CRYPTO = "crypto"
CRYPTO_FUTURE = "cryptofuture"
BORROW = "borrow"
ORACLE = "oracle"  # among prices a venue's own; among a run's custom data the composite of several venues
VENUE_ORACLE = "venue_oracle"  # custom data: a venue's own
PRICE_SERIES = ("mark", "index", "oracle")  # series that get a market of their own, named <venue><series>
RESOLUTIONS = {"1m": "minute", "1h": "hour", "1d": "daily"}
TIMEFRAMES = {resolution: timeframe for timeframe, resolution in RESOLUTIONS.items()}
COMPOSITE_VENUE = "carry"  # stands for a venue where a price is made of several
CLOSES_SERIES = ("index", "oracle")  # series whose closes stand in a rate file, too (custom data, and a live feed)
# Lean prices every perpetual that is quoted in another asset as an inverse contract (CryptoFuture.IsCryptoCoinFuture).
LINEAR_QUOTES = ("USDT", "BUSD", "USDC")
# Markets that Lean's own table lists (Common/Market.cs); any other name has to be added before it is used.
LEAN_MARKETS = ("binance", "bitfinex", "bybit", "coinbase", "dydx", "kraken")
_FIRST_NEW_MARKET = 200  # Lean's own identifiers end at 43, the largest allowed is 999


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a series stands: ``resolution`` is minute, hour or daily for bars, and empty for a rate file."""

    security_type: str
    market: str
    ticker: str
    resolution: str = ""

    @property
    def rate_path(self) -> str:
        """Path of the rate file below the data folder."""
        return f"{self.security_type}/{self.market}/margin_interest/{self.ticker.lower()}.csv"

    def bars_path(self, day: str = "") -> str:
        """Path of the zip file below the data folder; ``day`` (yyyymmdd) for minute bars."""
        folder = f"{self.security_type}/{self.market}/{self.resolution}"
        if self.resolution == "minute":
            return f"{folder}/{self.ticker.lower()}/{day}_trade.zip"
        return f"{folder}/{self.ticker.lower()}_trade.zip"

    def entry_name(self, day: str = "") -> str:
        """Name of the text inside the zip file, as LeanData.GenerateZipEntryName makes it."""
        name, suffix = self.ticker.lower(), "_perp" if self.security_type == CRYPTO_FUTURE else ""
        if self.resolution == "minute":
            return f"{day}_{name}_minute_trade{suffix}.csv"
        return f"{name}_trade{suffix}.csv" if suffix else f"{name}.csv"


def price_market(venue: str, series: str) -> str:
    """Market that holds a venue's mark, index or oracle prices, or its borrow rates."""
    return f"{venue}{series}"


def split_market(market: str) -> tuple[str, str]:
    """Venue and series (``bars`` for a venue's own market) of a market in the folder."""
    for series in (*PRICE_SERIES, BORROW):
        if market.endswith(series) and market != series:
            return market.removesuffix(series), series
    return market, "bars"


def new_markets(venues: list[str]) -> dict[str, int]:
    """Markets of these venues that Lean does not know, with identifiers for ``Market.add``.

    The same venues give the same identifiers.
    """
    names = []
    for venue in sorted(set(venues)):
        own = [] if venue in LEAN_MARKETS else [venue]
        names += own + [price_market(venue, series) for series in (*PRICE_SERIES, BORROW)]
    return {name: _FIRST_NEW_MARKET + number for number, name in enumerate(names)}


def ticker(symbol: str, quote: str) -> str:
    """Lean's name: base and quote in capitals (``BTCUSD_PERP`` is BTCUSD, Hyperliquid's BTC is BTCUSDC)."""
    name = symbol.removesuffix("_PERP").replace("_", "").upper()
    return name if name.endswith(quote) and name != quote else name + quote


def borrow_quote(asset: str) -> str:
    """Quote asset that the ticker of a borrow rate gets, because Lean wants a base and a quote in every ticker."""
    return "USDC" if asset.upper() == "USDT" else "USDT"


def borrow_ticker(asset: str) -> str:
    """Ticker under which the borrow rate of an asset stands: BTCUSDT, and USDTUSDC for USDT."""
    return asset.upper() + borrow_quote(asset)


def borrow_asset(name: str) -> str:
    """Asset of a borrow ticker."""
    return name.removesuffix("USDC" if name.upper() == "USDTUSDC" else "USDT")


def check_valued_rightly(instrument: Instrument) -> None:
    """``RefusedError`` for a contract that Lean would value with the wrong formula (lean-measured.md H)."""
    if instrument.kind is Kind.SPOT or (instrument.kind is Kind.LINEAR) == (instrument.quote in LINEAR_QUOTES):
        return
    taken = "an inverse" if instrument.kind is Kind.LINEAR else "a linear"
    raise RefusedError(
        f"{instrument.key}: Lean takes a perpetual quoted in {instrument.quote} for {taken} contract, "
        "and would value it wrongly by orders of magnitude",
        remedy=f"leave it out; Lean prices only contracts quoted in {', '.join(LINEAR_QUOTES)} as linear ones",
    )


def place_of(key: SeriesKey, quote: str) -> Place:
    """Where the series goes. ``quote``: quote asset of the instrument, unused for borrow rates.

    ``DataError`` for bars of a length that Lean does not have.
    """
    if key.series == BORROW:
        return Place(CRYPTO_FUTURE, price_market(key.venue, BORROW), borrow_ticker(key.symbol))
    kind = CRYPTO if key.kind == Kind.SPOT else CRYPTO_FUTURE
    name = ticker(key.symbol, quote)
    if key.series == "funding":
        return Place(kind, key.venue, name)
    market = key.venue if key.series == "bars" else price_market(key.venue, key.series)
    return Place(kind, market, name, resolution_of(key.timeframe, str(key)))


def resolution_of(timeframe: str, what: str) -> str:
    """Lean's word for bars of that length; ``DataError`` when it has none. ``what`` is named in the message."""
    if timeframe not in RESOLUTIONS:
        raise DataError(
            f"{what}: Lean has no {timeframe} bars, only {', '.join(RESOLUTIONS)}",
            remedy="ingest shorter bars (with --resample 1h for hours), or run on 1m or 1h",
        )
    return RESOLUTIONS[timeframe]


def settlement_mark_place(funding: Place) -> Place:
    """Rate file that holds the mark price at each settlement of the contract."""
    return Place(funding.security_type, price_market(funding.market, "mark"), funding.ticker)


def closes_place(bars: Place) -> Place:
    """Rate file that holds the closes of an index or oracle series, each at the instant at which it is known."""
    return Place(bars.security_type, bars.market, bars.ticker)


def composite_place(asset: str, unit: str) -> Place:
    """Rate file of the composite oracle of an asset in ``unit``: ``carryoracle/margin_interest/btcusdt.csv``."""
    return Place(CRYPTO_FUTURE, price_market(COMPOSITE_VENUE, ORACLE), f"{asset}{unit}".upper())


def bar_length_ms(place: Place) -> int:
    """Milliseconds of a bar of that place."""
    return DAY_MS if place.resolution == "daily" else timeframe_ms(TIMEFRAMES[place.resolution])

"""Which venues' fees a run pays in the venue's own coin, at which discount, and what prices the coin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crypto.errors import SettingsError
from crypto.fees import FeeDiscount
from crypto.instruments import Kind, Pair
from crypto.settings import AccountModel, DiscountSettings, Settings
from crypto.venues.registry import pair as find_pair
from crypto.venues.registry import venue as find_venue


@dataclass(frozen=True, slots=True)
class FeeCoin:
    """A coin that pays fees.

    ``market``: key of the spot market that prices it. ``shares``: what is let off by kind. ``wallets``: from which it
    pays.
    """

    venue: str
    asset: str
    market: str
    shares: Mapping[Kind, float]
    wallets: tuple[str, ...]

    def held(self, settings: Settings) -> dict[str, float]:
        """Coins at the start by wallet from which they pay; wallets without any are left out."""
        found = {name: settings.wallets.get(name, {}).get(self.asset, 0.0) for name in self.wallets}
        return {name: amount for name, amount in found.items() if amount > 0.0}


def fee_coins(settings: Settings) -> tuple[FeeCoin, ...]:
    """The coins that pay fees in a run, in order of venue; none where no discount is enabled.

    ``SettingsError`` for a venue that has none or is not traded, a coin that a pair of that venue trades, and a venue
    whose wallets hold none of its coin.
    """
    enabled = {name: given for name, given in sorted(settings.fees.discount.items()) if given.enabled}
    if not enabled:
        return ()
    if settings.run.account is AccountModel.LEAN:
        raise SettingsError(
            'run.account = "lean" has no fee discount: stock Lean knows none',
            remedy="take [fees.discount] out of a run that imitates Lean",
        )
    pairs = [find_pair(item.spot, item.perp, settings.instruments) for item in settings.pairs]
    return tuple(_fee_coin(name, given, pairs, settings) for name, given in enabled.items())


def _fee_coin(name: str, given: DiscountSettings, pairs: Sequence[Pair], settings: Settings) -> FeeCoin:
    table, owner = f"fees.discount.{name}", find_venue(name)
    if owner.discount is None:
        raise SettingsError(
            f"{table}: {name} has no discount that orders of a program get ({owner.sources['fee discount']})",
            remedy='take it out, or give reduced rates with [fees.override."KEY"]',
        )
    asset = owner.discount.asset
    market = f"{name}:{Kind.SPOT}:{asset}{settings.run.account_currency}"
    shares = _shares(owner.discount, given)
    wallets = tuple(dict.fromkeys(f"{name}:{owner.wallets[kind]}" for kind in shares))
    coin = FeeCoin(name, asset, market, shares, wallets)
    legs = [leg for pair in pairs for leg in (pair.spot, pair.perp) if leg.venue == name]
    if not legs:
        raise SettingsError(f"{table}: no pair trades on {name}", remedy="take it out, or name the venue of a pair")
    for leg in legs:
        if leg.base == coin.asset:
            raise SettingsError(
                f"{table}: {leg.key} trades {coin.asset}, so {name} would take fees out of what the pair has hedged",
                remedy=f"leave that pair out, or set {table}.enabled to false",
            )
    if not coin.held(settings):
        places = " or ".join(f'[wallets."{wallet}"]' for wallet in wallets)
        raise SettingsError(
            f"{table}: no wallet that pays fees on {name} holds {asset}",
            remedy=f"give an amount of {asset} in {places}, or set {table}.enabled to false",
        )
    return coin


def _shares(known: FeeDiscount, given: DiscountSettings) -> dict[Kind, float]:
    """What the venue lets off by kind, with the settings' own numbers in their place."""
    own = {Kind.SPOT: given.spot, Kind.LINEAR: given.linear}
    return {**known.shares, **{kind: share for kind, share in own.items() if share is not None}}

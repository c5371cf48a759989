"""Attribution of a run, summed by pair and by wallet in one pass. Spec: docs/specs/attribution.md."""

from __future__ import annotations

from crypto.compiled import jit
from crypto.market import Floats, Integers


@jit
def sum_attribution(table: Floats, wallet_of: Integers, by_pair: Floats, by_wallet: Floats) -> None:
    """Fill both sums of ``table``: (T, L + W, C), a row per leg, then one per wallet for what no leg owns.

    ``wallet_of``: (L,) wallet of each leg. ``by_pair``: (T, P + 1, C), legs 2k and 2k + 1 in row k, then the wallets'
    own rows together. ``by_wallet``: (T, W, C), a wallet's own row and the legs that live there. In account currency;
    each sum goes from left to right, so that its bits do not depend on how the loops are laid out.
    """
    legs = wallet_of.shape[0]
    pairs = legs // 2
    for instant in range(table.shape[0]):
        for component in range(table.shape[2]):
            unowned = 0.0
            for wallet in range(by_wallet.shape[1]):
                own = table[instant, legs + wallet, component]
                by_wallet[instant, wallet, component] = own
                unowned += own
            by_pair[instant, pairs, component] = unowned
            for pair in range(pairs):
                spot, perp = table[instant, 2 * pair, component], table[instant, 2 * pair + 1, component]
                by_pair[instant, pair, component] = spot + perp
                by_wallet[instant, wallet_of[2 * pair], component] += spot
                by_wallet[instant, wallet_of[2 * pair + 1], component] += perp

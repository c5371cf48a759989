"""Worked liquidation and margin: published numbers by their ids, hand arithmetic, and stepping the price."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DataError, InsolventError, RefusedError, UsageError
from crypto.instruments import Kind
from crypto.tiers import TierBook, TierRow, tier_table
from crypto.units import parse_iso
from crypto.worked.answer import Answer
from crypto.worked.contracts import AccountQuestion, TierChoice
from crypto.worked.inputs import parse_positions, parse_tiers
from crypto.worked.liquidation import LiquidationQuestion, Mode, answer_liquidation
from crypto.worked.margin import MarginQuestion, answer_margin


def account(
    venue: str,
    *positions: str,
    mark: dict[str, float] | float | None = None,
    tier: tuple[str, ...] = (),
    kind: Kind = Kind.LINEAR,
    leverage: float | None = None,
    as_of: str | None = None,
    hedge: bool = False,
) -> AccountQuestion:
    held = parse_positions(positions)
    if mark is None:
        marks = {item.symbol: item.entry_price for item in held}
    else:
        marks = mark if isinstance(mark, dict) else {held[0].symbol: mark}
    levers = {} if leverage is None else {"": leverage}
    choice = TierChoice(parse_tiers(tier), None, None if as_of is None else parse_iso(as_of))
    return AccountQuestion(venue, kind, held, marks, levers, choice, hedge)


def ends(answer: Answer, symbol: str) -> tuple[float | None, float | None]:
    found = answer.values["liquidation"][symbol]
    return found["lower"], found["upper"]


def isolated(question: AccountQuestion, **given: Any) -> tuple[float | None, float | None]:
    answer = answer_liquidation(LiquidationQuestion(question, Mode.ISOLATED, **given))
    assert len(answer.checks) == 1
    return ends(answer, question.held[0].symbol)


# --- liquidation: published -----------------------------------------------------------------------------------------


def binance_faq() -> AccountQuestion:
    return account(
        "binance",
        "BTCUSDT:long:109.488@32481.98",
        "ETHUSDT:long:3683.979@1456.84",
        mark={"BTCUSDT": 31967.27, "ETHUSDT": 1335.18},
        tier=("BTCUSDT=0.025/16300", "ETHUSDT=0.10/135365"),
    )


def test_l1_binance_cross() -> None:
    answer = answer_liquidation(LiquidationQuestion(binance_faq(), Mode.CROSS, wallet=1_535_443.01))
    assert [round(ends(answer, symbol)[0] or 0, 2) for symbol in ("BTCUSDT", "ETHUSDT")] == [26_316.89, 1_153.26]
    shown = dict(answer.lines)
    assert shown["BTCUSDT"].startswith("26,316.89 ")
    assert shown["ETHUSDT"].startswith("1,153.26 ")
    # Equity and maintenance at the printed price, on exact fractions.
    wallet, quantity, entry = Fraction("1535443.01"), Fraction("109.488"), Fraction("32481.98")
    other = Fraction("3683.979")
    profit = other * (Fraction("1335.18") - Fraction("1456.84"))
    needed = other * Fraction("1335.18") / 10 - 135_365
    price = (wallet + profit - needed + 16_300 - quantity * entry) / (quantity / 40 - quantity)
    assert ends(answer, "BTCUSDT")[0] == pytest.approx(float(price), rel=1e-12)
    assert answer.checks[0].left == pytest.approx(float(wallet + profit + quantity * (price - entry)), rel=1e-12)


@pytest.mark.parametrize(
    ("side", "leverage", "price", "amount", "expected"),
    [
        pytest.param("short", 5, 10, 1.0, 11.8910891, id="L2-short-5x"),
        pytest.param("short", 3, 10, 1.0, 13.2112211, id="L2-short-3x"),
        pytest.param("short", 5, 8, 1.0, 9.5148515, id="L2-short-at-8"),
        pytest.param("short", 5, 10, 0.6, 11.8976898, id="L2-short-0.6"),
        pytest.param("long", 5, 10, 1.0, 8.0707071, id="L2-long-5x"),
        pytest.param("long", 5, 8, 1.0, 6.4545455, id="L2-long-at-8"),
        pytest.param("long", 3, 10, 1.0, 6.7239057, id="L2-long-3x"),
        pytest.param("long", 5, 10, 0.6, 8.0639740, id="L2-long-0.6"),
    ],
)
def test_l2_binance_isolated(side: str, leverage: float, price: float, amount: float, expected: float) -> None:
    question = account("binance", f"ABUSDT:{side}:{amount}@{price}", tier=("ABUSDT=0.01/0.01",), leverage=leverage)
    lower, upper = isolated(question)
    # The list prints 8.0639740 for an exact 8.0639731.
    assert (lower if side == "long" else upper) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("side", "leverage", "price", "expected"),
    [
        pytest.param("long", 5, 10, 8.0857085, id="L3-long-5x"),
        pytest.param("short", 5, 10, 11.8741342, id="L3-short-5x"),
        pytest.param("long", 3, 10, 6.7380904, id="L3-long-3x"),
        pytest.param("short", 3, 10, 13.1934824, id="L3-short-3x"),
        pytest.param("short", 5, 8, 9.4993073, id="L3-short-at-8"),
    ],
)
def test_l3_okx_adds_the_fee(side: str, leverage: float, price: float, expected: float) -> None:
    question = account("okx", f"ABUSDT:{side}:1@{price}", tier=("ABUSDT=0.01",), leverage=leverage)
    lower, upper = isolated(question, taker=0.0006)
    assert (lower if side == "long" else upper) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("position", "collateral", "largest", "expected"),
    [
        pytest.param("ETH:long:0.015@2458.5", 36.864593, 50, 0.86915825, id="L6-ETH-long-1x"),
        pytest.param("DOGE:long:437@0.11586", 25.29769, 20, 0.05945697, id="L6-DOGE-long-2x"),
        pytest.param("SOL:short:0.48@163.11", 15.650731, 20, 190.94213618, id="L6-SOL-short-5x"),
    ],
)
def test_l6_hyperliquid(position: str, collateral: float, largest: float, expected: float) -> None:
    symbol = position.split(":", maxsplit=1)[0]
    question = account("hyperliquid", position, tier=(f"{symbol}={0.5 / largest}",))
    assert next(end for end in isolated(question, margin=collateral) if end) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("side", [pytest.param(1, id="L9-long"), pytest.param(-1, id="L9-short")])
def test_l9_bybit_isolated_inverse_with_extra_margin(side: int) -> None:
    """The published form: size (1 + rate) / [size/entry (1 + 1/leverage) + extra/(1 + taker) + deduction]."""
    size, entry, leverage, extra, taker, rate, deduction = 60_000, 50_000, 10, 0.05, 0.00055, 0.01, 0.002
    value = size / entry
    below = value + side * value / leverage + side * extra / (1 + side * taker) + side * deduction
    published = size * (1 + side * rate) / below
    word = "long" if side > 0 else "short"
    question = account(
        "bybit",
        f"BTCUSD:{word}:{size}@{entry}",
        tier=(f"BTCUSD={rate}/{deduction}",),
        kind=Kind.INVERSE,
        leverage=leverage,
    )
    assert next(end for end in isolated(question, extra_margin=extra) if end) == pytest.approx(published, rel=1e-12)


def test_l15_bankruptcy_of_a_short_at_two_times() -> None:
    question = account("binance", "ABUSDT:short:1@10", tier=("ABUSDT=0.004",), leverage=2)
    answer = answer_liquidation(LiquidationQuestion(question, Mode.ISOLATED))
    assert answer.values["liquidation"]["ABUSDT"]["bankruptcy"] == 15


@pytest.mark.parametrize(
    ("side", "leverage", "expected"),
    [
        pytest.param("long", 1, 50, id="L16-long-1x"),
        pytest.param("long", 100, 99.00990099009901, id="L16-long-100x"),
        pytest.param("short", 100, 101.01010101010101, id="L16-short-100x"),
        pytest.param("short", 1, None, id="L16-short-1x-never"),
    ],
)
def test_l16_bankruptcy_of_an_inverse_position(side: str, leverage: float, expected: float | None) -> None:
    question = account("binance", f"XUSD:{side}:100@100", tier=("XUSD=0.001",), kind=Kind.INVERSE, leverage=leverage)
    answer = answer_liquidation(LiquidationQuestion(question, Mode.ISOLATED))
    found = answer.values["liquidation"]["XUSD"]["bankruptcy"]
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-12))


# --- liquidation: by hand -------------------------------------------------------------------------------------------


STAIRS = tier_table(
    "binance:linear:STEPUSDT",
    "USDT",
    0,
    [TierRow(0, 1_000, 0.01, 50), TierRow(1_000, 5_000, 0.02, 25), TierRow(5_000, 1e6, 0.05, 10)],
    "stairs",
)


def stairs(*positions: str, mark: float = 100.0, hedge: bool = False) -> AccountQuestion:
    held = parse_positions(positions)
    return AccountQuestion(
        "binance", Kind.LINEAR, held, {"STEPUSDT": mark}, {}, TierChoice(listed=TierBook([STAIRS])), hedge
    )


def test_the_tier_is_the_one_at_the_liquidation_price() -> None:
    """Short 40 at 100 with 2,000: tier 2 at entry, but 6,160 / 42 in tier 3."""
    answer = answer_liquidation(LiquidationQuestion(stairs("STEPUSDT:short:40@100"), Mode.CROSS, wallet=2_000))
    assert ends(answer, "STEPUSDT") == (None, pytest.approx(6_160 / 42))
    (tier,) = answer.tiers
    assert (tier.number, tier.tiers, tier.rate, tier.deduction) == (3, 3, 0.05, 160)


def test_hedge_mode_has_two_ends() -> None:
    """40 long and 37 short at 100, wallet 200: 80 / 1.46 and 220 / 0.85."""
    question = stairs("STEPUSDT:long:40@100", "STEPUSDT:short:37@100", hedge=True)
    answer = answer_liquidation(LiquidationQuestion(question, Mode.CROSS, wallet=200))
    assert ends(answer, "STEPUSDT") == (pytest.approx(80 / 1.46), pytest.approx(220 / 0.85))
    assert len(answer.checks) == len(answer.steps) == 2
    assert len(answer.tiers) == 4


def test_bybit_cross_with_spot_against_the_short() -> None:
    """Short 1 at 100 with 10 of money and 0.5 of spot: 10 + P/2 + 100 - P = P (0.01 + 0.001)."""
    question = account("bybit", "ABUSDT:short:1@100", tier=("ABUSDT=0.01",))
    answer = answer_liquidation(
        LiquidationQuestion(question, Mode.CROSS, wallet=10, collateral={"ABUSDT": 0.5}, taker=0.001)
    )
    assert ends(answer, "ABUSDT") == (None, pytest.approx(110 / 0.511))
    assert "collateral" in answer.steps[0].formula


def test_an_inverse_short_that_is_fully_backed_is_never_liquidated() -> None:
    question = account("binance", "XUSD:short:1000@100", tier=("XUSD=0.01",), kind=Kind.INVERSE)
    answer = answer_liquidation(LiquidationQuestion(question, Mode.CROSS, wallet=10))
    assert ends(answer, "XUSD") == (None, None)
    assert dict(answer.lines)["XUSD"].startswith("never")


def test_long_and_short_mirror() -> None:
    """Without maintenance in the way (the same rate) gains and losses of both sides meet at the entry."""
    long, _ = isolated(account("binance", "ABUSDT:long:1@100", tier=("ABUSDT=0.000001",)), margin=20)
    _, short = isolated(account("binance", "ABUSDT:short:1@100", tier=("ABUSDT=0.000001",)), margin=20)
    assert (long or 0) + (short or 0) == pytest.approx(200, abs=1e-3)


@pytest.mark.parametrize("side", [1, -1])
def test_stepping_the_price_agrees(side: int) -> None:
    """Walk the price until slices of the notional at their own tiers' rates need more than there is."""
    word = "long" if side > 0 else "short"
    wallet, quantity = 1_500.0, 40.0
    question = LiquidationQuestion(stairs(f"STEPUSDT:{word}:40@100"), Mode.CROSS, wallet=wallet)
    lower, upper = ends(answer_liquidation(question), "STEPUSDT")
    price, step = 100.0, 0.001
    while True:
        notional = quantity * price
        needed = sum(
            max(0.0, min(notional, cap) - floor) * rate
            for floor, cap, rate in ((0, 1_000, 0.01), (1_000, 5_000, 0.02), (5_000, math.inf, 0.05))
        )
        if wallet + side * quantity * (price - 100) <= needed:
            break
        price -= side * step
    assert (lower if side > 0 else upper) == pytest.approx(price, abs=step)


@given(
    wallet=st.floats(1, 1e7),
    first=st.tuples(st.sampled_from(["long", "short"]), st.floats(0.001, 1e4), st.floats(0.01, 1e5)),
    second=st.tuples(st.sampled_from(["long", "short"]), st.floats(0.001, 1e4), st.floats(0.01, 1e5)),
    moves=st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)),
    inverse=st.booleans(),
)
def test_every_answer_passes_its_own_checks(wallet: float, first: Any, second: Any, moves: Any, inverse: bool) -> None:
    """The working, solved apart from the solver, gives the same price, and the price put back balances the account."""
    texts = [f"{name}:{side}:{size!r}@{price!r}" for name, (side, size, price) in (("AUSD", first), ("BUSD", second))]
    marks = {"AUSD": first[2] * moves[0], "BUSD": second[2] * moves[1]}
    kind = Kind.INVERSE if inverse else Kind.LINEAR
    # One coin margins both, whatever the names say: rates by hand, one symbol when inverse.
    texts = texts[:1] if inverse else texts
    marks = {"AUSD": marks["AUSD"]} if inverse else marks
    tiers = ("AUSD=0.01", "BUSD=0.02")[: len(texts)]
    question = LiquidationQuestion(account("binance", *texts, mark=marks, tier=tiers, kind=kind), Mode.CROSS, wallet)
    try:
        answer = answer_liquidation(question)
    except InsolventError:
        return
    found = [end for prices in answer.values["liquidation"].values() for end in (prices["lower"], prices["upper"])]
    assert len(answer.checks) == sum(end is not None for end in found)


# --- liquidation: refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wallet": None}, "--wallet is missing"),
        ({"margin": 5.0}, "--margin contradicts --mode cross"),
        ({"extra_margin": 5.0}, "--extra-margin contradicts --mode cross"),
        ({"taker": 0.0005}, "--taker = 0.0005: binance asks for no closing fee"),
        ({"collateral": {"XRPUSDT": 1.0}}, "--collateral XRPUSDT: no --position has that symbol"),
        ({"mode": Mode.ISOLATED}, "--wallet contradicts --mode isolated"),
        ({"mode": Mode.ISOLATED, "wallet": None}, "--margin and --leverage are both missing"),
        ({"mode": Mode.ISOLATED, "wallet": None, "margin": 5.0}, "--mode isolated with several --position"),
    ],
)
def test_contradictory_flags(change: dict[str, Any], words: str) -> None:
    question = LiquidationQuestion(binance_faq(), Mode.CROSS, wallet=1_535_443.01)
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        answer_liquidation(replace(question, **change))


def test_one_way_mode_holds_one_side() -> None:
    with pytest.raises(UsageError, match="--position STEPUSDT: long and short at once need hedge mode"):
        stairs("STEPUSDT:long:40@100", "STEPUSDT:short:37@100")
    with pytest.raises(UsageError, match="STEPUSDT long is given twice"):
        stairs("STEPUSDT:long:40@100", "STEPUSDT:long:37@100")
    with pytest.raises(UsageError, match="--hedge: no symbol is held long and short"):
        stairs("STEPUSDT:long:40@100", hedge=True)


def test_a_notional_beyond_the_last_tier_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"--position STEPUSDT: .*notional 2,000,000 USDT is beyond the last tier"):
        answer_liquidation(LiquidationQuestion(stairs("STEPUSDT:long:20000@100"), Mode.CROSS, wallet=1e6))


def test_a_leverage_above_the_tiers_is_refused() -> None:
    question = replace(stairs("STEPUSDT:long:40@100"), leverage={"": 30.0})
    with pytest.raises(RefusedError, match=r"--leverage 30: .* above 25"):
        answer_liquidation(LiquidationQuestion(question, Mode.ISOLATED))


def test_a_deduction_that_is_too_large_for_the_price_is_refused() -> None:
    question = account("binance", "ABUSDT:long:1@10", tier=("ABUSDT=0.01/5",))
    with pytest.raises(UsageError, match=r"--tier ABUSDT: deduction 5 is more than 1% of the notional 10 "):
        answer_liquidation(LiquidationQuestion(question, Mode.CROSS, wallet=5))


def test_a_leverage_that_its_tier_can_not_have_is_refused() -> None:
    question = account("binance", "ABUSDT:long:1@10", tier=("ABUSDT=0.1",), leverage=20)
    with pytest.raises(UsageError, match=r"--leverage 20: its initial margin of 5.0000% is below .* ABUSDT, 10%"):
        answer_liquidation(LiquidationQuestion(question, Mode.ISOLATED))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--venue = 'binanse' is unknown; did you mean binance\?"):
        account("binanse", "BTCUSDT:long:1@10")
    missing = account("binance", "BTCUSTD:long:1@10")
    with pytest.raises(DataError, match=r"--position BTCUSTD: .* did you mean BTCUSDT\?"):
        answer_liquidation(LiquidationQuestion(missing, Mode.CROSS, wallet=5))
    wrong_kind = account("bybit", "BTCUSD:long:1@10")
    with pytest.raises(DataError) as caught:
        answer_liquidation(LiquidationQuestion(wrong_kind, Mode.CROSS, wallet=5))
    assert caught.value.remedy == "give --kind inverse"
    early = account("binance", "BTCUSDT:long:1@10", as_of="2020-01-01")
    with pytest.raises(DataError, match=r"--as-of: .* are known from 2021-03-18"):
        answer_liquidation(LiquidationQuestion(early, Mode.CROSS, wallet=5))


def test_marks_and_tiers_of_symbols_that_are_not_held() -> None:
    with pytest.raises(UsageError, match="--mark ETHUSDT: no --position"):
        account("binance", "BTCUSDT:long:1@10", mark={"ETHUSDT": 5.0})
    with pytest.raises(UsageError, match="--tier ETHUSDT: no --position"):
        account("binance", "BTCUSDT:long:1@10", tier=("ETHUSDT=0.1",))
    with pytest.raises(UsageError, match="--as-of: every symbol already has its --tier"):
        account("binance", "BTCUSDT:long:1@10", tier=("BTCUSDT=0.1",), as_of="2024-11-01")
    with pytest.raises(UsageError, match="--mark BTCUSDT is missing"):
        answer_liquidation(
            LiquidationQuestion(account("binance", "BTCUSDT:long:1@10", mark={}), Mode.CROSS, wallet=5.0)
        )


def test_an_account_that_every_price_liquidates() -> None:
    """A long of 1 and a short of 1 keep a loss of 100 at any price; the wallet is 50."""
    question = account(
        "binance", "ABUSDT:long:1@200", "ABUSDT:short:1@100", mark={"ABUSDT": 150}, tier=("ABUSDT=0.01",), hedge=True
    )
    with pytest.raises(InsolventError, match="--position ABUSDT: .* at every price"):
        answer_liquidation(LiquidationQuestion(question, Mode.CROSS, wallet=50))


# --- margin ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notional", "rate", "deduction"),
    [
        pytest.param(264_000, 0.01, 1_300, id="L11-264,000"),
        pytest.param(500_000, 0.01, 1_300, id="L11-500,000"),
        pytest.param(40_000, 0.004, 0, id="L11-first"),
        pytest.param(400_000_000, 0.5, 100_016_300, id="L11-last"),
    ],
)
def test_l11_binance_ladder_of_2021(notional: float, rate: float, deduction: float) -> None:
    question = account("binance", f"BTCUSDT:long:{notional / 40_000}@40000", as_of="2021-05-19")
    answer = answer_margin(MarginQuestion(question, 1e9))
    (tier,) = answer.tiers
    assert (tier.rate, tier.deduction, tier.since) == (rate, pytest.approx(deduction), "2021-03-18")
    assert answer.values["maintenance"] == pytest.approx(notional * rate - deduction)


def test_l7_margins_of_a_bybit_position() -> None:
    question = account("bybit", "BTCUSDT:long:1@20000", tier=("BTCUSDT=0.005",), leverage=50)
    (found,) = answer_margin(MarginQuestion(question, 1_000, taker=0.0)).values["positions"]
    assert (found["initial"], found["maintenance"]) == (400, 100)


@pytest.mark.parametrize(
    ("position", "kind", "leverage", "parts", "total"),
    [
        pytest.param("BTCUSDT:long:1@50000", Kind.LINEAR, 10, (5_000, 27.5, 24.75), 5_052.25, id="B5"),
        pytest.param("ETHUSD:long:10000@2000", Kind.INVERSE, 25, (0.2, 0.00275, 0.00286), 0.20561, id="B6"),
    ],
)
def test_order_cost(position: str, kind: Kind, leverage: float, parts: tuple[float, ...], total: float) -> None:
    symbol = position.split(":", maxsplit=1)[0]
    question = account("bybit", position, tier=(f"{symbol}=0.005",), kind=kind, leverage=leverage)
    (found,) = answer_margin(MarginQuestion(question, 10_000, taker=0.00055)).values["positions"]
    assert tuple(found["order_cost"].values()) == pytest.approx((*parts, total))


def test_margin_of_a_short_in_2024() -> None:
    """2 BTC short at 30,000, mark 32,000, 10x: loss 4,000, initial 6,400, maintenance 64,000 x 0.5% - 50."""
    question = account("binance", "BTCUSDT:short:2@30000", mark=32_000, leverage=10, as_of="2024-11-01")
    found = answer_margin(MarginQuestion(question, 10_000, reserved=100)).values
    names = ("equity", "initial", "maintenance", "ratio", "available", "liquidatable")
    assert [found[name] for name in names] == [6_000, 6_400, 270, 0.045, 0, False]


def test_l21_a_threshold_that_is_met_liquidates() -> None:
    """1 BTC that lost 1,000 and needs 156: 1,156 is too little, a cent more is not."""
    question = account("binance", "BTCUSDT:long:1@40000", mark=39_000, as_of="2021-05-19")
    assert answer_margin(MarginQuestion(question, 1_156)).values["liquidatable"]
    assert not answer_margin(MarginQuestion(question, 1_156.01)).values["liquidatable"]

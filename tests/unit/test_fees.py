from __future__ import annotations

import pytest

from crypto.errors import SettingsError
from crypto.fees import FeeSchedule, FeeTier, base_after_fee, fee, round_trip_cost
from crypto.instruments import Kind

SCHEDULE = FeeSchedule(
    venue="binance",
    kind=Kind.LINEAR,
    tiers={"vip0": FeeTier(0.0002, 0.0005), "mm": FeeTier(-0.00005, 0.0003)},
    spot_buy_fee_in_base=False,
    source="written for this test",
)


def test_rates_of_a_tier() -> None:
    assert SCHEDULE.rates("vip0") == FeeTier(maker=0.0002, taker=0.0005)


def test_unknown_tier_is_refused_with_those_that_exist() -> None:
    with pytest.raises(SettingsError) as refused:
        SCHEDULE.rates("vip12")
    assert refused.value.message == "fees.tier.binance = 'vip12' is not a linear fee tier of binance"
    assert refused.value.remedy == "use one of vip0, mm"


@pytest.mark.parametrize(("rate", "expected"), [(0.0005, 50.0), (-0.00005, -5.0), (0.0, 0.0)])
def test_fee_is_positive_when_we_pay_and_a_rebate_is_negative(rate: float, expected: float) -> None:
    assert fee(100_000.0, rate) == pytest.approx(expected, rel=1e-15)


def test_spot_buy_leaves_less_base() -> None:
    assert base_after_fee(2.0, 0.001) == pytest.approx(1.998, rel=1e-15)


def test_round_trip_pays_both_legs_twice() -> None:
    # 10 + 5 bps of fees and 1 + 2 bps of slippage, in and out: 36 bps.
    assert round_trip_cost(0.0010, 0.0005, 0.0001, 0.0002) == pytest.approx(0.0036, rel=1e-14)

"""The rate that a venue predicted against the one that it then settled, on the one pair of records that there is.

``premiumIndex`` of Binance's documentation is a real answer of 2020-08-14T02:01:35.002Z (mark and index are those of
the market then): BTCUSDT was predicted to settle at 0.00038246 at 08:00. Six hours later it settled at 0.00044038, as
the funding record of another source has it.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest

from cli import app
from research.scripts import funding

ANSWER = Path("api-doc-examples", "binance", "usdm__public__get_fapi_v1_premiumindex.json")
SETTLED = Path("binance-usdm-1h-roshan7869", "futures", "BTC_USDT_USDT-1h-funding_rate.feather")


@pytest.fixture
def lake(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Binance's BTCUSDT settlements."""
    monkeypatch.setattr(app, "COMMAND_MODULES", ("cli.ingest",))
    of = ["--venue", "binance", "--kind", "linear", "--symbol", "BTCUSDT", "--series", "funding"]
    found = tmp_path / "lake"
    assert app.run(["ingest", "freqtrade", "--file", str(shared_data / SETTLED), *of, "--lake", str(found)]) == 0
    return found


def test_the_error_of_a_prediction_six_hours_ahead(shared_data: Path, lake: Path) -> None:
    answer = json.loads((shared_data / ANSWER).read_text())
    predicted = pd.DataFrame(
        {
            "time_ms": [answer["time"]],
            "settlement_ms": [answer["nextFundingTime"]],
            "predicted_rate": [float(answer["lastFundingRate"])],
        }
    )
    (contract,) = funding.load(lake, tolerance_ms=1_500_000).contracts
    found = funding.prediction_errors(contract, predicted).set_index("lead_up_to_hours")
    # 08:00:00 less 02:01:35 is 5 h 58 min 25 s: between four and eight hours ahead.
    assert found["predictions"].to_dict() == {0.0167: 0, 0.25: 0, 1.0: 0, 4.0: 0, 8.0: 1}
    expected_bps = (Fraction("0.00038246") - Fraction("0.00044038")) * 10_000
    assert float(expected_bps) == -0.5792
    row = found.loc[8.0]
    assert row["mean_error_bps"] == pytest.approx(-0.5792, abs=1e-9)
    assert (row["mae_bps"], row["largest_error_bps"]) == pytest.approx((0.5792, 0.5792), abs=1e-9)


def test_the_prediction_is_what_the_published_formula_makes_of_a_premium_near_that_of_the_moment(
    shared_data: Path,
) -> None:
    """F = P + clamp(I - P, -0.05 %, 0.05 %): a rate above I by less than P - 0.05 % tells P, the premium to then.

    It is an average over the two hours since the last settlement, so it is near the premium of the moment, not equal.
    """
    answer = json.loads((shared_data / ANSWER).read_text())
    rate, interest = Fraction(answer["lastFundingRate"]), Fraction(answer["interestRate"])
    average = rate + Fraction("0.0005")
    assert interest - average < Fraction("-0.0005")  # so the clamp is at its lower end, as assumed
    index = Fraction(answer["indexPrice"])
    moment = (Fraction(answer["markPrice"]) - index) / index
    assert float(average) == pytest.approx(0.00088246)
    assert float(moment) == pytest.approx(0.0010038, abs=1e-7)
    assert abs(moment - average) < Fraction("0.00015")

import base64
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs

from crypto.ledger import COMPONENT_NAMES, LEDGER, Component, Flow
from crypto.pipeline.orders import OrderReason
from crypto.result import BacktestResult
from research.report.figures import MAX_POINTS_PER_LINE, build_figures, histogram, points_per_line
from research.report.markup import plain_text
from research.report.order_tables import order_notional, order_table, reason_table
from research.report.page import render
from research.report.periods import funding_calendar, monthly_sums, returns, total_of
from research.report.style import DARK, LIGHT
from research.report.tables import policy_table, trip_rows, trip_table
from research.report.thinning import thin
from research.report.words import MINUS, instant, money, number, percent, signed
from tests.unit.report_fixture import HOUR, START, tiny_ledger, tiny_orders, tiny_result, tiny_trips, two_year_result

INJECTION = "</script><img src=x onerror=alert(1)>\"'&<b>"
VOID = {"meta", "input", "br", "link"}


class Reader(HTMLParser):
    """Checks that tags nest, and keeps the text and the attributes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.text.append(data)


def read(result: BacktestResult) -> Reader:
    reader = Reader()
    reader.feed(without_library(render(result)))
    reader.close()
    assert reader.open == []
    return reader


def without_library(page: str) -> str:
    assert page.count(get_plotlyjs()) == 1
    return page.replace(get_plotlyjs(), "")


def words_of(result: BacktestResult) -> str:
    return re.sub(r"\s+", " ", " ".join(read(result).text))


def embedded(page: str, key: str) -> Any:
    match = re.search(rf'<script type="application/json" id="{key}">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    return json.loads(match.group(1))


def decoded(values: dict[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(values["bdata"]), dtype="<f8")


@pytest.fixture(scope="module")
def two_years() -> BacktestResult:
    return two_year_result()


@pytest.fixture(scope="module")
def page(two_years: BacktestResult) -> str:
    return render(two_years)


def numbers_with_gaps() -> st.SearchStrategy[list[float]]:
    return st.lists(st.one_of(st.floats(-1e9, 1e9), st.just(float("nan")), st.just(float("inf"))), max_size=400)


@given(numbers_with_gaps(), st.integers(4, 60))
def test_thinning_keeps_ends_and_extremes_and_the_limit(values: list[float], limit: int) -> None:
    array = np.array(values, dtype=np.float64)
    kept = thin(array, limit)
    assert len(kept) <= limit
    assert np.all(np.diff(kept) > 0)
    if len(array):
        assert (kept[0], kept[-1]) == (0, len(array) - 1)
    finite = array[np.isfinite(array)]
    if len(finite):
        assert {finite.min(), finite.max()} <= set(array[kept].tolist())


def test_thinning_keeps_every_buckets_extremes() -> None:
    values = np.random.default_rng(3).standard_normal(1_000)
    kept = set(thin(values, 102).tolist())  # 50 buckets of 20
    for start in range(0, 1_000, 20):
        bucket = values[start : start + 20].tolist()
        assert start + bucket.index(min(bucket)) in kept
        assert start + bucket.index(max(bucket)) in kept


def test_thinning_keeps_a_single_spike_and_a_gap() -> None:
    values = np.zeros(600_000)
    values[345_678] = 9.0
    values[100_000:200_000] = np.nan
    kept = thin(values, 3_000)
    assert len(kept) <= 3_000
    assert 345_678 in kept
    assert np.isnan(values[kept]).sum() > 100


def test_short_lines_are_kept_whole_and_tiny_limits_refused() -> None:
    assert thin(np.arange(10.0), 10).tolist() == list(range(10))
    with pytest.raises(ValueError, match="3 points"):
        thin(np.arange(10.0), 3)


def test_page_is_whole_html_with_landmarks_headings_and_labels(two_years: BacktestResult) -> None:
    reader = read(two_years)
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("h1") == 1
    assert {"main", "nav", "header", "footer"} <= set(tags)
    charts = [attrs for tag, attrs in reader.tags if tag == "div" and attrs.get("role") == "img"]
    assert len(charts) == 10
    assert all(len(attrs["aria-label"] or "") > 20 for attrs in charts)
    assert tags.count("caption") == tags.count("table")
    assert all("scope" in attrs for tag, attrs in reader.tags if tag == "th")
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for tag, attrs in reader.tags if tag == "a"]
    assert all(link and link[1:] in ids for link in links)


def test_page_loads_nothing_from_anywhere(two_years: BacktestResult) -> None:
    reader = read(two_years)
    assert not [attrs for _, attrs in reader.tags if "src" in attrs]
    assert not [tag for tag, _ in reader.tags if tag in {"link", "iframe", "img", "object"}]
    policy = next(
        attrs["content"] for tag, attrs in reader.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in without_library(render(two_years)).replace("http-equiv", "")


def test_two_years_of_two_pairs_stay_below_eight_megabytes(page: str) -> None:
    assert len(page.encode()) < 8_000_000


def test_many_pairs_share_the_points_of_the_page(two_years: BacktestResult) -> None:
    assert MAX_POINTS_PER_LINE * 0.85 < points_per_line(two_years) <= MAX_POINTS_PER_LINE
    crowd = tiny_result(pair_names=tuple(f"P{index}" for index in range(40)))
    lines = 2 + 12 + 40 + 80 + 160 + 2 + 2 + 1
    assert points_per_line(crowd) == 90_000 // lines


def test_lines_hold_at_most_the_allowed_points_and_the_true_extremes(two_years: BacktestResult, page: str) -> None:
    figures = embedded(page, "figures")["figures"]
    for figure in figures.values():
        for trace in figure["data"]:
            if isinstance(trace.get("x"), dict):
                assert len(decoded(trace["x"])) == len(decoded(trace["y"])) <= MAX_POINTS_PER_LINE
    equity = two_years.wallet_equity.sum(axis=1)
    drawn = decoded(figures["equity"]["data"][0]["y"])
    assert (drawn.min(), drawn.max(), drawn[-1]) == (equity.min(), equity.max(), equity[-1])


def test_attribution_lines_end_at_the_totals(two_years: BacktestResult, page: str) -> None:
    traces = embedded(page, "figures")["figures"]["attribution"]["data"]
    assert [trace["name"] for trace in traces[1:]] == [
        "Basis", "Delta", "Funding", "Borrow", "Fees", "Slippage", "Collateral", "Transfer", "Liquidation", "ADL",
        "Naked",
    ]  # fmt: skip
    for trace, component in zip(traces[1:], two_years.summary["components"].values(), strict=True):
        assert decoded(trace["y"])[-1] == pytest.approx(component, rel=1e-12, abs=1e-9)


def test_attribution_table_ends_in_the_equity_change_and_the_residual() -> None:
    text = words_of(tiny_result())
    assert (
        f"BTC binance {MINUS}2.50 0.00 +8.00 0.00 {MINUS}0.50 0.00 0.00 0.00 0.00 0.00 0.00 +5.00 +5.00 0.0e+00" in text
    )
    assert "No pair 0.00 0.00 0.00 0.00 0.00 0.00 +1.00 0.00 0.00 0.00 0.00 +1.00 – –" in text
    assert "Equity change +6.00" in text
    assert "Residual 0.0e+00" in text


def test_residual_shows_what_the_components_miss() -> None:
    wallets = tiny_result().wallet_equity.copy()
    wallets[-1, 0] += 0.25  # equity rises without a component
    text = words_of(tiny_result(wallet_equity=wallets))
    assert "Equity change +6.25" in text
    assert f"Residual {MINUS}2.5e{MINUS}01" in text


def test_tiles_show_the_summary_and_dashes_for_what_is_missing() -> None:
    summary = {
        "net_return": 0.0123,
        "net_pnl": 12.3,
        "sharpe": 1.5,
        "max_drawdown": -0.02,
        "max_drawdown_start_ms": START,
        "max_drawdown_end_ms": START + 48 * HOUR,
        "round_trips": 1234,
        "components": {"funding": -3.5},
        "time_in_market": 0.5,
    }
    text = words_of(tiny_result(summary=summary))
    for expected in (
        "Net return +1.23% +12.30",
        "Sharpe ratio 1.50",
        f"Largest drawdown {MINUS}2.00% 2024-01-01 to 2024-01-03",
        "Round trips 1,234",
        f"Funding {MINUS}3.50",
        "Time in market 50.0%",
        "Fees –",
        "Volatility –",
        "Turnover –",
    ):
        assert expected in text


def test_an_empty_summary_provenance_and_settings_render() -> None:
    text = words_of(tiny_result(summary={}, provenance={}, settings={}, policies={}, journal=()))
    assert "Net return –" in text
    assert "The run reports no policy." in text


def test_settings_of_any_shape_are_listed_with_dotted_keys() -> None:
    settings = {"flag": True, "none": {}, "pairs": [{"spot": "a:spot:B"}], "fees": {"tier": {"binance": "VIP 1"}}}
    text = words_of(tiny_result(settings=settings))
    for expected in ("flag yes", "none –", "pairs[0].spot a:spot:B", "tier.binance VIP 1"):
        assert expected in text


def test_synthetic_input_and_an_early_stop_have_banners() -> None:
    plain = words_of(tiny_result())
    assert "SYNTHETIC" not in plain
    assert "stopped early" not in plain
    assert "SYNTHETIC MARKET" in words_of(tiny_result(provenance={"synthetic": True}))
    stopped = words_of(tiny_result(status="wallet binance:linear fell below zero"))
    assert "The run stopped early: wallet binance:linear fell below zero" in stopped


def test_names_and_notes_cannot_inject_html() -> None:
    result = tiny_result(
        pair_names=(INJECTION,),
        wallet_names=(INJECTION, INJECTION + "2"),
        instrument_keys=(INJECTION, INJECTION),
        status=INJECTION,
        policies={INJECTION: {"policy": INJECTION, INJECTION: INJECTION}},
        provenance={
            "sources": {INJECTION: INJECTION},
            "notes": (INJECTION,),
            INJECTION: INJECTION,
            "timeframe": INJECTION,
        },
        settings={"run": {"name": INJECTION, "account_currency": INJECTION}, INJECTION: {INJECTION: [INJECTION]}},
    )
    page = without_library(render(result))
    assert "<img" not in page
    assert "<b>\"'" not in page
    reader = read(result)
    assert not [tag for tag, attrs in reader.tags if tag == "img" or "onerror" in attrs]
    assert embedded(page, "round-trips")["rows"][0][1] == INJECTION  # the script writes it as text
    drawn = embedded(page, "figures")["figures"]["pairs"]["data"][0]["name"]
    assert "<" not in drawn  # plotly reads tags in names


def cut(result: BacktestResult, rows: int) -> dict[str, Any]:
    names = ("time_ms", "wallet_equity", "pair_pnl", "attribution", "wallet_attribution", "basis_bps", "carry_annual")
    names += ("spot_value", "perp_value", "collateral_ratio", "liquidation_distance")
    return {name: getattr(result, name)[:rows] for name in names}


def test_one_instant_renders() -> None:
    base = tiny_result()
    changes = cut(base, 1) | {"ledger": base.ledger[:1], "orders": base.orders[:0], "trips": base.trips[:0]}
    text = words_of(tiny_result(**changes, journal=()))
    assert "No round trip was opened in this run." in text
    assert "No order was rejected or cancelled." in text


def test_all_nan_series_say_that_they_are_empty() -> None:
    nothing = np.full((3, 1), np.nan)
    result = tiny_result(basis_bps=nothing, carry_annual=nothing, collateral_ratio=nothing)
    figures = embedded(render(result), "figures")["figures"]
    assert figures["basis"]["layout"]["annotations"][-1]["text"] == "No values in this run"
    assert all(note["text"] != "No values in this run" for note in figures["exposure"]["layout"]["annotations"])


def test_no_funding_and_no_pair_render() -> None:
    assert "Funding by month" in words_of(tiny_result(ledger=tiny_ledger()[:2]))
    none = np.empty((3, 0))
    result = tiny_result(
        pair_names=(),
        instrument_keys=(),
        pair_pnl=none,
        basis_bps=none,
        carry_annual=none,
        spot_value=none,
        perp_value=none,
        collateral_ratio=none,
        liquidation_distance=none,
        attribution=np.zeros((3, 1, len(Component))),
        ledger=tiny_ledger()[:1],
        orders=tiny_result().orders[:0],
        trips=tiny_trips()[:0],
    )
    assert "Equity change" in words_of(result)


def test_equity_at_or_below_zero_renders_without_warning() -> None:
    wallets = np.array([[600.0, 400.0], [0.0, 0.0], [-5.0, 0.0]])
    assert words_of(tiny_result(wallet_equity=wallets, status="insolvent"))


def ms(text: str) -> int:
    return int(np.datetime64(text, "ms").astype(np.int64))


def test_returns_count_the_bar_that_closes_at_midnight_to_its_own_month() -> None:
    times = np.array(
        [ms("2023-12-30T00"), ms("2024-01-01T00"), ms("2024-01-15T00"), ms("2024-02-01T00"), ms("2024-04-02T00")]
    )
    table = returns(times, np.array([100.0, 110.0, 120.0, 99.0, 198.0]))
    assert table.years == (2023, 2024)
    assert table.monthly[0, 11] == pytest.approx(0.10)
    assert table.monthly[1, 0] == pytest.approx(-0.10)  # 99 on 110
    assert np.isnan(table.monthly[1, 1])  # no bar in February
    assert table.monthly[1, 3] == pytest.approx(1.0)
    assert table.yearly == pytest.approx([0.10, 0.80])


def test_returns_chain_to_the_whole(two_years: BacktestResult) -> None:
    equity = two_years.wallet_equity.sum(axis=1)
    table = returns(two_years.time_ms, equity)
    assert np.prod(1.0 + table.yearly) == pytest.approx(equity[-1] / equity[0], rel=1e-12)
    assert np.nanprod(1.0 + table.monthly) == pytest.approx(equity[-1] / equity[0], rel=1e-12)


def test_monthly_sums_leave_out_the_start() -> None:
    times = np.array([ms("2024-01-31T22"), ms("2024-01-31T23"), ms("2024-02-01T00"), ms("2024-02-01T01")])
    months, sums = monthly_sums(times, np.array([[9.0], [1.0], [2.0], [4.0]]))
    assert [str(month) for month in months] == ["2024-01", "2024-02"]
    assert sums.tolist() == [[3.0], [4.0]]


def test_funding_calendar_sums_by_date_and_pair() -> None:
    rows = [
        (ms("2024-01-31T16"), Flow.FUNDING, 0, 0, 1, -1, 2.0, 2.0, 0.0, 0.0, 0.0),
        (ms("2024-01-31T16:00:05"), Flow.FUNDING_GRACE, 0, 0, 1, -1, -0.5, -0.5, 0.0, 0.0, 0.0),
        (ms("2024-02-01T00"), Flow.FUNDING, 0, 0, 1, -1, 4.0, 4.0, 0.0, 0.0, 0.0),
        (ms("2024-02-01T00"), Flow.FUNDING, 0, 0, 3, -1, -1.0, -1.0, 0.0, 0.0, 0.0),
        (ms("2024-02-01T00"), Flow.FEE, 0, 0, 3, -1, -7.0, -7.0, 0.0, 0.0, 0.0),
    ]
    calendar = funding_calendar(np.array(rows, dtype=LEDGER), 2)
    assert [str(month) for month in calendar.months] == ["2024-01", "2024-02"]
    assert calendar.daily[0, 0, 30] == 1.5
    assert calendar.daily[0, 1, 0] == 4.0
    assert calendar.daily[1, 1, 0] == -1.0
    assert np.isfinite(calendar.daily).sum() == 3
    assert total_of(calendar.daily)[1, 0] == 3.0


def test_trips_are_listed_in_full_with_open_ones_marked() -> None:
    trips = np.concatenate((tiny_trips(), tiny_trips()))
    trips["is_open"][1] = 1
    trips["open_basis_bps"][1] = np.nan
    listed = json.loads(trip_rows(tiny_result(trips=trips)))
    keys = [column["key"] for column in listed["columns"]]
    first, second = (dict(zip(keys, row, strict=True)) for row in listed["rows"])
    assert (first["pair"], first["direction"], first["reason"]) == ("BTC binance", "long", "funding flip")
    assert (first["pnl"], first["pnl_bps"], first["notional"]) == (5.0, 100.0, 500.0)
    assert (second["close_ms"], second["reason"], second["open_basis_bps"]) == (None, "still open", None)


def test_what_the_venue_did_by_force_has_a_column_only_where_it_did_something() -> None:
    trips = np.concatenate((tiny_trips(), tiny_trips()))
    trips["liquidation"] = (-12.34567, 0.0)
    trips["naked"] = (0.0, 7.5)
    for changed, forced in ((trips, ["Liquidation", "Naked"]), (tiny_trips(), [])):
        result = tiny_result(trips=changed)
        listed = json.loads(trip_rows(result))
        headings = re.findall(r"<button type=\"button\">(.*?)</button></th>", trip_table(result))
        assert headings[headings.index("Slippage") + 1 :] == forced
        assert len(headings) == len(listed["columns"]) == len(listed["rows"][0])
    keys = [column["key"] for column in json.loads(trip_rows(tiny_result(trips=trips)))["columns"]]
    rows = [dict(zip(keys, row, strict=True)) for row in json.loads(trip_rows(tiny_result(trips=trips)))["rows"]]
    assert [(row["liquidation"], row["naked"]) for row in rows] == [(-12.3457, 0.0), (0.0, 7.5)]


def test_thousands_of_trips_stay_compact() -> None:
    trips = np.tile(tiny_trips(), 5_000)
    listed = trip_rows(tiny_result(trips=trips))
    assert len(json.loads(listed)["rows"]) == 5_000
    assert len(listed) < 1_000_000


def test_a_filled_order_of_a_liquidation_is_no_order_that_did_not_fill() -> None:
    orders = tiny_orders()
    orders["reason"][0] = OrderReason.LIQUIDATED  # the first is filled, the second rejected
    shown = reason_table(tiny_result(orders=orders))
    assert "liquidated" not in shown
    assert re.findall(r"<td[^>]*>(.*?)</td>", shown) == ["1", "0"]
    assert "No order was rejected" in reason_table(tiny_result(orders=orders[:1]))


def test_order_notional_is_fee_over_rate() -> None:
    notional = order_notional(tiny_result())  # one order paid 0.5 at 0.1 %, the other did not fill
    assert notional[0] == pytest.approx(500.0)
    assert np.isnan(notional[1])


def test_order_table_averages_slippage_over_traded_value() -> None:
    reader = Reader()
    reader.feed(order_table(tiny_result()))
    text = " ".join(reader.text)
    # 0.25 slippage and 0.5 fee on 500: 5 and 10 bps
    assert f"binance:spot:BTCUSDT 1 1 100.0% 0.0% 500 {MINUS}5.00 {MINUS}10.00 {MINUS}0.50" in text
    assert "binance:linear:BTCUSDT 1 0 0.0% – – – – 0.00" in text


def test_policies_show_setting_and_count_in_any_of_their_forms() -> None:
    reader = Reader()
    reader.feed(
        policy_table({"missing_mark": {"policy": "last_known", "applied": 3, "max_age_hours": 8.0}, "x": 2, "y": "on"})
    )
    text = " ".join(reader.text)
    assert "missing mark last_known, max age hours 8.0 3 x – 2 y on –" in text


def test_histogram_has_a_border_at_zero_and_round_bins() -> None:
    counts, middles, width = histogram(np.array([-150.0, -0.5, 0.5, 249.0]))
    assert width == 10.0  # 399 over 40 bins
    assert counts.sum() == 4
    assert middles[counts > 0].tolist() == [-145.0, -5.0, 5.0, 245.0]


def test_yearly_minutes_are_drawn_in_few_points() -> None:
    count = 600_000
    rng = np.random.default_rng(5)
    base = tiny_result()
    change = np.zeros((count, 2, len(Component)))
    change[:, 0, 0] = rng.standard_normal(count)
    equity = 1e6 + np.cumsum(change[:, 0, 0])
    column = rng.standard_normal((count, 1))
    result = tiny_result(
        time_ms=START + 60_000 * np.arange(count, dtype=np.int64),
        wallet_equity=np.column_stack((equity, np.zeros(count))),
        pair_pnl=column,
        attribution=change,
        wallet_attribution=change,
        basis_bps=column,
        carry_annual=column,
        spot_value=column,
        perp_value=column,
        collateral_ratio=column,
        liquidation_distance=column,
        ledger=base.ledger,
    )
    assert len(render(result)) < 8_000_000


def test_palettes_have_the_same_keys_and_series() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert len(LIGHT["series"]) == len(DARK["series"]) == len(COMPONENT_NAMES)


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back"),
    [
        ("text", "card"),
        ("muted", "card"),
        ("muted", "page"),
        ("gain", "card"),
        ("loss", "card"),
        ("warn", "warn_back"),
        ("bad", "bad_back"),
    ],
)
def test_text_contrast_meets_wcag_aa(palette: dict[str, Any], front: str, back: str) -> None:
    first, second = sorted((luminance(palette[front]), luminance(palette[back])), reverse=True)
    assert (first + 0.05) / (second + 0.05) >= 4.5


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_line_contrast_is_visible(palette: dict[str, Any]) -> None:
    back = luminance(palette["card"])
    for color in palette["series"]:
        first, second = sorted((luminance(color), back), reverse=True)
        assert (first + 0.05) / (second + 0.05) >= 2.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(-1234.5), f"{MINUS}1,234.50"),
        (number(-0.001), "0.00"),
        (number(None), "–"),
        (number(float("nan")), "–"),
        (number(True), "–"),
        (signed(0.0), "0.00"),
        (signed(2.0), "+2.00"),
        (percent(-0.0123), f"{MINUS}1.23%"),
        (percent(float("inf")), "–"),
        (money(1_234_567.8), "1,234,568"),
        (instant(START), "2024-01-01 00:00"),
        (instant(None), "–"),
        (plain_text(()), "–"),
        (plain_text(False), "no"),
        (plain_text([1, {"a": 2}]), "1; a = 2"),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert text == expected


def test_figures_have_unique_keys_and_json_forms(two_years: BacktestResult) -> None:
    figures = build_figures(two_years)
    assert list(figures) == [
        "equity",
        "attribution",
        "monthly",
        "pairs",
        "basis",
        "exposure",
        "wallets",
        "funding",
        "trips",
        "distance",
    ]
    for figure in figures.values():
        json.dumps([figure.data, figure.layout, figure.choices], allow_nan=False)

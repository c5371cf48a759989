"""Numbers and series through Lean's data folder and back: any float64 that Lean can hold survives to the last bit."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data.lean_folder import read_back
from data.lean_folder.export import ExportOptions, export
from data.lean_folder.plain_numbers import is_readable, plain, plain_texts
from data.store.lake import Lake
from data.store.pieces import IngestOptions, ingest_piece
from data.store.rows import Columns, Origin
from data.store.series import Provenance, SeriesKey
from tests.lean_reader import lean_decimal

T0 = 1_704_067_200_000  # 2024-01-01 00:00 UTC
HOUR = 3_600_000
# What fits: at most 17 digits, the first of them no further than 11 places behind the point and below 10^17.
PRICE = st.floats(1e-11, 9e16, allow_subnormal=False)
RATE = st.one_of(st.just(0.0), st.just(-0.0), st.floats(1e-11, 1.0), st.floats(-1.0, -1e-11))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_plain_text_of_any_float_is_the_float(value: float) -> None:
    text = plain(value)
    assert set(text) <= set("-.0123456789")
    assert Fraction(Decimal(text)) == Fraction(Decimal(repr(value)))
    assert np.array(float(text)).tobytes() == np.array(value).tobytes()  # the sign of zero as well


@given(st.lists(st.one_of(PRICE, RATE), min_size=1, max_size=20))
def test_lean_reads_the_value_that_python_writes(values: list[float]) -> None:
    texts = plain_texts(np.array(values), "x", Origin("series")).to_pylist()
    assert [lean_decimal(text) for text in texts] == [Fraction(Decimal(repr(value))) for value in values]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_text_counts_as_readable_exactly_when_lean_gets_its_value(value: float) -> None:
    text = plain(value)
    try:
        is_right = lean_decimal(text) == Fraction(Decimal(text))
    except ValueError:
        is_right = False
    # Zeros at the end of a long number could wrap around to the right bits only by chance, which does not happen.
    assert is_readable(text) is is_right


@st.composite
def bars(draw: st.DrawFn, step: int, *, volume: bool) -> Columns:
    places = sorted(draw(st.sets(st.integers(0, 4000), min_size=1, max_size=8)))
    columns: Columns = {"time_ms": T0 + np.array(places, dtype=np.int64) * step}
    for name in ("open", "high", "low", "close"):
        columns[name] = np.array(draw(st.lists(PRICE, min_size=len(places), max_size=len(places))))
    if volume:
        amounts = st.lists(st.one_of(st.just(0.0), PRICE), min_size=len(places), max_size=len(places))
        columns["volume"] = np.array(draw(amounts))
    return columns


@st.composite
def funding(draw: st.DrawFn) -> Columns:
    hours = sorted(draw(st.sets(st.integers(0, 500), min_size=1, max_size=8)))
    offsets = draw(st.lists(st.integers(-59_999, 59_999), min_size=len(hours), max_size=len(hours)))
    columns: Columns = {"time_ms": T0 + np.array(hours, dtype=np.int64) * HOUR + np.array(offsets, dtype=np.int64)}
    columns["funding_rate"] = np.array(draw(st.lists(RATE, min_size=len(hours), max_size=len(hours))))
    if draw(st.booleans()):
        marks = st.lists(st.one_of(PRICE, st.just(float("nan"))), min_size=len(hours), max_size=len(hours))
        columns["mark_price"] = np.array(draw(marks))
    return columns


@settings(max_examples=25)
@given(
    hourly=bars(HOUR, volume=True),
    minutes=bars(60_000, volume=True),
    marks=bars(HOUR, volume=False),
    settlements=funding(),
    synthetic=st.booleans(),
)
def test_a_lake_comes_back_to_the_last_bit(
    hourly: Columns, minutes: Columns, marks: Columns, settlements: Columns, synthetic: bool
) -> None:
    provenance = Provenance("made up", synthetic=synthetic)
    with tempfile.TemporaryDirectory() as folder:
        lake, again, root = Lake(Path(folder) / "lake"), Lake(Path(folder) / "again"), Path(folder) / "lean"
        lake.write(SeriesKey("binance", "spot", "BTCUSDT", "bars", "1h"), hourly, provenance)
        lake.write(SeriesKey("binance", "spot", "BTCUSDT", "bars", "1m"), minutes, provenance)
        lake.write(SeriesKey("binance", "linear", "BTCUSDT", "mark", "1h"), marks, provenance)
        lake.write(SeriesKey("binance", "linear", "BTCUSDT", "funding"), settlements, provenance)
        assert export(lake, root, ExportOptions()).skipped == ()
        found = read_back.find_series(root)
        for piece in read_back.read_series(found, found.series):
            ingest_piece(again, piece, IngestOptions())
        for key in lake.list():
            assert again.path(key).read_bytes() == lake.path(key).read_bytes()

"""The settings reader: what it accepts, and that it refuses everything else by name, all at once."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import SettingsError, UsageError
from crypto.settings import FirstLeg, GracePolicy, MissingPolicy, PriceSource, Settings, Style
from data.settings import CONVERSIONS, config_hash, load_settings, settings_as_mapping
from data.settings_rules import RANGES

CONFIG = Path(__file__).resolve().parents[2] / "config"

MINIMAL = """
[wallets."binance:spot"]
USDT = 1000
[[pairs]]
spot = "binance:spot:BTCUSDT"
perp = "binance:linear:BTCUSDT"
"""

TIME_WORDS = "an ISO date or date-time such as 2024-11-01 or 2024-11-01T08:00Z, or empty"


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(folder, text), overrides)
    first, *rest = caught.value.message.split("\n  ")
    assert first == f"settings file {folder / 'run.toml'}: {len(rest)} problem{'s' if len(rest) != 1 else ''}"
    assert "config/carry.toml" in caught.value.remedy
    return rest


def fields_of(kind: type, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted pattern and type of every key, tables entered; an independent walk over the dataclasses."""
    for name, hint in typing.get_type_hints(kind).items():
        yield from _field(f"{path}.{name}".lstrip("."), hint)


def _field(path: str, hint: Any) -> Iterator[tuple[str, Any]]:
    arguments = typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        yield from fields_of(typing.cast("type", hint), path)
    elif typing.get_origin(hint) is tuple:
        yield from _field(f"{path}.*", arguments[0])
    elif typing.get_origin(hint) is Mapping:
        yield from _field(f"{path}.*", arguments[1])
    elif isinstance(hint, types.UnionType):
        yield path, arguments[0]
    else:
        yield path, hint


# --- what is accepted ---------------------------------------------------------------------------------------------


def test_keys_left_out_have_the_defaults_of_the_dataclasses(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, MINIMAL))
    defaults = Settings()
    for field in dataclasses.fields(Settings):
        if field.name not in ("wallets", "pairs"):
            assert getattr(settings, field.name) == getattr(defaults, field.name)
    assert settings.wallets == {"binance:spot": {"USDT": 1000.0}}
    assert settings.pairs[0].weight == 1.0


def test_every_kind_of_value_arrives_as_its_type(tmp_path: Path) -> None:
    text = (
        MINIMAL
        + """
        [run]
        seed = 42
        start = 2024-11-01
        end = "2024-12-01T08:00Z"
        [funding]
        price = "last"
        missing_mark = "last_known"
        grace = "end_of_grace"
        [execution]
        style = "maker_first"
        first_leg = "perp"
        [portfolio]
        perp_leverage = 3
        [borrow]
        enabled = true
        hourly_rate = {binance = {BTC = 1e-6}}
        [fees]
        tier = {binance = "VIP1"}
        override = {"binance:linear:BTCUSDT" = {maker = -0.0001}}
        [instruments."binance:spot:ABCUSDT"]
        tick = 0.1
        lot = "0.00001"
        min_notional = 5
        """
    )
    settings = load_settings(write(tmp_path, text))
    assert (settings.run.seed, settings.run.start, settings.run.end) == (42, "2024-11-01", "2024-12-01T08:00Z")
    assert settings.funding.price is PriceSource.LAST
    assert settings.funding.missing_mark is MissingPolicy.LAST_KNOWN
    assert settings.funding.grace is GracePolicy.END_OF_GRACE
    assert (settings.execution.style, settings.execution.first_leg) == (Style.MAKER_FIRST, FirstLeg.PERP)
    assert type(settings.portfolio.perp_leverage) is float
    assert settings.borrow.enabled is True
    assert settings.borrow.hourly_rate == {"binance": {"BTC": 1e-6}}
    assert settings.fees.tier == {"binance": "VIP1"}
    assert settings.fees.override == {"binance:linear:BTCUSDT": {"maker": -0.0001}}
    filters = settings.instruments["binance:spot:ABCUSDT"]
    assert (filters.tick, filters.lot, filters.min_notional) == (Decimal("0.1"), Decimal("0.00001"), Decimal(5))
    assert filters.multiplier is None


def test_decimals_keep_the_digits_that_were_written(tmp_path: Path) -> None:
    text = MINIMAL + '[instruments."a:spot:B"]\ntick = 0.1000000000000000055\n'
    assert str(load_settings(write(tmp_path, text)).instruments["a:spot:B"].tick) == "0.1000000000000000055"


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_settings(path).pairs[0].spot == "binance:spot:BTCUSDT"


@pytest.mark.parametrize(
    "path",
    sorted(path for path in CONFIG.glob("*.toml") if path.name != "stress.toml"),  # a scenario: test_stress_file.py
    ids=lambda path: path.name,
)
def test_every_shipped_file_loads(path: Path) -> None:
    assert load_settings(path).pairs


def test_the_documented_file_has_every_key_and_states_the_defaults() -> None:
    text = (CONFIG / "carry.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"(?m)^(?:# )?([a-z_]+)(?= = |$)", text)) | set(
        re.findall(r"(?m)^(?:# )?\[+([a-z_]+)", text)
    )
    named |= set(re.findall(r"(?m)^(?:# )?\[+[a-z_]+\.([a-z_]+)", text))
    for pattern, _ in fields_of(Settings):
        missing = {part for part in pattern.split(".") if part != "*"} - named
        assert not missing, f"config/carry.toml does not explain {pattern}"
    written, defaults = tomllib.loads(text), settings_as_mapping(Settings())
    own = {"run.name", "wallets", "pairs", "tier", "hourly_rate"}
    for section, table in written.items():
        if section in own:
            continue
        for key, value in table.items():
            if not {key, f"{section}.{key}"} & own:
                assert value == defaults[section][key], f"{section}.{key} in config/carry.toml is not its default"


def test_the_defaults_lie_inside_their_own_ranges() -> None:
    defaults = settings_as_mapping(Settings())
    for pattern, rule in RANGES.items():
        section, _, key = pattern.partition(".")
        if "*" not in pattern:
            assert rule.holds(defaults[section][key]), pattern


def test_every_number_has_a_range() -> None:
    numbers = {pattern for pattern, hint in fields_of(Settings) if hint in (int, float, Decimal)}
    assert numbers <= RANGES.keys()
    assert RANGES.keys() <= {pattern for pattern, _ in fields_of(Settings)}


def test_every_type_of_a_key_can_be_converted() -> None:
    for pattern, hint in fields_of(Settings):
        assert hint in CONVERSIONS or issubclass(hint, StrEnum), pattern


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[run]\nnam = 'x'", "run.nam is not a known key; did you mean run.name?"),
        ("rnu = 1", "rnu is not a known key; did you mean run?"),
        ("[output]\nzzz = 1", "output.zzz is not a known key; known here: directory, report"),
        ("run = 5", "run = 5 must be a table"),
        ("[run]\nseed = true", "run.seed = true must be a whole number"),
        ("[run]\nseed = 1.0", "run.seed = 1.0 must be a whole number"),
        ("[run]\nseed = -1", "run.seed = -1 must be from 0 to 4294967295"),
        ("[run]\nname = 3", "run.name = 3 must be text in quotes"),
        ("[run]\nname = '../x'", "run.name = '../x' must be a plain file name: letters, digits, blanks and _+.-"),
        ("[run]\ntimeframe = '2h'", "run.timeframe = '2h' must be one of 1m, 5m, 15m, 1h, 4h"),
        (
            "[run]\nstart = '2024-13-01'",
            f"run.start = '2024-13-01' must be {TIME_WORDS}",
        ),
        (
            "[run]\nend = '2024-12-01 noon'",
            f"run.end = '2024-12-01 noon' must be {TIME_WORDS}",
        ),
        (
            "[run]\nstart = '2024-01-02'\nend = '2024-01-02'",
            "run.start = '2024-01-02' must be before run.end = '2024-01-02' (the end is exclusive)",
        ),
        ("[output]\nreport = 1", "output.report = 1 must be true or false"),
        ("[funding]\ngrace = 'foo'", "funding.grace = 'foo' must be one of instant, end_of_grace, adverse"),
        ("[funding]\nmissing_rate = 1", "funding.missing_rate = 1 must be one of fail, skip, last_known"),
        ("[signal]\nholding_hours = nan", "signal.holding_hours = NaN must be a finite number"),
        ("[signal]\nholding_hours = inf", "signal.holding_hours = Infinity must be a finite number"),
        ("[signal]\nholding_hours = 1e999", "signal.holding_hours = 1E+999 must be a finite number"),
        ("[signal]\nholding_hours = 0", "signal.holding_hours = 0 must be above 0 and at most 87840"),
        ("[risk]\nmax_drawdown = 1.01", "risk.max_drawdown = 1.01 must be above 0 and at most 1"),
        ("[wallets.'a:b']\nUSDT = -1", 'wallets."a:b".USDT = -1 must be zero or more'),
        ("[wallets.'a:b']\nUSDT = inf", 'wallets."a:b".USDT = Infinity must be a finite number'),
        (
            "[wallets.ab]\nUSDT = 1",
            "wallets.ab: the name 'ab' must be venue:name in small letters such as binance:spot",
        ),
        (
            "[wallets.'a:b']\nusdt = 1",
            "wallets.\"a:b\".usdt: the name 'usdt' must be an asset in capitals such as USDT",
        ),
        (
            "[fees.override.'a:spot:B']\nmker = 0",
            "fees.override.\"a:spot:B\".mker: the name 'mker' must be maker or taker",
        ),
        (
            "[instruments.'a:spot:B']\ntick = 'x'",
            'instruments."a:spot:B".tick = \'x\' must be a number such as 0.01 or "0.01"',
        ),
        ("[instruments.'a:spot:B']\nlot = 0", 'instruments."a:spot:B".lot = 0 must be more than zero'),
        (
            "[portfolio]\nmin_collateral_ratio = 0.6",
            "portfolio.collateral_ratio = 0.5 must lie between min_collateral_ratio = 0.6 and max_collateral_ratio = 1",
        ),
        (
            "[[pairs]]\nspot = 'binance:linear:BTCUSDT'\nperp = 'binance:linear:BTCUSDT'",
            "pairs.1.spot = 'binance:linear:BTCUSDT' must be a spot instrument, venue:spot:SYMBOL",
        ),
        (
            "[[pairs]]\nspot = 'binance:spot:BTCUSDT'\nperp = 'binance:spot:BTCUSDT'",
            "pairs.1.perp = 'binance:spot:BTCUSDT' must be a perpetual, venue:linear:SYMBOL or venue:inverse:SYMBOL",
        ),
        (
            "[[pairs]]\nspot = 'a:spot:B'",
            "pairs.1.perp is missing: name an instrument, venue:kind:SYMBOL",
        ),
        (
            "[[pairs]]\nspot = 'binance:spot:BTCUSDT'\nperp = 'binance:linear:BTCUSDT'",
            "pairs.1 repeats pairs.0 (binance:spot:BTCUSDT / binance:linear:BTCUSDT)",
        ),
        ("[[pairs]]\nspot = 'a:spot:B'\nperp = 'a:linear:B'\nweight = -1", "pairs.1.weight = -1 must be zero or more"),
    ],
)
def test_one_wrong_value_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    top, _, rest = text.partition("\n") if not text.startswith("[") else ("", "", text)
    assert problems(tmp_path, f"{top}\n{MINIMAL}\n{rest}") == [problem]


def test_a_malformed_instrument_key_is_refused_with_the_form(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, MINIMAL.replace("binance:linear:BTCUSDT", "binance:swap:BTCUSDT"))
    assert problem.startswith("pairs.0.perp = 'binance:swap:BTCUSDT': ")
    assert "venue:kind:SYMBOL" in problem


def test_an_empty_file_says_what_is_needed(tmp_path: Path) -> None:
    capital, pairs = problems(tmp_path, "")
    assert capital.startswith("wallets holds no capital")
    assert pairs.startswith("pairs is empty")


def test_weights_that_sum_to_zero_are_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, MINIMAL + "weight = 0") == ["pairs.*.weight: the weights must sum to more than zero"]


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    text = "rnu = 1\n[run]\nstart = 2024-02-01\nend = 2024-01-01\nseed = 'x'\n[signal]\nwarmup_hours = -1\n"
    found = problems(tmp_path, text)
    assert [problem.split(" ")[0] for problem in found] == [
        "rnu", "run.seed", "signal.warmup_hours", "run.start", "wallets", "pairs"
    ]  # fmt: skip


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml can't be read: No such file"):
        load_settings(tmp_path / "absent.toml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read: Is a directory"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[run]\nname = 'a'\nname = 'b'\n", 3),
        (b"[run]\n\nname = \n", 3),
        (b"a = 1\nb = 2 2", 2),
        (b"a = [1,\n2,\n", 2),
    ],
)
def test_malformed_toml_is_refused_with_its_line(tmp_path: Path, content: bytes, line: int) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="not valid TOML") as caught:
        load_settings(path)
    assert f"run.toml, line {line}:" in caught.value.message


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"# one\n# two\nname = '\xff'\n")
    with pytest.raises(SettingsError, match=r"run\.toml, line 3: not UTF-8"):
        load_settings(path)


# --- overrides ----------------------------------------------------------------------------------------------------


def test_overrides_change_single_keys(tmp_path: Path) -> None:
    overrides = [
        "signal.holding_hours=240",
        "run.start=2024-11-01",
        "run.name=12",
        "funding.grace=instant",
        "pairs.0.weight=0.25",
        "fees.tier.binance=VIP3",
        'wallets."binance:linear".USDT=5',
        "output.report=false",
        'pairs.0.perp="bybit:linear:BTCUSDT"',
    ]
    settings = load_settings(write(tmp_path, MINIMAL), overrides)
    assert settings.signal.holding_hours == 240.0
    assert (settings.run.start, settings.run.name) == ("2024-11-01", "12")
    assert settings.funding.grace is GracePolicy.INSTANT
    assert (settings.pairs[0].weight, settings.pairs[0].perp) == (0.25, "bybit:linear:BTCUSDT")
    assert settings.fees.tier == {"binance": "VIP3"}
    assert settings.wallets == {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 5.0}}
    assert settings.output.report is False


def test_overrides_alone_can_make_the_settings() -> None:
    pairs = 'pairs=[{spot="a:spot:B", perp="a:linear:B"}]'
    assert load_settings(None, [pairs, "wallets.a:spot.USDT=1"]).pairs[0].perp == "a:linear:B"
    with pytest.raises(SettingsError, match=r"^settings: 2 problems"):
        load_settings(None)


def test_an_override_is_checked_like_the_file(tmp_path: Path) -> None:
    assert problems(tmp_path, MINIMAL, "signal.holdin_hours=1", "risk.max_drawdown=abc") == [
        "signal.holdin_hours is not a known key; did you mean signal.holding_hours?",
        "risk.max_drawdown = 'abc' must be a finite number",
    ]


@pytest.mark.parametrize(
    "override", ["run.seed", "=1", ".seed=1", "run..seed=1", "pairs.7.weight=1", "pairs.x.weight=1"]
)
def test_a_malformed_override_is_a_wrong_flag(tmp_path: Path, override: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--set {override!r}")) as caught:
        load_settings(write(tmp_path, MINIMAL), [override])
    assert caught.value.exit_code == 2


def test_an_override_does_not_reach_inside_a_value(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run\.seed is a value"):
        load_settings(write(tmp_path, "[run]\nseed = 1\n" + MINIMAL), ["run.seed.x=1"])


# --- hash and plain values ----------------------------------------------------------------------------------------


def test_plain_values_are_json_and_complete(tmp_path: Path) -> None:
    settings = load_settings(CONFIG / "carry.toml", ["instruments.a:spot:B.tick=0.10"])
    plain = json.loads(json.dumps(settings_as_mapping(settings), allow_nan=False))
    assert plain["instruments"]["a:spot:B"]["tick"] == "0.10"
    assert plain["instruments"]["a:spot:B"]["lot"] is None
    assert plain["funding"]["grace"] == "adverse"
    assert plain["pairs"][2] == {"spot": "binance:spot:PEPEUSDT", "perp": "binance:linear:1000PEPEUSDT", "weight": 0.2}
    assert plain.keys() == {field.name for field in dataclasses.fields(Settings)}


def test_the_hash_depends_on_values_and_not_on_how_they_are_written(tmp_path: Path) -> None:
    one = load_settings(write(tmp_path, "[risk]\nmax_gross_leverage = 2\nmax_drawdown = 0.10\n" + MINIMAL))
    two = load_settings(write(tmp_path, MINIMAL + "[risk]\n# same\nmax_drawdown = 1e-1\nmax_gross_leverage = 2.0\n"))
    assert config_hash(one) == config_hash(two)
    assert re.fullmatch("[0-9a-f]{64}", config_hash(one))


def test_every_changed_value_changes_the_hash(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    overrides = [
        "run.seed=2",
        "risk.max_drawdown=0.21",
        "pairs.0.weight=0.99",
        "data.valuation_price=last",
        "run.end=2025-01-01",
    ]
    hashes = {config_hash(load_settings(path, [override])) for override in overrides}
    assert len(hashes | {config_hash(load_settings(path))}) == len(overrides) + 1


def test_where_files_lie_and_what_a_run_is_called_are_not_in_the_hash(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    elsewhere = ["run.name=mine", "data.lake=/somewhere/lake", "output.directory=/elsewhere", "output.report=false"]
    assert config_hash(load_settings(path, elsewhere)) == config_hash(load_settings(path))


def test_a_tier_file_counts_by_its_content(tmp_path: Path) -> None:
    def hash_with(folder: str, content: str) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        file = tmp_path / folder / "tiers.json"
        file.write_text(content, encoding="utf-8")
        named = f'[[margin.tier_files]]\nvenue = "binance"\npath = "{file}"\neffective = "2024-01-01"\n'
        return config_hash(load_settings(write(tmp_path, MINIMAL + named)))

    first = hash_with("one", '{"a": 1}')
    assert hash_with("two", '{"a": 1}') == first
    assert hash_with("two", '{"a": 2}') != first


@given(st.floats(min_value=1e-6, max_value=80_000.0, allow_nan=False))
def test_numbers_come_back_to_the_last_bit(value: float) -> None:
    base = ['pairs=[{spot="a:spot:B", perp="a:linear:B"}]', "wallets.a:spot.USDT=1"]
    loaded = load_settings(None, [*base, f"signal.holding_hours={value!r}"])
    assert loaded.signal.holding_hours.hex() == value.hex()


def test_an_offset_counts_when_start_and_end_are_compared(tmp_path: Path) -> None:
    late = "[run]\nstart = '2024-01-01T01:00Z'\nend = '2024-01-01T02:00+02:00'\n"  # the end is midnight UTC
    (problem,) = problems(tmp_path, MINIMAL + late)
    assert problem.startswith("run.start = '2024-01-01T01:00Z' must be before run.end")


def test_negative_zero_is_zero() -> None:
    base = ['pairs=[{spot="a:spot:B", perp="a:linear:B"}]', "wallets.a:spot.USDT=1"]
    loaded = load_settings(None, [*base, "signal.flip_annual=-0.0"])
    assert math.copysign(1.0, loaded.signal.flip_annual) == 1.0

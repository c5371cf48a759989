"""``carry venues``: what is known, from where, how old."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from cli import app


@pytest.fixture(autouse=True)
def only_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "COMMAND_MODULES", ("cli.venues", "cli.data"))
    monkeypatch.setenv("COLUMNS", "200")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["venues", "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert {fact["venue"] for fact in payload["facts"]} == {"binance", "bybit", "okx", "hyperliquid", "dydx"}
    (filters,) = [
        fact for fact in payload["facts"] if (fact["venue"], fact["subject"]) == ("binance", "filters linear")
    ]  # fmt: skip
    assert filters["as_of"] == "2026-03-31"
    assert filters["age_days"] == (datetime.now(UTC).date() - date(2026, 3, 31)).days
    assert filters["known"].startswith("15 instruments")
    assert "exchangeInfo of 2026-03-31" in filters["source"]


def test_every_venue_has_funding_rules_with_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["venues", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    rules = {fact["venue"]: fact for fact in facts if fact["subject"] == "funding"}
    assert set(rules) == {"binance", "bybit", "okx", "hyperliquid", "dydx"}
    for fact in rules.values():
        assert fact["as_of"] in fact["source"]  # the date is one that the source names
        assert fact["age_days"] is not None
    assert "4 % an hour" in rules["hyperliquid"]["known"]
    assert "NOT KNOWN" in rules["dydx"]["source"]


def test_people_get_one_venue(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["venues", "--venue", "bybit"]) == 0
    shown = capsys.readouterr().out
    assert "VIP0 maker 0.0200%, taker 0.0550%; 7 tiers" in shown
    assert "600 units in 5 s" in shown
    assert "binance" not in shown


def test_which_coin_pays_fees_is_a_fact(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["venues", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    known = {fact["venue"]: fact["known"] for fact in facts if fact["subject"] == "fee discount"}
    assert known == {"binance": "paid in BNB: spot 25% off, linear 10% off", "bybit": "none"}


def test_an_unknown_venue(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["venues", "--venue", "kraken"]) == 2
    assert "known: binance, bybit, okx, hyperliquid, dydx" in capsys.readouterr().err

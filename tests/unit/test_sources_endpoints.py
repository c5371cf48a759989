"""Routes and addresses are those of the pinned ccxt; what is known of venues names its source and date."""

from __future__ import annotations

from datetime import date
from typing import Any

import ccxt.async_support as exchanges
import pytest

from crypto.venues.registry import VENUES
from data.sources.endpoints.base import VenueRest
from data.sources.endpoints.known import RESTS
from data.venues_known import AS_OF, facts


def exchange(rest: VenueRest) -> Any:
    return getattr(exchanges, rest.ccxt_id)()


@pytest.mark.parametrize("rest", RESTS.values(), ids=lambda rest: rest.name)
def test_ccxt_has_every_call(rest: VenueRest) -> None:
    known = exchange(rest)
    routes = [
        rest.time,
        *(entry.route for entry in (*rest.series.values(), *rest.markets.values(), *rest.tiers.values())),
    ]
    assert [route.call for route in routes if not callable(getattr(known, route.call, None))] == []
    assert {name for route in routes for name in route.weights} <= set(rest.budgets)


@pytest.mark.parametrize("rest", RESTS.values(), ids=lambda rest: rest.name)
def test_addresses_are_those_of_ccxt(rest: VenueRest) -> None:
    known = exchange(rest)
    theirs = {name: known.implode_hostname(known.urls["api"][name]) for name in rest.urls}
    assert dict(rest.urls) == theirs


def test_every_fact_has_a_date_that_its_source_names_or_none() -> None:
    found = facts()
    assert {fact.venue for fact in found} == {*VENUES, *RESTS}
    for fact in found:
        assert fact.source
        if fact.as_of and fact.subject != "tiers":
            assert fact.as_of in fact.source, fact
    subjects = {(fact.venue, fact.subject) for fact in found}
    assert {(venue, subject) for venue, known in AS_OF.items() for subject in known} <= subjects
    assert {(name, subject) for name, venue in VENUES.items() for subject in venue.sources} <= subjects


def test_ages() -> None:
    (filters,) = [fact for fact in facts("binance") if fact.subject == "filters linear"]
    assert filters.age_days(date(2026, 4, 30)) == 30
    (month,) = [fact for fact in facts("binance") if fact.subject == "limit funding"]
    assert month.age_days(date(2026, 7, 11)) == 10
    assert [fact.age_days(date(2026, 1, 1)) for fact in facts("hyperliquid") if fact.subject == "tiers"] == [None]

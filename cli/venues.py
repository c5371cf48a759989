"""``carry venues``: what is known of each venue, where it comes from and how old it is."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.console import JsonFlag, emit, out

if TYPE_CHECKING:
    from data.venues_known import Fact

OLD_DAYS = 180


def register(app: typer.Typer) -> None:
    """Add ``carry venues`` to the command line."""
    app.command("venues")(venues)


def venues(
    venue: Annotated[str, typer.Option("--venue", help="Only this venue.")] = "",
    json: JsonFlag = False,
) -> None:
    """Show filters, fees, funding and borrow rules, tiers, limits of each venue, with source and age.

    Shipped tables grow old: filters and tiers of today come with carry fetch markets and carry fetch tiers.

    Example: carry venues --venue binance
    """
    from data.venues_known import facts

    found = facts(venue)
    today = datetime.now(UTC).date()
    payload = {
        "today": today.isoformat(),
        "facts": [
            {
                "venue": fact.venue,
                "subject": fact.subject,
                "known": fact.known,
                "as_of": fact.as_of or None,
                "age_days": fact.age_days(today),
                "source": fact.source,
            }
            for fact in found
        ],
    }
    emit(payload, json, lambda: out.print(_view(found, today)))


def _view(found: list[Fact], today: date) -> Group:
    names = list(dict.fromkeys(fact.venue for fact in found))
    return Group(*(_table(name, [fact for fact in found if fact.venue == name], today) for name in names))


def _table(name: str, found: list[Fact], today: date) -> Table:
    table = Table(title=name, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("subject", no_wrap=True)
    table.add_column("known, and from where", overflow="fold", ratio=1)
    table.add_column("as of", no_wrap=True)
    table.add_column("days", justify="right", no_wrap=True)
    for fact in found:
        age = fact.age_days(today)
        days = Text("" if age is None else str(age), style="yellow" if age is not None and age > OLD_DAYS else "")
        known = Text.assemble(fact.known, "\n", (fact.source, "dim"))
        table.add_row(fact.subject, known, fact.as_of or "undated", days)
    return table

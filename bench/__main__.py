"""``python -m bench``: measures every ratio that the project promises. Policy: bench/README.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module

from rich.console import Console

from bench import machine, report
from bench.comparison import Comparison
from bench.equality import ResultsDifferError
from bench.peers.process import PYTHON_VARIABLE, PeerError, default_python

EXIT_MISSED = 1
EXIT_DIFFERENT = 2
EXIT_NO_PEER = 3


@dataclass(frozen=True, slots=True)
class Item:
    """One benchmark: its module in ``bench``, the class of its size there, and whether it starts a peer.

    ``repeated``: fields of the size that say how often a side is timed.
    """

    module: str
    size: str
    has_peer: bool = False
    repeated: tuple[str, ...] = ("repeats",)

    def __call__(self, python: str, repeats: int | None) -> list[Comparison]:
        """Measure it; modules are imported only for the items that run, because engine, sockets and peers are slow."""
        module = import_module(f"bench.{self.module}")
        size = getattr(module, self.size)()
        if repeats is not None:
            size = replace(size, **dict.fromkeys(self.repeated, repeats))
        found: list[Comparison] = module.compare(size, python) if self.has_peer else module.compare(size)
        return found


ITEMS = {
    "throughput": Item("throughput", "ThroughputSize", has_peer=True),
    "panel": Item("panel", "PanelSize", repeated=("repeats", "pandas_repeats")),
    "six-years": Item("six_years", "SixYearsSize", has_peer=True),
    "adl": Item("adl", "AdlSize"),
    "liquidation": Item("liquidation", "LiquidationSize"),
    "margin-checks": Item("margin_checks", "MarginChecksSize"),
    "first-passage": Item("first_passage", "FirstPassageSize"),
    "lean-export": Item("lean_export", "ExportSize"),
    "lean-crossings": Item("lean_crossings", "CrossingsSize"),
    "backfill": Item("backfill", "BackfillSize"),
    "decoding": Item("decoding", "DecodingSize"),
    "feed": Item("feed", "FeedSize"),
}


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return number


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line of ``python -m bench``."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(ITEMS), action="append", help="run this item; may be repeated")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--report-only", action="store_true", help="end with 0 even if a ratio misses its goal")
    parser.add_argument("--repeats", type=_positive, help="how often each side is timed (default: per item)")
    parser.add_argument(
        "--peers-python",
        default=default_python(),
        help=f"interpreter that has nautilus_trader and backtrader (default: {PYTHON_VARIABLE}, else this one)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the items; 0 when every ratio meets its goal, else 1; 2 when results differ, 3 when a peer can't be run."""
    options = parse_arguments(arguments)
    progress = Console(stderr=True)
    comparisons: list[Comparison] = []
    described = machine.describe()
    try:
        for name, compare in ITEMS.items():
            if options.only and name not in options.only:
                continue
            with progress.status(name):
                comparisons += compare(options.peers_python, options.repeats)
    except ResultsDifferError as error:
        progress.print(f"Results differ, so nothing was timed: {error}", style="red", markup=False)
        return EXIT_DIFFERENT
    except PeerError as error:
        progress.print(f"Could not run a peer: {error}", style="red", markup=False)
        return EXIT_NO_PEER
    document = report.as_document(described, comparisons)
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        report.print_report(Console(), described, comparisons)
    return 0 if document["passed"] or options.report_only else EXIT_MISSED


if __name__ == "__main__":
    sys.exit(main())

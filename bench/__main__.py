"""``python -m bench``: measures every ratio that the project promises. Policy: bench/README.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.console import Console

from bench import adl, liquidation, machine, panel, report
from bench.comparison import Comparison
from bench.equality import ResultsDifferError
from bench.peers.process import PYTHON_VARIABLE, PeerError, default_python

EXIT_MISSED = 1
EXIT_DIFFERENT = 2
EXIT_NO_PEER = 3


def compare_throughput(python: str, repeats: int | None) -> list[Comparison]:
    """Bars per second and core against nautilus_trader."""
    from bench import throughput  # noqa: PLC0415 - the product's engine is imported only for the items that run it

    size = throughput.ThroughputSize()
    return throughput.compare(size if repeats is None else replace(size, repeats=repeats), python)


def compare_panel(_python: str, repeats: int | None) -> list[Comparison]:
    """Attribution of a panel against memory and pandas."""
    size = panel.PanelSize()
    return panel.compare(size if repeats is None else replace(size, repeats=repeats, pandas_repeats=repeats))


def compare_six_years(python: str, repeats: int | None) -> list[Comparison]:
    """From files to result against backtrader."""
    from bench import six_years  # noqa: PLC0415 - as above

    size = six_years.SixYearsSize()
    return six_years.compare(size if repeats is None else replace(size, repeats=repeats), python)


def compare_adl(_python: str, repeats: int | None) -> list[Comparison]:
    """Auto-deleveraging over a million positions against selection and sum."""
    size = adl.AdlSize()
    return adl.compare(size if repeats is None else replace(size, repeats=repeats))


def compare_liquidation(_python: str, repeats: int | None) -> list[Comparison]:
    """Liquidation prices of many positions against plain Python."""
    size = liquidation.LiquidationSize()
    return liquidation.compare(size if repeats is None else replace(size, repeats=repeats))


def compare_lean_export(_python: str, repeats: int | None) -> list[Comparison]:
    """Export to Lean's data folder against encode and deflate in series."""
    from bench import lean_export  # noqa: PLC0415 - as above

    size = lean_export.ExportSize()
    return lean_export.compare(size if repeats is None else replace(size, repeats=repeats))


def compare_lean_crossings(_python: str, repeats: int | None) -> list[Comparison]:
    """Estimated time of main.py a slice of Lean against the stock static carry."""
    from bench import lean_crossings  # noqa: PLC0415 - puts a double in the place of Lean's own module

    size = lean_crossings.CrossingsSize()
    return lean_crossings.compare(size if repeats is None else replace(size, repeats=repeats))


ITEMS: dict[str, Callable[[str, int | None], list[Comparison]]] = {
    "throughput": compare_throughput,
    "panel": compare_panel,
    "six-years": compare_six_years,
    "adl": compare_adl,
    "liquidation": compare_liquidation,
    "lean-export": compare_lean_export,
    "lean-crossings": compare_lean_crossings,
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
            with progress.status(f"{name}: {compare.__doc__}"):
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

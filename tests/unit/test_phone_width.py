"""Pages on a phone, measured by a browser: nothing reaches beyond the page, no word of a chart is cut off."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.laboratory.adl_page import render_adl
from research.laboratory.adl_study import run_adl
from research.laboratory.montecarlo import run_montecarlo
from research.laboratory.montecarlo_page import render_montecarlo
from research.report.page import render
from research.report.words import component_name
from tests.unit.report_fixture import two_year_result
from tests.unit.test_laboratory_adl import CLOSES, QUESTION
from tests.unit.test_laboratory_montecarlo import study

BROWSER = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)

# A browser's window is never as narrow as a phone, a frame can be. What scrolls by itself may be wider than the page.
MEASURE = """
const frame = document.querySelector('iframe');
setTimeout(() => {
  const page = frame.contentDocument, width = page.documentElement.clientWidth, wide = [], cut = [];
  for (const part of page.body.querySelectorAll('*')) {
    const box = part.getBoundingClientRect();
    if (box.width && box.right > width + 1 && !part.closest('.scroll, nav, .only-read, svg')) wide.push(part.tagName);
  }
  for (const drawing of page.querySelectorAll('svg.main-svg')) {
    const edge = drawing.getBoundingClientRect();
    for (const word of drawing.querySelectorAll('text')) {
      const box = word.getBoundingClientRect();
      const is_cut = box.right > edge.right + 1 || box.left < edge.left - 1 || box.bottom > edge.bottom + 1;
      if (box.width && is_cut) cut.push(word.textContent);
    }
  }
  const charts = page.querySelectorAll('svg.main-svg').length;
  document.body.textContent = JSON.stringify({width: width, wide: wide, cut: cut, charts: charts});
}, 12000);
"""


def measured(page: str, width: int, folder: Path) -> dict[str, Any]:
    """What a browser finds on ``page`` in a frame of ``width``."""
    if BROWSER is None:
        pytest.skip("no chromium or google-chrome on this machine: install one to have pages measured in it")
    outer = folder / "outer.html"
    frame = f'<iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
    outer.write_text(f"<!doctype html><body>{frame}<script>{MEASURE}</script></body>", encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1300,900"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", outer.as_uri()]
    dump = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.search(r"<body>(\{.*\})", dump, re.DOTALL)
    assert found, dump[-500:]
    answer: dict[str, Any] = json.loads(html.unescape(found[1]))
    return answer


def pages() -> dict[str, str]:
    return {
        "backtest": render(two_year_result()),
        "montecarlo": render_montecarlo(run_montecarlo(study(paths=300)), {"settings": {}}),
        "adl": render_adl(run_adl(QUESTION, CLOSES), {"config_hash": "0123456789abcdef" * 4, "settings": {}}),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return pages()


@pytest.mark.parametrize("name", ["backtest", "montecarlo", "adl"])
def test_a_page_fits_a_phone(drawn: dict[str, str], name: str, tmp_path: Path) -> None:
    found = measured(drawn[name], 420, tmp_path)
    assert found["width"] == 420
    assert found["charts"] >= 5
    assert found["wide"] == []
    assert found["cut"] == []


def test_amounts_of_the_waterfall_are_whole_units_and_no_cents_are_made_up() -> None:
    found = run_adl(QUESTION, CLOSES)
    page = render_adl(found, {"settings": {}})
    paid = f"{np.rint(found.fund_paid):,.0f}"
    assert f'<dd class="value">{paid}</dd>' in page


def test_the_name_of_a_component_that_is_an_abbreviation() -> None:
    assert [component_name(name) for name in ("basis", "adl")] == ["Basis", "ADL"]

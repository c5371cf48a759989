"""Tables as HTML: captions, scopes and a frame that scrolls sideways. Names and messages are escaped here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from crypto.market import Floats
from research.report.words import DASH, escape, is_number


def synthetic_banner(what: str) -> str:
    """The banner of a page whose input was generated; ``what``: which numbers those are and what they are worth."""
    return f'<div class="banner warn" role="note"><strong>SYNTHETIC MARKET.</strong> {what}</div>'


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[str],
    *,
    foot: Iterable[str] = (),
    text_columns: int = 1,
    kind: str = "",
) -> str:
    """An HTML table that scrolls sideways; ``caption`` is read out, the first ``text_columns`` are left-aligned."""
    heads = "".join(
        f'<th scope="col"{" class=text" if index < text_columns else ""}>{escape(name)}</th>'
        for index, name in enumerate(head)
    )
    below = "".join(foot)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table class="{kind}">'
        f'<caption class="only-read">{escape(caption)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody>{f'<tfoot>{below}</tfoot>' if below else ''}</table></div>"
    )


def row(name: str, cells: Iterable[str], *, kind: str = "", text_cells: int = 0) -> str:
    """A table row with a row heading; ``cells`` are HTML already, the first ``text_cells`` left-aligned words."""
    marked = f' class="{kind}"' if kind else ""
    columns = "".join(
        f'<td class="text wrap">{cell}</td>' if index < text_cells else f"<td>{cell}</td>"
        for index, cell in enumerate(cells)
    )
    return f'<tr{marked}><th scope="row">{escape(name)}</th>{columns}</tr>'


def coloured(value: Any, text: str) -> str:
    """``text`` in the colour of gains or losses; the sign in the text says the same."""
    if not is_number(value) or text.strip("0.,+%\u2212") == "":
        return text
    return f'<span class="{"gain" if value > 0 else "loss"}">{text}</span>'


def row_of_heat(name: str, values: Floats, scale: float, text: Callable[[float], str], end: str) -> str:
    """Cells shaded by size relative to ``scale``; blank where there is no value."""
    cells = []
    for value in values:
        if not np.isfinite(value):
            cells.append("<td></td>")
            continue
        strength = round(min(1.0, abs(float(value)) / scale) * 55) if scale > 0.0 else 0
        kind = "up" if value >= 0 else "down"
        cells.append(f'<td class="{kind}" style="--share:{strength}">{text(float(value))}</td>')
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}{end}</tr>'


def key_value_table(caption: str, values: Mapping[str, Any]) -> str:
    """Two columns, nested mappings with dotted keys."""
    rows = [
        f'<tr><th scope="row">{escape(key)}</th><td class="text wrap code">{escape(plain_text(value))}</td></tr>'
        for key, value in flatten(values)
    ]
    return table(caption, ["Key", "Value"], rows, text_columns=2)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Leaves of nested mappings with dotted keys, in order."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def plain_text(value: Any) -> str:
    """A setting's value as one would write it; a dash when empty."""
    if value is None or (not isinstance(value, bool | int | float) and not value):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {plain_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(plain_text(item) for item in value)
    return str(value)

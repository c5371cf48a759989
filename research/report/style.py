"""Colours and style sheet of the report, light, dark and print.

The series colours are chosen to stay apart for the common kinds of colour blindness; signs and dashes carry the
meaning a second time.
"""

from __future__ import annotations

from typing import Any

LIGHT: dict[str, Any] = {
    "page": "#f5f6f8",
    "card": "#ffffff",
    "text": "#1b2330",
    "muted": "#5c6675",
    "line": "#dfe3e8",
    "shade": "#d5dae1",
    "gain": "#0067a5",
    "loss": "#b84a00",
    "warn": "#7a5200",
    "warn_back": "#fff3d1",
    "bad": "#8f1d1d",
    "bad_back": "#fde5e3",
    "series": [
        "#0072b2",
        "#d55e00",
        "#009e73",
        "#b85c97",
        "#b98500",
        "#4aa3d9",
        "#7a5c3e",
        "#7d8590",
        "#a4161a",
        "#6f42c1",
        "#005f73",
    ],
    "heat": ["#c75300", "#f2b58a", "#f3f4f6", "#8fc1e3", "#005f9e"],
}
DARK: dict[str, Any] = {
    "page": "#10141a",
    "card": "#191f28",
    "text": "#e6eaf0",
    "muted": "#9aa5b4",
    "line": "#2d3541",
    "shade": "#3f4a59",
    "gain": "#6bb8f2",
    "loss": "#ff9a5c",
    "warn": "#ffd98a",
    "warn_back": "#3a2f12",
    "bad": "#ffb4ab",
    "bad_back": "#45191a",
    "series": [
        "#55acee",
        "#ff8a4c",
        "#2fc79b",
        "#e79cc8",
        "#eec04f",
        "#a4dcff",
        "#c7a27c",
        "#a6adb5",
        "#ff6b6b",
        "#b79cff",
        "#5fd3d8",
    ],
    "heat": ["#ff9350", "#8a4a1f", "#242b36", "#245b86", "#67b7f7"],
}
PALETTE_SIZE = len(LIGHT["series"])


def _variables(palette: dict[str, Any]) -> str:
    plain = {name: value for name, value in palette.items() if isinstance(value, str)}
    return "".join(f"--{name.replace('_', '-')}:{value};" for name, value in plain.items())


def style_sheet() -> str:
    """The whole style sheet."""
    light, dark = _variables(LIGHT), _variables(DARK)
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"@media print{{:root{{color-scheme:light;{light}}}}}\n" + RULES
    )


RULES = """
*{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:3.2rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
 "Helvetica Neue",Arial,sans-serif}
header.top,main,footer{max-width:1320px;margin:0 auto;padding:0 24px}
header.top{padding-top:32px}
.eyebrow{font-size:.75rem;letter-spacing:.09em;text-transform:uppercase;color:var(--muted);margin:0}
h1{font-size:1.9rem;line-height:1.2;font-weight:650;letter-spacing:-.015em;margin:.1rem 0 .5rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;font-weight:650;letter-spacing:-.01em;margin:2.6rem 0 .9rem}
h3{font-size:1rem;font-weight:600;margin:0}
.facts{display:flex;flex-wrap:wrap;gap:.3rem 1.6rem;margin:0 0 .6rem;padding:0;list-style:none;color:var(--muted)}
.facts b{color:var(--text);font-weight:600}
.status{display:inline-block;padding:0 .55rem;border:1px solid currentColor;border-radius:99px;font-size:.8rem;
 color:var(--gain)}
.status.bad{color:var(--bad)}
.banner{border-radius:8px;padding:.7rem 1rem;margin:.8rem 0;border-left:5px solid currentColor}
.banner strong{letter-spacing:.02em}
.banner.warn{background:var(--warn-back);color:var(--warn)}
.banner.bad{background:var(--bad-back);color:var(--bad)}
nav{position:sticky;top:0;z-index:5;background:var(--page);border-bottom:1px solid var(--line);margin-top:.8rem}
nav ul{max-width:1320px;margin:0 auto;padding:0 24px;display:flex;gap:1.3rem;list-style:none;overflow-x:auto;
 white-space:nowrap;scrollbar-width:none}
nav a{display:block;padding:.6rem 0;color:var(--muted);text-decoration:none;font-size:.88rem}
nav a:hover,nav a:focus{color:var(--text);text-decoration:underline;text-underline-offset:.4em}
:focus-visible{outline:2px solid var(--gain);outline-offset:2px}
.skip{position:absolute;left:-9999px}.skip:focus{left:8px;top:8px;background:var(--card);padding:.5rem;z-index:9}
.tiles{display:grid;grid-template-columns:repeat(6,1fr);gap:12px;margin:1.4rem 0 0;padding:0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.75rem .95rem;min-width:0}
.tile dt{font-size:.8rem;color:var(--muted)}
.tile dd{margin:0}
.tile .value{font-size:1.42rem;font-weight:620;letter-spacing:-.015em;font-variant-numeric:tabular-nums;
 line-height:1.35;white-space:nowrap}
.tile .detail{font-size:.78rem;color:var(--muted);font-variant-numeric:tabular-nums}
.card,figure{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.1rem;margin:0 0 14px;
 min-width:0}
figure{padding-bottom:.5rem}
figcaption{display:flex;flex-wrap:wrap;gap:.2rem 1rem;align-items:baseline;margin-bottom:.3rem}
figcaption p,.note{margin:0;color:var(--muted);font-size:.84rem}
.note{margin:.5rem 0 0}
.card>h3{margin-bottom:.6rem}
.chart{width:100%}
.two{display:grid;grid-template-columns:1fr 1fr;gap:14px;align-items:start}
.scroll{overflow-x:auto;background:linear-gradient(90deg,var(--card) 40%,transparent) 0 0/2.5rem 100%,
 linear-gradient(270deg,var(--card) 40%,transparent) 100% 0/2.5rem 100%,
 linear-gradient(90deg,var(--shade),transparent) 0 0/.8rem 100%,
 linear-gradient(270deg,var(--shade),transparent) 100% 0/.8rem 100%;
 background-repeat:no-repeat;background-attachment:local,local,scroll,scroll}
table{border-collapse:collapse;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums}
th,td{padding:.34rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--muted);font-size:.8rem}
th.text,td.text{text-align:left}
td.wrap{white-space:normal;overflow-wrap:anywhere;min-width:14rem}
tbody th{color:var(--text);font-weight:500;text-align:left;font-size:inherit}
th[scope=row]{position:sticky;left:0;background:var(--card)}
tfoot td,tfoot th,tr.total td,tr.total th{font-weight:650;border-top:2px solid var(--line);color:var(--text)}
tfoot th,tr.total th{text-align:left;font-size:inherit}
tr.check td,tr.check th{color:var(--muted);font-weight:400;border-top:0;border-bottom:0}
tbody tr:hover{background:color-mix(in srgb,var(--muted) 8%,transparent)}
.gain{color:var(--gain)}.loss{color:var(--loss)}
table.heat td{border:1px solid var(--card);min-width:3.9rem}
table.heat td[style]{background:color-mix(in srgb,var(--heat) calc(var(--share)*1%),transparent)}
td.up{--heat:var(--gain)}td.down{--heat:var(--loss)}
table.heat td.year{font-weight:650}
.controls{display:flex;flex-wrap:wrap;gap:.6rem 1rem;align-items:end;margin-bottom:.7rem}
.controls label{font-size:.8rem;color:var(--muted);display:grid;gap:.15rem}
select,input,button.page{font:inherit;font-size:.88rem;color:var(--text);background:var(--page);
 border:1px solid var(--line);border-radius:6px;padding:.3rem .55rem}
button.page:disabled{opacity:.4}
button.page:not(:disabled){cursor:pointer}
.count{color:var(--muted);font-size:.84rem;margin-left:auto;font-variant-numeric:tabular-nums}
th button{all:unset;cursor:pointer;color:inherit;font:inherit}
th button:focus-visible{outline:2px solid var(--gain)}
th[aria-sort=ascending] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
table.dense{font-size:.79rem}table.dense th,table.dense td{padding:.28rem .34rem}
table.dense th{white-space:normal;vertical-align:bottom}
details{border-top:1px solid var(--line);padding:.45rem 0}
details:first-of-type{border-top:0}
summary{cursor:pointer;font-weight:550}
details table{margin:.4rem 0 .6rem}
code,.code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.82rem;overflow-wrap:anywhere}
ul.notes{margin:0;padding-left:1.1rem}ul.notes li{margin:.25rem 0;overflow-wrap:anywhere}
footer{color:var(--muted);font-size:.82rem;padding-top:1.2rem;padding-bottom:2.5rem}
.only-read{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media (max-width:1100px){.tiles{grid-template-columns:repeat(4,1fr)}}
@media (max-width:760px){
 header.top,main,footer,nav ul{padding-left:14px;padding-right:14px}
 header.top{padding-top:20px}
 h1{font-size:1.45rem}h2{margin-top:2rem}
 .tiles{grid-template-columns:repeat(2,1fr);gap:8px}
 .tile{padding:.6rem .7rem}.tile .value{font-size:1.18rem}
 .two{grid-template-columns:1fr}
 .card,figure{padding:.8rem .7rem;border-radius:8px}
 .count{margin-left:0}
 td.wrap{min-width:9rem}
}
@media print{
 body{background:#fff;font-size:11px}
 nav,.controls,.skip{display:none}
 header.top,main,footer{max-width:none;padding:0}
 .card,figure,.tile{border-color:#ccc}
 figure,.tile,tr{break-inside:avoid}
 h2{break-after:avoid}
 .scroll{overflow:visible;background:none}
 table{font-size:9px}th,td{padding:.2rem .3rem}
 table.dense{font-size:7px}table.dense th,table.dense td{padding:.15rem .2rem}
 .tiles{grid-template-columns:repeat(4,1fr)}
}
"""

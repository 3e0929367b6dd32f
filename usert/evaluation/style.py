"""The style sheet of the report, for light and dark screens and for paper.

Invariant: it contains no address, so that the page loads nothing, and no meaning rests on colour alone.
"""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1c1f; --faint: #63666d; --line: #d5d7db; --band: #f3f4f6;
  --best: #0a6b3c; --mark: #e2f4ea; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16171a; --ink: #e8e8ec; --faint: #a0a3aa; --line: #3a3c42; --band: #202227; --best: #7fdcab;
    --mark: #17382a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 2rem 4rem; max-width: 96rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; padding-top: .6rem; border-top: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .3rem; }
p, li { max-width: 62rem; }
p.note, caption, dd { color: var(--faint); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; color: var(--ink); padding: .2rem 0; }
th, td { padding: .22rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { font-weight: 600; background: var(--band); }
th[scope=row], td.word, th.word { text-align: left; }
td.word { overflow-wrap: break-word; max-width: 28rem; }
th[scope=rowgroup] { white-space: nowrap; }
td small { display: block; color: var(--faint); font-size: .78rem; line-height: 1.25; white-space: nowrap; }
td.best { font-weight: 700; color: var(--best); background: var(--mark); white-space: nowrap; }
td.best small { font-weight: 400; }
code { font: .88em/1.4 ui-monospace, "Liberation Mono", monospace; overflow-wrap: anywhere; }
dt { font-weight: 600; float: left; clear: left; margin-right: .6em; }
dd { margin: 0 0 .25rem; }
.pair { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: flex-start; break-inside: avoid; }
figure { margin: 0; break-inside: avoid; }
figcaption { font-weight: 600; padding-left: 38px; min-height: 1.5em; max-width: 20rem; overflow-wrap: anywhere; }
svg { display: block; fill: currentColor; font: 11px "Liberation Sans", Arial, sans-serif; overflow: visible; }
svg text.t { font-size: 12px; }
svg path, svg rect.f { fill: none; stroke: var(--faint); }
svg path.h { fill: none; stroke: #000; stroke-width: 2.6; stroke-opacity: .7; }
svg path.w { fill: none; stroke: #fff; stroke-width: 1.2; stroke-dasharray: 4 2; }
svg text.w { fill: #fff; stroke: #000; stroke-width: 2.4; paint-order: stroke; font-weight: 700; }
@media print {
  :root { --paper: #fff; --ink: #000; --faint: #444; --line: #bbb; --band: #eee; --best: #000; --mark: #e8e8e8; }
  body { padding: 0; max-width: none; font-size: 9.5pt; }
  h2 { break-after: avoid; } h3 { break-after: avoid; } tr { break-inside: avoid; }
  .wide { overflow: visible; } th, td { padding: .12rem .35rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

"""An evaluation as one HTML page: summary, all figures, pictures, pairs and origin.

Invariant: the page needs no network and no script, and all text from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from usert.machine import machine_lines

from .drawing import HATCHED, Drawing
from .evaluate import EvaluatedTable
from .figures import MEANING, NEAR_TRUTH, better
from .markdown import cell
from .pair import WINDOWS
from .report import Report
from .style import STYLE
from .summary import Spread, averaged, best_of, summary

_STAR = "★ "


def page(report: Report) -> str:
    """The HTML document of a report."""
    tables = list(enumerate(report.tables, 1))
    body = [
        *_head(report),
        "<h2>Methods side by side</h2>",
        "<p class=note>Mean ± standard deviation over the pairs of a table. ★ and bold: no method is better. "
        "“best on”: pairs on which no method is better. Values that print alike count as equal.</p>",
        *(_verdict(number, table) for number, table in tables),
        *(part for number, table in tables for part in _details(number, table)),
        *_pairs(report),
        *_origin(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>usert eval: {_count(report.pair_count, 'pair')}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _head(report: Report) -> list[str]:
    names = ", ".join(method.name for method in report.methods)
    rows = [
        (method.name, method.what, _short(method.weights_sha256) or "no weights") for method in report.methods
    ]
    return [
        "<h1>Accuracy of strain</h1>",
        f"<p>{escape(_count(len(report.methods), 'method'))} ({escape(names)}) on "
        f"{_count(report.pair_count, 'pair')} of frames of {_count(len(report.sha256), 'recording')}, "
        f"{escape(report.made)}. Every method gives a displacement; strain is taken from it by one least-squares fit, "
        "so that methods differ by their displacement only. Compression is positive.</p>",
        _table(None, ("method", "what it is", "weights (SHA-256)"), rows, words=3),
    ]


def _verdict(number: int, table: EvaluatedTable) -> str:
    found = summary(table.results)
    methods = list(dict.fromkeys(result.method for result in table.results))
    lines = [
        f'<div class="wide"><table><caption>{number}. {escape(table.title)}: '
        f"{_count(len(table.pairs), 'pair')}</caption><thead><tr><th class=word>figure</th>"
        + "".join(f"<th>{escape(name)}</th>" for name in methods)
        + "</tr></thead><tbody>"
    ]
    for figure, by_method in found.items():
        cells = "".join(_spread(by_method[name], len(methods)) for name in methods)
        lines.append(f"<tr><th scope=row>{escape(_with_direction(figure, by_method))}</th>{cells}</tr>")
    return "".join(lines) + "</tbody></table></div>"


def _with_direction(figure: str, by_method: Mapping[str, Spread]) -> str:
    """The name of a figure, with the direction that is better where the best values are marked."""
    direction = better(figure)
    if direction is None or not any(spread.best for spread in by_method.values()):
        return figure
    return f"{figure}, {direction if direction == NEAR_TRUTH else direction + ' is better'}"


def _spread(spread: Spread, methods: int) -> str:
    text = cell(spread.mean)
    if spread.pairs > 1:
        text += f" ± {cell(spread.deviation)}"
    small = f"best on {spread.best_on} of {spread.pairs}" if spread.best_on and spread.pairs > 1 else ""
    small = f"<small>{small}</small>" if small and methods > 1 else ""
    return f"<td class=best>{_STAR}{text}{small}</td>" if spread.best else f"<td>{text}{small}</td>"


def _details(number: int, table: EvaluatedTable) -> list[str]:
    """The section with every pair by every method, and the pictures."""
    rows = averaged(table.results)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    figures = columns[2:]
    lines = [
        f"<h2>{number}. {escape(table.title)}</h2>",
        '<div class="wide"><table><thead><tr>'
        + "".join(
            f"<th{' class=word' if k < 2 else ''}>{escape(name)}</th>" for k, name in enumerate(columns)
        )
        + "</tr></thead><tbody>",
    ]
    last = None
    for row in rows:
        peers = [other for other in rows if other["pair"] == row["pair"]]
        cells = []
        for figure in figures:
            values = {str(other["method"]): float(other[figure]) for other in peers if figure in other}
            truth = float(peers[0].get("true SR", float("nan")))
            best = str(row["method"]) in best_of(figure, values, truth)
            text = cell(row[figure]) if figure in row else ""
            cells.append(f"<td class=best>{_STAR}{text}</td>" if best else f"<td>{text}</td>")
        if row["pair"] != last:
            last = row["pair"]
            cells.insert(0, f'<th scope=rowgroup class=word rowspan="{len(peers)}">{escape(str(last))}</th>')
            cells.insert(1, f"<td class=word>{escape(str(row['method']))}</td>")
        else:
            cells.insert(0, f"<td class=word>{escape(str(row['method']))}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines.append("</tbody></table></div>")
    names = {name for pair in table.pairs for name in pair.windows}
    outlined = ", ".join(f"{name[0].upper()} {name}" for name in WINDOWS if name in names)
    note = f"{HATCHED} Depth runs down, both axes in mm." + (f" Outlined: {outlined}." if outlined else "")
    lines.append(f"<p class=note>{escape(note)}</p>")
    return lines + [_drawing(drawing) for drawing in table.drawings]


def _drawing(drawing: Drawing) -> str:
    columns = "".join(
        f"<figure><figcaption>{escape(column.head) or 'reference frame'}</figcaption>"
        f"{''.join(column.panels)}</figure>"
        for column in drawing.columns
    )
    return f'<section><h3>{escape(drawing.pair)}</h3><div class="pair">{columns}</div></section>'


def _pairs(report: Report) -> list[str]:
    rows = []
    for number, table in enumerate(report.tables, 1):
        for pair in table.pairs:
            windows = ", ".join(f"{name} {window}" for name, window in pair.windows.items()) or "none"
            fit = pair.strain_window_samples or report.default_window
            frames = f"{pair.frames[0]} → {pair.frames[1]}"
            rows.append((str(number), pair.label, pair.recording, frames, pair.why, windows, str(fit)))
    heads = (
        "table",
        "pair",
        "recording",
        "frames",
        "why",
        "windows (samples, lines)",
        "strain fit (samples)",
    )
    notes = [f"<li>{escape(line)}</li>" for line in report.left_out]
    return [
        "<h2>Pairs chosen</h2>",
        '<div class="wide">' + _table(None, heads, rows, words=6) + "</div>",
        *(["<ul>", *notes, "</ul>"] if notes else []),
    ]


def _origin(report: Report) -> list[str]:
    figures = list(
        dict.fromkeys(name for t in report.tables for result in t.results for name in result.figures)
    )
    meaning = [
        f"<dt>{escape(name)}</dt><dd>{escape(MEANING[name])}</dd>" for name in figures if name in MEANING
    ]
    recordings = [(path, digest) for path, digest in report.sha256.items()]
    weights = [(m.name, m.weights_sha256) for m in report.methods if m.weights_sha256]
    return [
        "<h2>What the figures are</h2>",
        f"<dl>{''.join(meaning)}</dl>",
        "<h2>What it was made of</h2>",
        f"<p><code>{escape(report.command)}</code></p>",
        *(f"<p>{escape(line)}</p>" for line in machine_lines(dict(report.machine))),
        '<div class="wide">' + _table("Weights", ("method", "SHA-256"), weights, words=2) + "</div>",
        '<div class="wide">' + _table("Recordings", ("file", "SHA-256"), recordings, words=2) + "</div>",
    ]


def _table(caption: str | None, heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: int) -> str:
    """A table of escaped cells; the first `words` columns are text, the others numbers."""
    if not rows:
        return ""

    def line(values: Sequence[str], tag: str) -> str:
        cells = (
            f"<{tag}{' class=word' if k < words else ''}>{escape(value)}</{tag}>"
            for k, value in enumerate(values)
        )
        return f"<tr>{''.join(cells)}</tr>"

    head = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(line(row, "td") for row in rows)
    return f"<table>{head}<thead>{line(heads, 'th')}</thead><tbody>{body}</tbody></table>"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _short(digest: str) -> str:
    return digest[:12]

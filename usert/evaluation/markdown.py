"""Rows of figures as a Markdown table, as in `usert eval`, the benchmarks and RESULTS.md.

Invariant: a row that lacks a column has an empty cell there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of `rows`, with a column for each key in the order of first appearance; floats have three digits."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(column, "")) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

"""Rows of figures as a Markdown table, as in `usert eval`, the benchmarks and RESULTS.md.

Invariant: a row that lacks a column has an empty cell there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format `rows` as a table, with a column for each key in order of first appearance; floats have three digits."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(column, "")) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def cell(value: Any) -> str:
    """Text of a cell: a float with three digits, anything else as it is."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)

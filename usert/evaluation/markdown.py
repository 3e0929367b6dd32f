"""Rows of figures as a Markdown table, as the benchmarks and `usert eval` print them and RESULTS.md holds them.

Knows nothing of what the figures are. Invariant: a row that lacks a column has an empty cell there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A header of all keys in the order of their first appearance, then a line a row; floats to three digits."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(column, "")) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

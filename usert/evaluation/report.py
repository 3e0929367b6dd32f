"""The report of an evaluation with its origin, as JSON and Markdown.

Invariant: a file is complete or as it was before, and numbers that are not finite are null in JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from usert.bundle import sha256_of
from usert.errors import OptionError

from .evaluate import EvaluatedTable
from .markdown import markdown
from .methods import Method
from .summary import averaged, summary

KIND, FORMAT = "evaluation", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodTold:
    """The entry of a method in the report."""

    name: str
    what: str
    """Description of the method in words."""
    weights_sha256: str
    """Hash of the weights; empty for a method without weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The content of the page and of the JSON."""

    tables: tuple[EvaluatedTable, ...]
    methods: tuple[MethodTold, ...]
    left_out: tuple[str, ...]
    """A line on the chosen pairs of each recording."""
    sha256: Mapping[str, str]
    """Hash of each recording, by its path."""
    default_window: int
    """Strain window in samples for pairs that set none."""
    command: str
    machine: Mapping[str, Any]
    made: str
    """Date and time, ISO 8601."""

    @property
    def pair_count(self) -> int:
        """Number of pairs in all tables."""
        return sum(len(table.pairs) for table in self.tables)


def told(methods: Sequence[Method]) -> tuple[MethodTold, ...]:
    """Entries of the report for `methods`, to be made after their last run."""
    return tuple(
        MethodTold(name=method.name, what=method.what(), weights_sha256=method.made_of) for method in methods
    )


def hashes(tables: Sequence[EvaluatedTable]) -> dict[str, str]:
    """SHA-256 of every recording of `tables`, by path. Errors: `BundleError` for a file that cannot be read."""
    return {path: sha256_of(path) for path in sorted({p.recording for table in tables for p in table.pairs})}


def to_markdown(report: Report) -> str:
    """The tables of the report as Markdown, a heading and a row a pair and method."""
    return "\n\n".join(f"### {table.title}\n\n{markdown(averaged(table.results))}" for table in report.tables)


def to_json(report: Report) -> str:
    """The report as JSON text; a row of `rows` is a pair and method, with pairs of one name averaged."""
    tree = {
        "kind": KIND,
        "format": FORMAT,
        "made": report.made,
        "command": report.command,
        "machine": dict(report.machine),
        "methods": [asdict(method) for method in report.methods],
        "tables": [
            {
                "title": table.title,
                "pairs": [asdict(pair) | {"name": pair.label} for pair in table.pairs],
                "rows": averaged(table.results),
                "results": [asdict(result) for result in table.results],
                "summary": {
                    figure: {name: asdict(spread) for name, spread in by_method.items()}
                    for figure, by_method in summary(table.results).items()
                },
            }
            for table in report.tables
        ],
        "left_out": list(report.left_out),
        "recordings_sha256": dict(report.sha256),
        "default_strain_window_samples": report.default_window,
    }
    return json.dumps(_plain(tree), ensure_ascii=False, allow_nan=False)


def save(path: Path, text: str) -> None:
    """Write `text` beside `path`, then rename it, so that an older file stays until then. Errors: `OptionError`."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(path)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _plain(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    return tree if not isinstance(tree, float) or math.isfinite(tree) else None

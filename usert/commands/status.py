"""`usert status`: the state of a live server, as a card for a person or as JSON.

Invariant: whatever the server sends becomes printable text, each number with the unit that its key ends in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from usert.commands.connection import Connection
from usert.commands.option import grouped, switch

_UNITS = {
    "_m_s": "m/s",
    "_per_s": "/s",
    "_percent": "%",
    "_bytes": "B",
    "_hz": "Hz",
    "_mm": "mm",
    "_ns": "ns",
    "_ms": "ms",
    "_s": "s",
}
"""Of numbers, by how their key ends; the first that fits."""
_STRAIN = "strain"
"""A key that ends so holds a fraction, which a person reads as percent."""


@grouped
def status(
    *,
    json: bool = switch("--json", "Print JSON, for programs."),
    connection: Connection,
) -> None:
    """Show the state of a live server: what it runs, what it received and sent, how old its images are."""
    from json import dumps

    from usert.runtime.protocol.commands import Status

    answer = connection.ask(Status())
    typer.echo(dumps(answer, indent=2) if json else card(answer))


def card(fields: Mapping[str, Any]) -> str:
    """Lines of a name and a value from `fields`, all values in one column, nested ones indented."""
    rows = list(_rows(fields, ""))
    width = max((len(name) for name, value in rows if value), default=0)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() if value else name for name, value in rows)


def _rows(fields: Mapping[str, Any], indent: str) -> Iterator[tuple[str, str]]:
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            yield _plain(f"{indent}{key}"), ""
            yield from _rows(value, indent + "  ")
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            yield from _rows({f"{key} {place}": item for place, item in enumerate(value, 1)}, indent)
        else:
            name, text = _named(key, value)
            yield _plain(indent + name), _plain(text)


def _named(key: str, value: Any) -> tuple[str, str]:
    """The name without its unit, and the value with it."""
    words = key.replace("_", " ")
    ending = next((ending for ending in _UNITS if key.endswith(ending)), "")
    without_unit = words.removesuffix(ending.replace("_", " "))
    if value is None:
        return without_unit, _text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return words, _text(value)
    if key.endswith(_STRAIN):
        return words, f"{100 * value:+.2f} %"
    return without_unit, f"{_number(value)} {_UNITS.get(ending, '')}".rstrip()


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _text(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_number(item) if isinstance(item, int | float) else str(item) for item in value)
    return str(value)


def _plain(text: str) -> str:
    """Without what a terminal would take for an order."""
    return "".join(character if character.isprintable() else "?" for character in text)

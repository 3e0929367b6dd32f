"""The line that each bridge of `usert bridge` reports by."""

from __future__ import annotations

import typer


def say(line: str) -> None:
    """Print `line` as that of a bridge."""
    typer.echo(f"bridge: {line}")

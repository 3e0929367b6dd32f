"""A command that a person interrupts: one line on stderr, and exit code 130."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer


@contextmanager
def stoppable(left: str | Callable[[], str]) -> Iterator[None]:
    """Turn a `KeyboardInterrupt` inside the block into the end of the command.

    `left`: what was done by then, in words that come after "stopped".
    """
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"usert: stopped{left if isinstance(left, str) else left()}", err=True)
        raise typer.Exit(130) from None


def interrupt() -> None:
    """Raise `KeyboardInterrupt`, as Ctrl-C does, for `stop_on_signals`."""
    raise KeyboardInterrupt

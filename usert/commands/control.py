"""`usert control`: commands to a live server that runs.

A server that refuses is one line on stderr and exit code 1.
"""

from __future__ import annotations

from typing import Any

import typer

from usert.commands.connection import Connection
from usert.commands.engine import ENGINE_HELP, PRECISION_HELP
from usert.commands.option import grouped, option, switch
from usert.commands.status import card

control = typer.Typer(help="Send a command to a live server that runs.", no_args_is_help=True)

_STREAM = option("", "NAME", "Apply to this stream alone, instead of all.")


@control.command("freeze")
@grouped
def freeze(*, stream: str = _STREAM, connection: Connection) -> None:
    """Freeze the image: the last good one is sent again and again."""
    _send("freeze", connection, stream=stream)


@control.command("resume")
@grouped
def resume(*, stream: str = _STREAM, connection: Connection) -> None:
    """Go on with new images after `freeze`."""
    _send("resume", connection, stream=stream)


@control.command("roi")
@grouped
def roi(
    *,
    target: str = typer.Argument(
        ..., metavar="TARGET", help="Depth and lateral position in mm, such as 10:14.5,3:8."
    ),
    background: str = typer.Argument(..., metavar="BACKGROUND", help="Likewise, beside it."),
    stream: str = _STREAM,
    connection: Connection,
) -> None:
    """Measure the strain ratio of two rectangles in each image."""
    _send("roi", connection, target=target, background=background, stream=stream)


@control.command("roi-clear")
@grouped
def roi_clear(*, stream: str = _STREAM, connection: Connection) -> None:
    """Stop measuring the strain ratio."""
    _send("roi-clear", connection, stream=stream)


@control.command("record")
@grouped
def record(
    *,
    path: str = typer.Argument(..., metavar="NAME", help="A new HDF5 file in the server's --record-folder."),
    displacement: bool = switch("--displacement", "Record displacement as well, instead of its hash."),
    connection: Connection,
) -> None:
    """Begin a record of frames and images."""
    _send("record", connection, path=path, displacement=displacement)


@control.command("record-stop")
@grouped
def record_stop(*, connection: Connection) -> None:
    """End the record."""
    _send("record-stop", connection)


@control.command("bundle")
@grouped
def bundle(
    *,
    path: str = typer.Argument(..., metavar="DIR", help="Bundle on the server's machine, or small."),
    engine: str = option("", "NAME", ENGINE_HELP),
    precision: str = option("", "NAME", PRECISION_HELP),
    connection: Connection,
) -> None:
    """Change to another bundle; returns when it runs, or was refused."""
    _send("bundle", connection, path=path, engine=engine, precision=precision)


@control.command("compare")
@grouped
def compare(*, stream: str = _STREAM, connection: Connection) -> None:
    """Estimate the next pair forward and backward: the two displacements should cancel."""
    _send("compare", connection, stream=stream)


@control.command("quit")
@grouped
def quit_(*, connection: Connection) -> None:
    """End the server."""
    _send("quit", connection)


def _send(name: str, connection: Connection, **arguments: Any) -> None:
    """Send one command, and print the answer."""
    from usert.runtime.protocol.commands import COMMANDS

    answer = connection.ask(COMMANDS[name](**arguments))
    typer.echo(f"control: {name} done")
    if answer:
        typer.echo(card(answer))

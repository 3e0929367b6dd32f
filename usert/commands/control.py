"""`usert control`: commands to a live server that runs.

A server that refuses is one line on stderr and exit code 1.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from usert.commands.connection import Connection
from usert.commands.engine import HELP, PRECISION_HELP
from usert.commands.option import grouped
from usert.commands.status import card

control = typer.Typer(help="Send a command to a live server that runs.", no_args_is_help=True)

Stream = Annotated[str, typer.Option(metavar="NAME", help="Apply to this stream alone, instead of all.")]


@control.command("freeze")
@grouped
def freeze(*, stream: Stream = "", connection: Connection) -> None:
    """Freeze the image: the last good one is sent again and again."""
    _send("freeze", connection, stream=stream)


@control.command("resume")
@grouped
def resume(*, stream: Stream = "", connection: Connection) -> None:
    """Go on with new images after `freeze`."""
    _send("resume", connection, stream=stream)


@control.command("roi")
@grouped
def roi(
    *,
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="Depth and lateral position in mm, such as 10:14.5,3:8."),
    ],
    background: Annotated[str, typer.Argument(metavar="BACKGROUND", help="Likewise, beside it.")],
    stream: Stream = "",
    connection: Connection,
) -> None:
    """Measure the strain ratio of two rectangles in each image."""
    _send("roi", connection, target=target, background=background, stream=stream)


@control.command("roi-clear")
@grouped
def roi_clear(*, stream: Stream = "", connection: Connection) -> None:
    """Stop measuring the strain ratio."""
    _send("roi-clear", connection, stream=stream)


@control.command("record")
@grouped
def record(
    *,
    path: Annotated[
        str, typer.Argument(metavar="NAME", help="A new HDF5 file in the server's --record-folder.")
    ],
    displacement: Annotated[
        bool, typer.Option("--displacement", help="Record displacement as well, instead of its hash.")
    ] = False,
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
    path: Annotated[str, typer.Argument(metavar="DIR", help="Bundle on the server's machine.")],
    engine: Annotated[str, typer.Option(metavar="NAME", help=HELP)] = "",
    precision: Annotated[str, typer.Option(metavar="NAME", help=PRECISION_HELP)] = "",
    connection: Connection,
) -> None:
    """Change to another bundle; returns when it runs, or was refused."""
    _send("bundle", connection, path=path, engine=engine, precision=precision)


@control.command("compare")
@grouped
def compare(*, stream: Stream = "", connection: Connection) -> None:
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

"""`usert control`: what a running live server is told.

Knows which options make which command. Invariant: a server that refuses is one line on stderr and exit code 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from usert.commands.engine import HELP, PRECISION_HELP
from usert.commands.keys import KEY_HELP, SERVER_KEY_HELP, client_keys
from usert.commands.status import CONTROL_HELP, INSECURE_HELP, card

control = typer.Typer(help="Tell a running live server what to do.", no_args_is_help=True)

_CONTROL: str = typer.Option(..., "--control", metavar="ENDPOINT", help=CONTROL_HELP)
_KEY: Path | None = typer.Option(None, "--key", metavar="SECRET", help=KEY_HELP)
_SERVER_KEY: Path | None = typer.Option(None, "--server-key", metavar="PUBLIC", help=SERVER_KEY_HELP)
_INSECURE: bool = typer.Option(False, "--insecure", help=INSECURE_HELP)
_STREAM: str = typer.Option("", "--stream", metavar="NAME", help="Of this stream alone, instead of all.")


@control.command("freeze")
def freeze(
    stream: str = _STREAM,
    endpoint: str = _CONTROL,
    key: Path | None = _KEY,
    server_key: Path | None = _SERVER_KEY,
    insecure: bool = _INSECURE,
) -> None:
    """Hold the image of this moment."""
    _tell("freeze", endpoint, key, server_key, insecure, stream=stream)


@control.command("resume")
def resume(
    stream: str = _STREAM,
    endpoint: str = _CONTROL,
    key: Path | None = _KEY,
    server_key: Path | None = _SERVER_KEY,
    insecure: bool = _INSECURE,
) -> None:
    """Go on after freeze."""
    _tell("resume", endpoint, key, server_key, insecure, stream=stream)


@control.command("roi")
def roi(
    target: str = typer.Argument(..., metavar="TARGET", help="Depth and lateral in mm, such as 10:14.5,3:8."),
    background: str = typer.Argument(..., metavar="BACKGROUND", help="The same, beside it."),
    stream: str = _STREAM,
    endpoint: str = _CONTROL,
    key: Path | None = _KEY,
    server_key: Path | None = _SERVER_KEY,
    insecure: bool = _INSECURE,
) -> None:
    """Measure the strain ratio of two rectangles in each image."""
    _tell("roi", endpoint, key, server_key, insecure, target=target, background=background, stream=stream)


@control.command("roi-clear")
def roi_clear(
    stream: str = _STREAM,
    endpoint: str = _CONTROL,
    key: Path | None = _KEY,
    server_key: Path | None = _SERVER_KEY,
    insecure: bool = _INSECURE,
) -> None:
    """Measure no strain ratio any more."""
    _tell("roi-clear", endpoint, key, server_key, insecure, stream=stream)


@control.command("record")
def record(
    path: str = typer.Argument(
        ..., metavar="PATH", help="On the server's machine: a new HDF5 file or a folder."
    ),
    displacement: bool = typer.Option(
        False, "--displacement", help="Record displacement, too; otherwise a hash of it."
    ),
    endpoint: str = _CONTROL,
    key: Path | None = _KEY,
    server_key: Path | None = _SERVER_KEY,
    insecure: bool = _INSECURE,
) -> None:
    """Begin to record frames and images."""
    _tell("record", endpoint, key, server_key, insecure, path=path, displacement=displacement)


@control.command("record-stop")
def record_stop(
    endpoint: str = _CONTROL,
    key: Path | None = _KEY,
    server_key: Path | None = _SERVER_KEY,
    insecure: bool = _INSECURE,
) -> None:
    """End the record."""
    _tell("record-stop", endpoint, key, server_key, insecure)


@control.command("bundle")
def bundle(
    path: str = typer.Argument(..., metavar="DIR", help="Bundle on the server's machine."),
    engine: str = typer.Option("", metavar="NAME", help=HELP),
    precision: str = typer.Option("", metavar="NAME", help=PRECISION_HELP),
    endpoint: str = _CONTROL,
    key: Path | None = _KEY,
    server_key: Path | None = _SERVER_KEY,
    insecure: bool = _INSECURE,
) -> None:
    """Go over to another bundle; waits until it is loaded."""
    _tell("bundle", endpoint, key, server_key, insecure, path=path, engine=engine, precision=precision)


@control.command("compare")
def compare(
    stream: str = _STREAM,
    endpoint: str = _CONTROL,
    key: Path | None = _KEY,
    server_key: Path | None = _SERVER_KEY,
    insecure: bool = _INSECURE,
) -> None:
    """Check the next pair forward and backward: the two displacements should undo each other."""
    _tell("compare", endpoint, key, server_key, insecure, stream=stream)


@control.command("quit")
def quit_(
    endpoint: str = _CONTROL,
    key: Path | None = _KEY,
    server_key: Path | None = _SERVER_KEY,
    insecure: bool = _INSECURE,
) -> None:
    """End the server."""
    _tell("quit", endpoint, key, server_key, insecure)


def _tell(
    name: str,
    endpoint: str,
    key: Path | None,
    server_key: Path | None,
    insecure: bool,
    **arguments: Any,
) -> None:
    """Send one command, and print what came of it."""
    from usert.runtime.clients.control_client import ControlClient
    from usert.runtime.protocol.commands import COMMANDS
    from usert.signals import stop_on_signals

    command = COMMANDS[name](**arguments)
    controller = ControlClient(endpoint, keys=client_keys(key, server_key), insecure=insecure)
    with stop_on_signals(controller.stop), controller:
        answer = controller.ask(command)
    typer.echo(f"control: {name} done")
    if answer:
        typer.echo(card(answer))

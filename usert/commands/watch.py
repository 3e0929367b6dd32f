"""`usert watch`: a strain stream in the terminal."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.keys import KEY_HELP, SERVER_KEY_HELP, client_keys


def watch(
    strain: str = typer.Option(
        ..., metavar="ENDPOINT", help="Endpoint of strain images, as in `usert serve --publish`."
    ),
    count: int | None = typer.Option(None, metavar="N", min=1, help="End after N images."),
    seconds: float | None = typer.Option(None, metavar="S", min=0.0, help="End after S seconds."),
    stale_ms: float = typer.Option(
        500.0, metavar="MS", min=0.0, help="An image older than this is called stale."
    ),
    key: Path | None = typer.Option(None, metavar="SECRET", help=KEY_HELP),
    server_key: Path | None = typer.Option(None, metavar="PUBLIC", help=SERVER_KEY_HELP),
    insecure: bool = typer.Option(
        False, "--insecure", help="Allow an endpoint on another machine without keys, unencrypted."
    ),
) -> None:
    """Show rate, age, mean strain, quality and drops of a live stream; Ctrl-C ends with a summary."""
    from rich.console import Console

    from usert.runtime.clients.strain_client import StrainClient
    from usert.runtime.clients.terminal import StatusLine
    from usert.runtime.clients.terminal import watch as watch_stream
    from usert.signals import stop_on_signals

    keys = client_keys(key, server_key)
    client = StrainClient(strain, stale_ms=stale_ms, keys=keys, insecure=insecure)
    with stop_on_signals(client.stop), client, StatusLine(Console()) as line:
        readings = watch_stream(client, line.show, count=count, seconds=seconds)
        skipped = client.skipped
    typer.echo(f"watch: {readings}, skipped {skipped}")

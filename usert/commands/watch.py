"""`usert watch`: a strain stream in the terminal."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from usert.commands.image_options import STRAIN_HELP
from usert.commands.keys import KEY_HELP, SERVER_KEY_HELP, client_keys
from usert.commands.option import option, switch


def watch(
    strain: str = option(..., "ENDPOINT", STRAIN_HELP),
    count: int | None = option(None, "N", "End after N images.", min=1),
    seconds: float | None = option(None, "S", "End after S seconds.", min=0.0),
    stale_ms: float = option(500.0, "MS", "An image older than this is called stale.", min=0.0),
    key: Path | None = option(None, "SECRET", KEY_HELP),
    server_key: Path | None = option(None, "PUBLIC", SERVER_KEY_HELP),
    insecure: bool = switch("--insecure", "Allow an endpoint on another machine without keys, unencrypted."),
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
        begun_s = time.monotonic()
        readings = watch_stream(client, line.show, count=count, seconds=seconds)
        told = f"{readings}, skipped {client.skipped}"
        if client.obstacle:
            waited_s = time.monotonic() - begun_s
            told = (
                f"no image in {waited_s:.1f} s from {client.obstacle}; "
                "is it the --publish of a `usert serve` that gets frames?"
            )
    typer.echo(f"watch: {told}")

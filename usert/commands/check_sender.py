"""`usert check-sender`: what a scanner's own program sends, held against the protocol."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.keys import ALLOW_HELP, KEY_HELP, SERVER_KEY_HELP, source_keys
from usert.commands.option import option, switch


def check_sender(
    rf: str = option(..., "ENDPOINT", "Endpoint of the frames, tcp://HOST:PORT or ipc://PATH, as for serve."),
    rf_type: str = option("sub", "sub|pull", "Type of the socket towards the sender: SUB or PULL."),
    rf_bind: bool = switch("--rf-bind", "Bind --rf, for a sender that connects, instead of connecting."),
    seconds: float = option(10.0, "S", "Listen for so long at most."),
    frames: int = option(200, "N", "End after so many messages."),
    json: bool = switch("--json", "Print JSON, for programs."),
    key: Path | None = option(None, "SECRET", KEY_HELP),
    allow: Path | None = option(None, "DIR", f"With --rf-bind: {ALLOW_HELP}"),
    server_key: Path | None = option(None, "PUBLIC", SERVER_KEY_HELP),
    insecure: bool = switch("--insecure", "Allow an endpoint on another machine without keys, unencrypted."),
) -> None:
    """Listen to a sender of frames, and say what is wrong with them and why; exit code 1 if anything is.

    Checks header keys, sizes, sequence, times, clock, rate, geometry, and the look of the samples.
    """
    from json import dumps
    from typing import cast

    from usert.errors import FAULT
    from usert.runtime.transport.receiver import ReceiverType
    from usert.signals import stop_on_signals
    from usert.testing.listen import ListenConfig, SenderListener

    config = ListenConfig(
        rf=rf,
        rf_type=cast(ReceiverType, rf_type),
        rf_bind=rf_bind,
        seconds=seconds,
        messages=frames,
        keys=source_keys(binds=rf_bind, key=key, allow=allow, server=server_key),
        insecure=insecure,
    )
    listener = SenderListener(config)
    with stop_on_signals(listener.stop), listener:
        report = listener.run()
    typer.echo(dumps(report.as_dict(), indent=2) if json else report.table)
    raise typer.Exit(0 if report.passed else FAULT)

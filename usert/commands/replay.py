"""`usert replay`: a recording or the simulated scanner as a live stream."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.keys import ALLOW_HELP, KEY_HELP, SERVER_KEY_HELP, source_keys


def replay(
    recording: Path | None = typer.Argument(None, metavar="[REC.h5]", help="Recording of RF or IQ frames."),
    simulate: bool = typer.Option(False, "--simulate", help="The simulated scanner instead of a recording."),
    size: str = typer.Option(
        "small", metavar="NAME", help="Frame size of the simulated scanner: small, medium, large."
    ),
    seed: int = typer.Option(0, metavar="K", min=0, help="Seed of the simulated scanner."),
    publish: str | None = typer.Option(None, metavar="ENDPOINT", help="Bind here; port 0 is any free one."),
    to: str | None = typer.Option(
        None, metavar="ENDPOINT", help="Connect to a server that binds with --rf-bind."
    ),
    socket: str | None = typer.Option(
        None, metavar="pub|push", help="Socket type; by default PUB with --publish and PUSH with --to."
    ),
    rate: float = typer.Option(30.0, metavar="HZ", help="Frames a second."),
    count: int | None = typer.Option(None, metavar="N", help="End after N frames."),
    loop: bool = typer.Option(False, "--loop", help="Start the recording again at its end."),
    stream: str | None = typer.Option(
        None, metavar="NAME", help="Name of the stream; by default that of the recording."
    ),
    key: Path | None = typer.Option(None, metavar="SECRET", help=KEY_HELP),
    allow: Path | None = typer.Option(None, metavar="DIR", help=f"With --publish: {ALLOW_HELP}"),
    server_key: Path | None = typer.Option(None, metavar="PUBLIC", help=f"With --to: {SERVER_KEY_HELP}"),
    insecure: bool = typer.Option(
        False, "--insecure", help="Allow endpoints that other machines can reach, without keys, unencrypted."
    ),
) -> None:
    """Send frames at a steady rate, time-stamped as they leave; begins with the first receiver.

    Ends with Ctrl-C, SIGTERM, the last frame, or --count; and a summary.
    """
    from contextlib import ExitStack
    from typing import cast

    from usert.errors import OptionError
    from usert.recording import Recording
    from usert.runtime.sources.replay import Frames, Replay, ReplayConfig, SenderType
    from usert.runtime.sources.simulated import Cycle, simulated_scanner
    from usert.signals import stop_on_signals

    if (publish is None) == (to is None):
        raise OptionError("replay: expected either --publish, to bind, or --to, to connect to a server")
    if (recording is None) != simulate:
        raise OptionError("replay: expected either a recording or --simulate")
    config = ReplayConfig(
        endpoint=publish or to or "",
        socket_type=cast(SenderType, socket or ("pub" if publish else "push")),
        bind=publish is not None,
        rate_hz=rate,
        count=count,
        loop=loop,
        stream=stream or ("simulated" if recording is None else recording.stem[:80]),
        keys=source_keys(binds=publish is not None, key=key, allow=allow, server=server_key),
        insecure=insecure,
    )
    with ExitStack() as stack:
        frames: Frames
        cycle: Cycle | None = None
        if recording is not None:
            opened = stack.enter_context(Recording(recording))
            what, frames = f"{len(opened)} frames of {recording.name}", opened.__iter__
        else:
            cycle = Cycle(simulated_scanner(size, seed))
            what, frames = f"simulated frames, {size}", cycle.frames
        sender = Replay(frames, config)
        stack.enter_context(stop_on_signals(sender.stop))
        if cycle is not None:
            cycle.simulate(stopping=lambda: sender.stopping)
        stack.enter_context(sender)
        typer.echo(
            f"replay: rf on {sender.endpoint} ({config.socket_type}), {what} at {rate:g} Hz; Ctrl-C ends"
        )
        sender.run()
        summary = f"{sender.sent} frames sent ({sender.mean_rate_hz:.1f} a second), late {sender.late}"
    typer.echo(f"replay: {summary}")

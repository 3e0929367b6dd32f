"""`usert replay`: a recording or the simulated scanner as a live stream."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.keys import ALLOW_HELP, KEY_HELP, SERVER_KEY_HELP, source_keys
from usert.commands.option import option, switch


def replay(
    recording: Path | None = typer.Argument(None, metavar="[REC.h5]", help="Recording of RF or IQ frames."),
    simulate: bool = switch("--simulate", "The simulated scanner instead of a recording."),
    size: str = option("small", "NAME", "Frame size of the simulated scanner: small, medium, large."),
    seed: int = option(0, "K", "Seed of the simulated scanner.", min=0),
    publish: str | None = option(None, "ENDPOINT", "Bind here; port 0 is any free one."),
    to: str | None = option(None, "ENDPOINT", "Connect to a server that binds with --rf-bind."),
    socket: str | None = option(
        None, "pub|push", "Socket type; by default PUB with --publish and PUSH with --to."
    ),
    rate: float = option(30.0, "HZ", "Frames a second."),
    count: int | None = option(None, "N", "End after N frames."),
    loop: bool = switch("--loop", "Start the recording again at its end."),
    mess: str | None = option(
        None,
        "NAMES",
        "Misbehave as a scanner may: all, or some of roi, depth, jitter, bmode, drop, burst, clock, duplicate, "
        "reorder, restart, nan, blank, half, with commas between them; at 2 Hz or more.",
    ),
    mess_seed: int = option(0, "K", "Seed of what goes wrong, and when.", min=0),
    stream: str | None = option(None, "NAME", "Name of the stream; by default that of the recording."),
    key: Path | None = option(None, "SECRET", KEY_HELP),
    allow: Path | None = option(None, "DIR", f"With --publish: {ALLOW_HELP}"),
    server_key: Path | None = option(None, "PUBLIC", f"With --to: {SERVER_KEY_HELP}"),
    insecure: bool = switch(
        "--insecure", "Allow endpoints that other machines can reach, without keys, unencrypted."
    ),
) -> None:
    """Send frames at a steady rate, time-stamped as they leave; begins with the first receiver.

    Ends with Ctrl-C, SIGTERM, the last frame, or --count; and a summary.
    """
    from contextlib import ExitStack
    from typing import cast

    from usert.errors import OptionError, expect
    from usert.recording import Recording
    from usert.runtime.clients.frame_sender import SenderType
    from usert.runtime.sources.mess import MESSES, Mess
    from usert.runtime.sources.messy_replay import MessyReplay
    from usert.runtime.sources.replay import Frames, Replay, ReplayConfig
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
    messes = None if mess is None else tuple(MESSES) if mess == "all" else tuple(mess.split(","))
    messy = None if messes is None else Mess(messes, seed=mess_seed, stream=config.stream)
    with ExitStack() as stack:
        frames: Frames
        cycle: Cycle | None = None
        if recording is not None:
            opened = stack.enter_context(Recording(recording))
            expect(len(opened) > 0, f"{recording}", "a recording of 0 frames", "one or more")
            what, frames = f"{len(opened)} frames of {recording.name}", opened.__iter__
        else:
            cycle = Cycle(simulated_scanner(size, seed))
            what, frames = f"simulated frames, {size}", cycle.frames
        sender = Replay(frames, config) if messy is None else MessyReplay(frames, config, messy)
        stack.enter_context(stop_on_signals(sender.stop))
        if cycle is not None:
            cycle.simulate(stopping=lambda: sender.stopping)
        stack.enter_context(sender)
        typer.echo(
            f"replay: rf on {sender.endpoint} ({config.socket_type}), {what} at {rate:g} Hz; Ctrl-C ends"
        )
        sender.run()
        summary = f"{sender.sent} frames sent ({sender.mean_rate_hz:.1f} a second), late {sender.late}"
    if messy is not None:
        summary += f"; {messy.summary}"
    typer.echo(f"replay: {summary}")

"""`usert serve`: the live server."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.engine import HELP, PRECISION_HELP
from usert.commands.keys import ALLOW_HELP, KEY_HELP, served_keys


def serve(
    rf: str = typer.Option(
        ..., metavar="ENDPOINT", help="Where RF frames come from, tcp://HOST:PORT or ipc://PATH."
    ),
    publish: str = typer.Option(
        ..., metavar="ENDPOINT", help="Where clients find strain images; port 0 is any free one."
    ),
    rf_type: str = typer.Option("sub", metavar="sub|pull", help="Socket towards the source: SUB or PULL."),
    rf_bind: bool = typer.Option(
        False, "--rf-bind", help="Wait for the source at --rf instead of connecting to it."
    ),
    bundle: Path | None = typer.Option(None, metavar="DIR", help="Bundle to use instead of the default one."),
    lag: str = typer.Option(
        "auto",
        metavar="auto|L",
        help="Frames between the two of a pair; auto follows the motion of the hand.",
    ),
    engine: str = typer.Option("best", metavar="NAME", help=HELP),
    precision: str | None = typer.Option(None, metavar="NAME", help=PRECISION_HELP),
    threads: int | None = typer.Option(
        None, metavar="N", help="Threads of the engine; all cores by default."
    ),
    key: Path | None = typer.Option(None, metavar="SECRET", help=KEY_HELP),
    allow: Path | None = typer.Option(None, metavar="DIR", help=f"Viewers. {ALLOW_HELP}"),
    rf_key: Path | None = typer.Option(
        None, metavar="PUBLIC", help="Public key of the source at --rf; no other is listened to."
    ),
    rf_allow: Path | None = typer.Option(None, metavar="DIR", help=f"With --rf-bind: sources. {ALLOW_HELP}"),
    record: Path | None = typer.Option(
        None,
        metavar="PATH",
        help="Record frames and images: a new HDF5 file, or a folder, where each run takes a name of its own.",
    ),
    record_displacement: bool = typer.Option(
        False, "--record-displacement", help="Record displacement, too; otherwise a hash of it."
    ),
    insecure: bool = typer.Option(
        False,
        "--insecure",
        help="Allow endpoints that other machines can reach, unencrypted, without a password.",
    ),
) -> None:
    """Turn a stream of RF frames into a stream of strain images, the newest frame first.

    Ends with Ctrl-C or SIGTERM, and a summary.
    """
    import logging
    from contextlib import ExitStack, closing
    from dataclasses import replace
    from typing import cast

    from usert.bundle import Bundle, default_bundle_path
    from usert.commands.engine import open_named
    from usert.errors import OptionError
    from usert.machine import usable_cores
    from usert.runtime.judgement import JudgementRule
    from usert.runtime.lag import LagRule
    from usert.runtime.pairing import PairingRule
    from usert.runtime.receiver import ReceiverType
    from usert.runtime.record import Provenance
    from usert.runtime.recorder import Recorder
    from usert.runtime.server import ServerConfig, StrainServer
    from usert.signals import stop_on_signals

    logging.basicConfig(format="usert: %(message)s", level=logging.INFO)
    keys, rf_keys = served_keys(key=key, allow=allow, rf_binds=rf_bind, rf_allow=rf_allow, rf_key=rf_key)
    if lag != "auto" and not lag.isdecimal():
        raise OptionError(f"--lag: got {lag!r}, expected auto or a number of frames")
    config = ServerConfig(
        rf=rf,
        publish=publish,
        rf_type=cast(ReceiverType, rf_type),
        rf_bind=rf_bind,
        insecure=insecure,
        keys=keys,
        rf_keys=rf_keys,
        pairing=PairingRule() if lag == "auto" else PairingRule(lag=int(lag)),
        lag=LagRule() if lag == "auto" else None,
    )
    loaded = Bundle.load(bundle if bundle is not None else default_bundle_path())
    if (trained := loaded.manifest.input.trained_for) is not None:
        low, high = trained.strain_percent
        config = replace(config, judgement=JudgementRule(trained_strain=(low / 100, high / 100)))
    recorder: Recorder | None = None
    with ExitStack() as stack:
        opened = stack.enter_context(
            closing(open_named(loaded, engine=engine, threads=threads, precision=precision))
        )
        if record is not None:
            provenance = Provenance.of(
                loaded,
                engine=engine,
                precision=precision,
                threads=threads or usable_cores(),
                lag=lag,
                rf=rf,
                publish=publish,
            )
            recorder = stack.enter_context(Recorder(record, provenance, displacement=record_displacement))
            typer.echo(f"serve: record in {recorder.path}")
        server = StrainServer(
            engine=opened, config=config, weights_hash=loaded.manifest.weights.sha256, recorder=recorder
        )
        with stop_on_signals(server.stop), server:
            attached = "bound" if rf_bind else "connected"
            typer.echo(f"serve: rf on {server.rf_endpoint} ({rf_type}, {attached})")
            typer.echo(f"serve: strain on {server.publish_endpoint}")
            typer.echo(f"serve: {opened.name}, lag {lag}; Ctrl-C ends")
            server.run()
            summary = server.stats
    typer.echo(f"serve: {summary}")
    if recorder is not None:
        typer.echo(f"record: {recorder.stats}")

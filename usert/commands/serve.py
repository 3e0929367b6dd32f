"""`usert serve`: the live server."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import typer

from usert.commands.config_file import CONFIG_HELP, take_config
from usert.commands.engine import HELP, PRECISION_HELP
from usert.commands.keys import ALLOW_HELP, KEY_HELP, served_keys

_QUEUE = 16
"""Frames of a source that wait with `--every-frame`; beyond it the sender waits."""


def serve(
    rf: list[str] = typer.Option(
        ...,
        metavar="ENDPOINT",
        help="Where RF frames come from, tcp://HOST:PORT or ipc://PATH; once for each endpoint.",
    ),
    publish: str = typer.Option(
        ..., metavar="ENDPOINT", help="Where clients find strain images; port 0 is any free one."
    ),
    rf_type: str = typer.Option("sub", metavar="sub|pull", help="Socket towards the source: SUB or PULL."),
    rf_bind: bool = typer.Option(
        False, "--rf-bind", help="Wait for the source at --rf instead of connecting to it."
    ),
    every_frame: bool = typer.Option(
        False,
        "--every-frame",
        help="Make an image of every frame, however old it is by then, instead of the newest: for replays.",
    ),
    bundle: Path | None = typer.Option(None, metavar="DIR", help="Bundle to use instead of the default one."),
    lag: str = typer.Option(
        "auto",
        metavar="auto|L",
        help="Frames between the two of a pair; auto follows the motion of the hand.",
    ),
    persistence: float = typer.Option(
        0.0, metavar="W", help="Weight of the past in averaging over time, 0 (none) to below 1; .4 is mild."
    ),
    target: str | None = typer.Option(
        None, metavar="RECT", help="Rectangle of the strain ratio, depth,lateral in mm, such as 10:14.5,3:8."
    ),
    background: str | None = typer.Option(
        None, metavar="RECT", help="The one beside it that it is compared with."
    ),
    deadline_ms: float = typer.Option(
        200.0, metavar="MS", help="Age at publication beyond which a live image has missed its deadline."
    ),
    engine: str = typer.Option("best", metavar="NAME", help=HELP),
    precision: str | None = typer.Option(None, metavar="NAME", help=PRECISION_HELP),
    threads: int | None = typer.Option(
        None, metavar="N", help="Threads of the engine; all cores by default."
    ),
    shape: list[str] = typer.Option(
        [],
        metavar="NxM",
        help="Make the engine ready for frames of this size before the start; may be repeated.",
    ),
    control: str | None = typer.Option(
        None, metavar="ENDPOINT", help="Take commands there, from `usert status` and `usert control`."
    ),
    monitor: str | None = typer.Option(
        None,
        metavar="HOST:PORT",
        help="Answer GET /metrics (Prometheus) and GET /health there; port 0 is any free one.",
    ),
    log_format: str = typer.Option("text", metavar="text|json", help="How the log on stderr looks."),
    key: Path | None = typer.Option(None, metavar="SECRET", help=KEY_HELP),
    allow: Path | None = typer.Option(None, metavar="DIR", help=f"Viewers. {ALLOW_HELP}"),
    rf_key: Path | None = typer.Option(
        None, metavar="PUBLIC", help="Public key of the source at --rf; no other is listened to."
    ),
    rf_allow: Path | None = typer.Option(None, metavar="DIR", help=f"With --rf-bind: sources. {ALLOW_HELP}"),
    control_allow: Path | None = typer.Option(
        None, metavar="DIR", help=f"Who may give commands. {ALLOW_HELP}"
    ),
    record: Path | None = typer.Option(
        None,
        metavar="PATH",
        help="Record frames and images: a new HDF5 file, or a folder, where each run takes a name of its own.",
    ),
    record_displacement: bool = typer.Option(
        False, "--record-displacement", help="Record displacement, too; otherwise a hash of it."
    ),
    record_folder: Path | None = typer.Option(
        None, metavar="DIR", help="Where records go that begin on command (`usert control record`)."
    ),
    insecure: bool = typer.Option(
        False,
        "--insecure",
        help="Allow endpoints that other machines can reach, unencrypted, without a password.",
    ),
    standby: bool = typer.Option(
        False,
        "--standby",
        help="Keep a second process ready, which takes over when the server dies; needs ports of their own.",
    ),
    site: Path | None = typer.Option(
        None, "--config", metavar="FILE", is_eager=True, callback=take_config, help=CONFIG_HELP
    ),
    check: bool = typer.Option(
        False,
        "--check",
        is_eager=True,  # of this start, not of the site: no key of a configuration
        help="Open all that serving needs, run the engine once, say what was found, and end.",
    ),
    cue: int | None = typer.Option(
        None, "--cue", is_eager=True, hidden=True
    ),  # `usert.runtime.failover.handover`
) -> None:
    """Turn a stream of RF frames into a stream of strain images, the newest frame first.

    Ends with Ctrl-C or SIGTERM, and a summary.
    """
    from usert.log_format import configure

    configure(log_format)
    if standby and cue is None and not check:
        _stand_by(
            {"rf": rf if rf_bind else [], "publish": [publish], "control": [control], "monitor": [monitor]},
            record,
        )

    from dataclasses import replace
    from typing import cast

    from usert.bundle import Bundle, default_bundle_path
    from usert.commands.serve_site import Site, run_site
    from usert.commands.shape import parse_shape
    from usert.errors import OptionError
    from usert.runtime.failover.handover import Handover
    from usert.runtime.imaging.image_quality import ImageQualityRule
    from usert.runtime.imaging.lag import LagRule
    from usert.runtime.imaging.pairing import PairingRule
    from usert.runtime.imaging.persistence import PersistenceRule
    from usert.runtime.imaging.strain_ratio import Rectangle
    from usert.runtime.server.bundle_swap import trained_strain
    from usert.runtime.server.config import ServerConfig
    from usert.runtime.transport.address import parse_monitor_address
    from usert.runtime.transport.receiver import ReceiverType

    if monitor is not None:
        parse_monitor_address(monitor, insecure=insecure)
    if check and site is not None:
        typer.echo(f"check: configuration {site}")
    if lag != "auto" and not lag.isdecimal():
        raise OptionError(f"--lag: got {lag!r}, expected auto or a number of frames")
    if (target is None) != (background is None):
        raise OptionError("strain ratio: got one rectangle, expected --target and --background, or neither")
    if record_folder is not None and not record_folder.is_dir():
        raise OptionError(f"--record-folder: got {record_folder}, expected a folder that exists")
    keys, rf_keys, control_keys = served_keys(
        key=key,
        allow=allow,
        rf_binds=rf_bind,
        rf_allow=rf_allow,
        rf_key=rf_key,
        control_allow=control_allow,
    )
    config = ServerConfig(
        rf=tuple(rf),
        publish=publish,
        rf_type=cast(ReceiverType, rf_type),
        rf_bind=rf_bind,
        every_frame=_QUEUE if every_frame else None,
        insecure=insecure,
        keys=keys,
        rf_keys=rf_keys,
        control=control,
        control_keys=control_keys,
        pairing=PairingRule() if lag == "auto" else PairingRule(lag=int(lag)),
        lag=LagRule() if lag == "auto" else None,
        persistence=PersistenceRule(weight=persistence),
        rectangles=None
        if target is None or background is None
        else (Rectangle.parse(target), Rectangle.parse(background)),
        deadline_ms=deadline_ms,
    )
    loaded = Bundle.load(bundle if bundle is not None else default_bundle_path())
    trained = ImageQualityRule(trained_strain=trained_strain(loaded.manifest))
    run_site(
        Site(
            config=replace(config, quality_rule=trained),
            bundle=loaded,
            engine=engine,
            precision=precision,
            threads=threads,
            lag=lag,
            record=record,
            record_displacement=record_displacement,
            record_folder=record_folder,
            warm=tuple(map(parse_shape, shape)),
            monitor=monitor,
        ),
        check=check,
        handover=None if cue is None else Handover(cue),
    )


def _stand_by(bound: Mapping[str, Sequence[str | None]], record: Path | None) -> NoReturn:
    """Watch over servers of this very command line; `bound`: where they are found, by option."""
    from usert.errors import OptionError
    from usert.runtime.failover.supervisor import Supervisor
    from usert.runtime.transport.address import check_fixed_port

    for option, endpoints in bound.items():
        for endpoint in endpoints:
            check_fixed_port(option, endpoint)
    if record is not None and not record.is_dir():
        raise OptionError(
            f"--record: got {record}, expected a folder with --standby, where each process makes a file of its own"
        )
    raise typer.Exit(Supervisor(sys.argv[1:]).run())

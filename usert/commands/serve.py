"""`usert serve`: the live server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import typer

from usert.commands.config_file import CONFIG_HELP, config_reader
from usert.commands.engine import load_bundle, open_named
from usert.commands.option import grouped, option, switch
from usert.commands.serve_options import Access, Engine, Images, Operation, Records, Source
from usert.errors import OptionError, expect

if TYPE_CHECKING:
    from usert.runtime.server.launch import Site
    from usert.runtime.transport.receiver import ReceiverType

ONE_START = ("config", "check", "cue")
"""Options of one start of a server, which are no keys of its configuration."""
_CONFIG = option(None, "FILE", CONFIG_HELP, is_eager=True, callback=config_reader(without=ONE_START))
_QUEUE = 16
"""Frames of a source that wait with `--every-frame`; beyond it the sender waits."""


@grouped
def serve(
    *,
    source: Source,
    images: Images,
    engine: Engine,
    access: Access,
    records: Records,
    operation: Operation,
    config: Path | None = _CONFIG,
    check: bool = switch("--check", "Open all that serving needs, run the engine once, report, and end."),
    cue: int | None = typer.Option(None, hidden=True),  # from `usert.runtime.failover`
) -> None:
    """Turn a stream of RF or IQ frames into a stream of strain images, the newest frame first.

    Ends with Ctrl-C or SIGTERM, and a summary.
    """
    from usert.log_format import configure

    configure(operation.log_format)
    if operation.standby and cue is None and not check:
        _stand_by(source, images, operation, records)
    if check and config is not None:
        typer.echo(f"check: configuration {config}")

    from usert.runtime.engines.specialised import compiling
    from usert.runtime.failover.handover import Handover
    from usert.runtime.server import launch, preflight
    from usert.signals import leave

    site = _site(source, images, engine, access, records, operation)
    if check:
        preflight.check(site, print_line=typer.echo)
    else:
        launch.serve(site, print_line=typer.echo, handover=None if cue is None else Handover(cue))
        if compiling():  # which cannot be stopped, and nobody waits for any more
            leave()


def _site(
    source: Source,
    images: Images,
    engine: Engine,
    access: Access,
    records: Records,
    operation: Operation,
) -> Site:
    from dataclasses import replace

    from usert.commands.shape_option import parse_rows, parse_shape
    from usert.output_file import check_output_folder
    from usert.runtime.engines.concurrency import check_option
    from usert.runtime.engines.following import check_follows
    from usert.runtime.imaging.image_quality import ImageQualityRule
    from usert.runtime.imaging.lag import LagRule
    from usert.runtime.imaging.pairing import PairingRule
    from usert.runtime.imaging.persistence import PersistenceRule
    from usert.runtime.server.bundle_swap import trained_strain
    from usert.runtime.server.config import ServerConfig
    from usert.runtime.server.launch import Site
    from usert.runtime.transport.address import parse_monitor_address

    if operation.monitor is not None:
        parse_monitor_address(operation.monitor, insecure=access.insecure)
    folder, lag = records.record_folder, images.lag
    if folder is not None:
        expect(folder.is_dir(), "--record-folder", folder, "a folder that exists")
        check_output_folder(folder, option="--record-folder")
    if lag != "auto" and not lag.isdecimal():
        raise OptionError(f"--lag: got {lag!r}, expected auto or a number of frames")
    rectangles = images.rectangles()
    keys, rf_keys, control_keys = access.keys(rf_binds=source.rf_bind)
    config = ServerConfig(
        rf=tuple(source.rf),
        publish=images.publish,
        rf_type=cast("ReceiverType", source.rf_type),
        rf_bind=source.rf_bind,
        every_frame=_QUEUE if source.every_frame else None,
        rows=parse_rows(source.rows),
        insecure=access.insecure,
        keys=keys,
        rf_keys=rf_keys,
        control=operation.control,
        control_keys=control_keys,
        pairing=PairingRule() if lag == "auto" else PairingRule(lag=int(lag)),
        lag=LagRule() if lag == "auto" else None,
        persistence=PersistenceRule(weight=images.persistence),
        rectangles=rectangles,
        deadline_ms=images.deadline_ms,
    )
    bundle = load_bundle(engine.bundle)
    if images.follow:
        check_follows(bundle)
    check_option(engine.at_once)
    rule = ImageQualityRule(trained_strain=trained_strain(bundle.manifest))
    return Site(
        config=replace(config, quality_rule=rule),
        bundle=bundle,
        open_engine=open_named,
        engine=engine.engine,
        precision=engine.precision,
        threads=engine.threads,
        at_once=engine.at_once,
        follow=images.follow,
        lag=lag,
        record=records.record,
        record_displacement=records.record_displacement,
        record_folder=folder,
        shapes=tuple(map(parse_shape, engine.shape)),
        monitor=operation.monitor,
    )


def _stand_by(source: Source, images: Images, operation: Operation, records: Records) -> NoReturn:
    """Supervise two servers of this very command line."""
    from usert.runtime.failover.supervisor import Supervisor
    from usert.runtime.transport.address import check_fixed_port

    for endpoint in source.rf if source.rf_bind else ():
        check_fixed_port("rf", endpoint)
    for flag, bound in (
        ("publish", images.publish),
        ("control", operation.control),
        ("monitor", operation.monitor),
    ):
        check_fixed_port(flag, bound)
    record = records.record
    if record is not None and not record.is_dir():
        raise OptionError(
            f"--record: got {record}, expected a folder with --standby, where each process makes a file of its own"
        )
    raise typer.Exit(Supervisor(sys.argv[1:]).run())

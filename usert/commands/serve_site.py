"""What `usert serve` opens, in its order; serves, and gives all back.

Knows no options of the command line. Invariant: a check opens what a server opens, in the same order and the same way;
it ends where serving would begin, and leaves nothing behind.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import typer

from usert import __version__
from usert.bundle import Bundle
from usert.commands.engine import open_named
from usert.commands.serve_check import told_bundle, told_keys, told_record, try_engine
from usert.machine import usable_cores
from usert.runtime.engines.interface import Engine
from usert.runtime.failover.handover import Handover
from usert.runtime.monitor.census import Sources
from usert.runtime.monitor.health import Health
from usert.runtime.monitor.http import MonitorServer, monitor_pages
from usert.runtime.monitor.metrics import Metrics
from usert.runtime.protocol.age import now_ns
from usert.runtime.record.record import Provenance
from usert.runtime.record.recorder import Recorder
from usert.runtime.record.switch import RecordSwitch
from usert.runtime.record.writer import check_free
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.low_jitter import steady
from usert.runtime.server.server import StrainServer
from usert.runtime.transport.ipc_file import claimed
from usert.signals import stop_on_signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is served at one place."""

    config: ServerConfig
    bundle: Bundle
    engine: str
    precision: str | None
    threads: int | None
    lag: str
    """As a person writes it: `auto`, or a number of frames."""
    record: Path | None = None
    record_displacement: bool = False
    record_folder: Path | None = None
    """Of records that begin on command."""
    warm: tuple[tuple[int, int], ...] = ()
    """Shapes of frames that the engine is made ready for before the start."""
    monitor: str | None = None
    """HOST:PORT of metrics and health."""

    @property
    def bound(self) -> tuple[str, ...]:
        """Endpoints that others connect to."""
        config = self.config
        control = () if config.control is None else (config.control,)
        return (config.publish, *control, *(config.rf_endpoints if config.rf_bind else ()))

    def recorder(self) -> Recorder | None:
        """Not open yet; None where nothing is recorded."""
        if self.record is None:
            return None
        return self.recorder_to(self.record, self.record_displacement, self.bundle)

    def recorder_to(self, path: Path, displacement: bool, bundle: Bundle) -> Recorder:
        """Of images by `bundle`; not open yet."""
        provenance = Provenance.of(
            bundle,
            engine=self.engine,
            precision=self.precision,
            threads=self.threads or usable_cores(),
            lag=self.lag,
            rf=list(self.config.rf_endpoints),
            publish=self.config.publish,
        )
        return Recorder(path, provenance, displacement=displacement)

    def open(self, bundle: Bundle, engine: str = "", precision: str = "") -> Engine:
        """`bundle` by the engine and in the precision of these names, or those of the site."""
        return open_named(
            bundle,
            engine=engine or self.engine,
            threads=self.threads,
            precision=precision or self.precision,
        )


def run_site(site: Site, *, check: bool = False, handover: Handover | None = None) -> None:
    """Serve until a signal comes, and say what was done; or `check`, and say what there is. Errors: `UsertError`.

    `handover`: from a supervisor, which decides when to open what only one process can have.
    """

    def say(what: str) -> None:
        typer.echo(f"{'check' if check else 'serve'}: {what}")

    if check:
        say(told_keys(site.config))
        say(told_bundle(site.bundle))
    recorder = site.recorder()
    with ExitStack() as stack:
        engine = stack.enter_context(closing(site.open(site.bundle)))
        warm = site.warm
        for shape in warm:
            engine.warm_up(shape)
        if handover is not None:
            further = handover.wait(engine.warm_up)
            if further is None:
                return
            warm += further
        if check:
            say(try_engine(engine, site.bundle, site.precision))
        metrics, health = Metrics(), Health(now_ns())
        switch = RecordSwitch(
            None if check else recorder,  # a source may send already
            folder=site.record_folder,
            make=lambda path, displacement: site.recorder_to(path, displacement, running_bundle()),
        )
        server = StrainServer(
            engine=engine,
            config=site.config,
            weights_hash=site.bundle.manifest.weights.sha256,
            bundle=site.bundle.folder,
            warm=warm,
            switch=switch,
            open_bundle=site.open,
            metrics=metrics,
            health=health,
        )

        def running_bundle() -> Bundle:
            return Bundle.load(server.engine.bundle or site.bundle.folder)

        stack.enter_context(stop_on_signals(server.stop, insist=True))
        stack.enter_context(claimed(*site.bound))
        if recorder is not None:
            stack.enter_context(recorder)
            say(told_record(recorder.path) if check else f"record in {recorder.path}")
        if site.record_folder is not None and check:
            probe = site.record_folder / ".usert-check.h5"
            check_free(probe)
            say(told_record(probe))
        metrics.watch(
            Sources(
                counts=lambda: server.counts,
                output=lambda: server.output,
                engine=lambda: server.engine.engine.name,
                about=lambda: {
                    "version": __version__,
                    "bundle": str(server.engine.bundle),
                    "weights_sha256": server.engine.weights_hash,
                },
                recorder=lambda: server.recorder,
                frozen=lambda: server.frozen_streams,
            )
        )
        with server, ExitStack() as watched:
            attached = "bound" if site.config.rf_bind else "connected"
            for endpoint in server.rf_endpoints:
                say(f"rf on {endpoint} ({site.config.rf_type}, {attached})")
            say(f"strain on {server.publish_endpoint}")
            if server.control_endpoint is not None:
                say(f"control on {server.control_endpoint}")
            if site.monitor is not None:
                pages = monitor_pages(metrics, health)
                insecure = site.config.insecure
                say(
                    f"monitor on {watched.enter_context(MonitorServer(site.monitor, pages, insecure=insecure)).url}"
                )
            if check:
                say("all is well")
                return
            say(f"{engine.name}, lag {site.lag}; Ctrl-C ends")
            if handover is not None:
                watched.enter_context(handover.serving(lambda: server.engine.shapes, server.stop))
            with steady():
                server.run()
        summary = server.counts.summary(server.output)  # after its threads: no frame comes in between
    say(summary)
    if recorder is not None:
        typer.echo(f"record: {recorder.stats}")

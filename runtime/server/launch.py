"""Start of a live server, in the order in which it happens.

`serve` opens the engine, warms it up, waits until this process is to serve, opens record, endpoints and monitor,
serves, and reports what was done. A check (`preflight`) goes through the same phases up to serving. Invariant: whatever
a phase opened is closed on every way out, in reverse order.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from usert.bundle import Bundle
from usert.errors import FrameError, OptionError, expect
from usert.machine import usable_cores
from usert.signals import ended_by_ctrl_c, stop_on_signals

from ..engines.following import FollowingEngine
from ..engines.interface import Engine, FrameFormat, warm_up_gradually
from ..failover.handover import Handover
from ..monitor.health import Health
from ..monitor.http import MonitorServer, monitor_pages
from ..monitor.metrics import Metrics
from ..protocol.age import now_ns
from ..protocol.header import LIMITS, is_within_limits
from ..record.contents import Provenance
from ..record.recorder import Recorder
from ..record.switch import RecordSwitch, RunningBundle
from ..transport.ipc_file import claimed
from .config import ServerConfig
from .server import StrainServer

Shape = tuple[int, int]
_SWITCH_S = 5e-4
"""Time after which a waiting thread gets the interpreter; Python's own 5 ms would delay an image several times."""
PrintLine = Callable[[str], None]
"""Prints a line for the person who started the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything that the server of one place is started with."""

    config: ServerConfig
    bundle: Bundle
    open_engine: Callable[..., Engine]
    """Opens a bundle with the names `engine` and `precision`, which may be None, `threads` and `at_once`."""
    engine: str = "best"
    precision: str | None = None
    threads: int | None = None
    at_once: int | None = None
    """Pairs that the engine may run at once; None: by the size of the frames."""
    follow: bool = False
    """Whether pairs start from the motion of the image before, where a session runs."""
    lag: str
    """The option as it was given, `auto` or a number of frames; for reports and records."""
    record: Path | None = None
    """New file or folder of a record of everything; None: no record."""
    record_displacement: bool = False
    record_folder: Path | None = None
    """Folder of the records that are begun by a command; None: there are none."""
    shapes: tuple[Shape, ...] = ()
    """Shapes of frames, samples x lines, for which the engine is warmed up before the start."""
    monitor: str | None = None
    """`HOST:PORT` of metrics and health."""

    @property
    def bound_endpoints(self) -> tuple[str, ...]:
        """Endpoints that others connect to."""
        config = self.config
        control = () if config.control is None else (config.control,)
        return (config.publish, *control, *(config.rf_endpoints if config.rf_bind else ()))

    def open(self, bundle: Bundle, engine: str = "", precision: str = "") -> Engine:
        """Open `bundle`; an empty name of engine or precision is that of the site. The caller closes the engine."""
        opened = self.open_engine(
            bundle,
            engine=engine or self.engine,
            threads=self.threads,
            precision=precision or self.precision,
            at_once=self.at_once,
        )
        return FollowingEngine(opened) if self.follow else opened

    def make_recorder(self) -> Recorder | None:
        """The recorder of `record`, not open yet."""
        if self.record is None:
            return None
        return self.make_recorder_to(self.record, self.record_displacement, RunningBundle(folder=None))

    def make_recorder_to(
        self, path: Path, displacement: bool, running: RunningBundle, case: str = ""
    ) -> Recorder:
        """A recorder of the images that `running` makes, with the identifier of their `case`; not open yet."""
        provenance = Provenance.of(
            self.bundle if running.folder is None else Bundle.load(running.folder),
            engine=running.engine or self.engine,
            precision=running.precision or self.precision,
            threads=self.threads or usable_cores(),
            lag=self.lag,
            rf=list(self.config.rf_endpoints),
            publish=self.config.publish,
            rows=self.config.rows,
            case=case,
        )
        return Recorder(path, provenance, displacement=displacement)


def serve(site: Site, *, print_line: PrintLine, handover: Handover | None = None) -> None:
    """Serve until a signal or a command ends it. Errors: `UsertError`.

    `handover`: from the supervisor of a spare process, which signals when to open what only one process can have.
    """

    def report(line: str) -> None:
        print_line(f"serve: {line}")

    with closing(site.open(site.bundle)) as engine:
        with ended_by_ctrl_c():
            warm = warm_up(engine, site, handover)
        if warm is None:  # a spare that was never needed
            return
        recorder = site.make_recorder()
        with (
            open_server(site, engine, warm, report=report, recorder=recorder) as server,
            ExitStack() as stack,
        ):
            report(f"{engine.name}, lag {site.lag}; Ctrl-C ends")
            if handover is not None:
                stack.enter_context(handover.serving(lambda: server.engine.warm, server.stop))
            with low_jitter():
                server.run()
    report(server.counts.summary(server.output))
    if recorder is not None:
        print_line(f"record: {recorder.stats}")


def warm_up(engine: Engine, site: Site, handover: Handover | None = None) -> tuple[FrameFormat, ...] | None:
    """Warm `engine` up, and wait for `handover`; the frames that it is warm for. None: the supervisor is gone.

    Errors: `OptionError` for frames of the option `--shape` that the engine cannot take, and those of the engine.
    """
    warm = tuple(map(FrameFormat, site.shapes))
    for frames in warm:
        n, m = frames.shape
        expect(is_within_limits(n, m), "--shape", f"{n}x{m}", LIMITS)
        try:
            engine.warm_up(*frames)
        except FrameError as error:
            told = str(error).removeprefix("frame: ")
            raise OptionError(
                f"--shape {n}x{m}: {told}; its rows are those of RF, of which IQ has fewer"
            ) from error
    if handover is None:
        return warm
    seen = handover.wait(partial(warm_up_gradually, engine))  # it may have to serve at any time
    return None if seen is None else (*warm, *seen)


@contextmanager
def open_server(
    site: Site,
    engine: Engine,
    warm: tuple[FrameFormat, ...],
    *,
    report: PrintLine,
    recorder: Recorder | None = None,
) -> Iterator[StrainServer]:
    """A server that is ready to run, with all its endpoints, its monitor and its signals, each reported as it opens.

    `warm`: the frames that `engine` is warm for. `recorder`: not open yet.
    """
    config = site.config
    metrics, health = Metrics(), Health(now_ns())
    server = StrainServer(
        engine=engine,
        config=config,
        weights_hash=site.bundle.manifest.weights.sha256,
        bundle=site.bundle.folder,
        warm=warm,
        switch=RecordSwitch(recorder, folder=site.record_folder, make=site.make_recorder_to),
        open_bundle=site.open,
        metrics=metrics,
        health=health,
    )
    metrics.watch(server)
    with ExitStack() as stack:
        stack.enter_context(stop_on_signals(server.stop, insist=True))
        stack.enter_context(claimed(*site.bound_endpoints))
        if recorder is not None:
            stack.enter_context(recorder)
            report(f"record in {recorder.path}")
        stack.enter_context(server)
        for endpoint in server.rf_endpoints:
            report(f"rf on {endpoint} ({config.rf_type}, {'bound' if config.rf_bind else 'connected'})")
        report(f"strain on {server.publish_endpoint}")
        if server.control_endpoint is not None:
            report(f"control on {server.control_endpoint}")
        if site.monitor is not None:
            pages = monitor_pages(metrics, health)
            monitor = MonitorServer(site.monitor, pages, insecure=config.insecure)
            report(f"monitor on {stack.enter_context(monitor).url}")
        yield server


@contextmanager
def low_jitter() -> Iterator[None]:
    """Quick switches between threads inside the block, and no long garbage collections, which would take 20 to 40 ms.

    The settings hold for the whole process, so the caller that starts a server chooses them.
    """
    before_s = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)
        gc.unfreeze()

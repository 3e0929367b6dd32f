"""The fault of an engine that raises once, in this process, where it can be made to.

Knows the server's own interface. Invariant: the engine behind is the default one, and runs every other pair.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from typing import Any

from live import WrappedEngine, running
from numpy.typing import NDArray
from observer import Observer
from source_process import SourceConfig, SourceProcess
from stage import RATE_HZ, SHAPES

from usert.bundle import Bundle, default_bundle_path
from usert.errors import EngineError
from usert.frame import Scan
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.protocol.age import now_ns
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer

_LOOPBACK = "tcp://127.0.0.1:0"


class FaultyEngine(WrappedEngine):
    """Raises at the next pair after `fail` was set."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.fail = threading.Event()
        self.failed_ns = 0

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        if self.fail.is_set():
            self.fail.clear()
            self.failed_ns = now_ns()
            raise EngineError("the device was lost")
        return super().run(reference, current, scan)


def engine_fault() -> dict[str, Any]:
    """From the moment of the exception, which no frame outlives."""
    with ExitStack() as stack:
        opened = stack.enter_context(closing(open_engine(Bundle.load(default_bundle_path()), threads=1)))
        engine = FaultyEngine(opened)
        config = ServerConfig(rf=_LOOPBACK, rf_type="pull", rf_bind=True, publish=_LOOPBACK)
        server = stack.enter_context(running(StrainServer(engine=engine, config=config)))
        source = stack.enter_context(
            SourceProcess(SourceConfig(endpoint=server.rf_endpoints[0], shapes=SHAPES[:1], frames="press"))
        )
        viewer = stack.enter_context(Observer(server.publish_endpoint))
        source.order(rate_hz=RATE_HZ)
        viewer.wait(lambda image: image.state == "live" and image.current > 30, timeout_s=120)
        engine.fail.set()
        image = viewer.wait(
            lambda image: image.state == "live" and 0 < engine.failed_ns < image.received_ns, timeout_s=30
        )
        sent = source.rest().frames
        viewer.rest(1.0)
        counts = server.counts
    used = counts.unpaired + counts.published + sum(counts.failed.values())
    right = (
        counts.failed == {"EngineError": 1} and counts.frames.received == sent == counts.frames.dropped + used
    )
    return {
        "fault": "engine raises once",
        "live again (ms)": (image.arrived_ns - engine.failed_ns) / 1e6,
        "counters": str(counts),
        "right": "yes" if right else f"sent {sent}",
    }

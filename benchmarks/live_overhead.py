"""What the live server costs beside its engine: an engine that answers at once, real sockets, a scanner's process.

    python benchmarks/live_overhead.py [--seconds S] [--rates 60,200] [--shapes 1920x768] [--viewers none,tcp,ipc]
        [--profile]

Milliseconds a frame, by the server's own clock: `receive` from arrival to the slot (decoding, sessions), `match` until
the reference is chosen (the other thread wakes up), `judge` from the engine's answer to `published_ns` (what the image
is worth, means), `send` until the message is with ZeroMQ. `work` is all of them, the engine left out; a machine that is
busy with other things shows in it, and less in `CPU`, the processor's time for one frame: of the two threads (median),
and of all threads of the server, ZeroMQ's included. Asserts that images are the engine's, bit for bit, and that the
books balance. `--profile`: functions of the working thread. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import harness  # noqa: F401
import numpy as np
from numpy.typing import NDArray
from observer import ObserverProcess
from source_process import SourceConfig, SourceProcess
from vitals import spread

from usert.errors import UsertError
from usert.evaluation.markdown import markdown
from usert.machine import cpu_name
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.protocol.age import now_ns
from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.record.file import RecordedImage
from usert.runtime.record.recorder import Recorder
from usert.runtime.record.switch import RecordSwitch
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.launch import low_jitter
from usert.runtime.server.server import StrainServer

CEILING_MS = 2.0
CEILING_RATE_HZ = 200.0
_STAGES = ("receive", "match", "judge", "send")
_WARM_UP = 20
"""Images left out at the beginning."""


class ReadyEngine:
    """Answers at once with one estimate: a press of 1 % under a smooth quality."""

    name = "none"
    strain_window_at = staticmethod(lambda scan: 3)

    def __init__(self, shape: tuple[int, int]) -> None:
        rows, lines = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        ripple = np.sin(rows / 40) * np.cos(lines / 25)
        displacement = np.stack([-0.01 * rows + 0.05 * ripple, 0.1 * ripple]).astype(np.float32)
        strain = (0.01 + 0.001 * ripple).astype(np.float32)
        self.estimate = Estimate(displacement=displacement, strain=strain, quality=0.9 + 0.05 * ripple)
        self.started: list[int] = []
        self.ended: list[int] = []

    def warm_up(self, shape: tuple[int, int], scan: object = None) -> None:
        """Nothing to do."""

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: object = None) -> Estimate:
        self.started.append(now_ns())
        assert reference.shape == current.shape == self.estimate.strain.shape
        self.ended.append(now_ns())
        return self.estimate

    def close(self) -> None:
        """Nothing to give back."""


class Probe:
    """Stands where a recorder would, and behind the function that sends: told of each frame and of each image."""

    def __init__(self) -> None:
        self.taken: dict[int, int] = {}
        """When a frame was about to reach the slot, by its sequence number."""
        self.done: list[tuple[int, int, int, int, int]] = []
        """Of each image: current frame, received, matched, published, handed to ZeroMQ."""
        self.used: dict[str, list[int]] = {"receiving": [], "working": []}
        """CPU time of the threads at each frame and at each image."""

    def put_frame(self, received: ReceivedFrame) -> None:
        self.taken[received.frame.sequence] = now_ns()
        self.used["receiving"].append(time.thread_time_ns())

    def put_image(self, image: RecordedImage) -> None:
        self._image = image

    def behind(self, send: Callable[[StrainMessage], None]) -> Callable[[StrainMessage], None]:
        """`send`, noted when it returns; an image is recorded before it is sent."""

        def noted(message: StrainMessage) -> None:
            send(message)
            image = self._image
            self.done.append(
                (image.current, image.received_ns, image.matched_ns, message.published_ns, now_ns())
            )
            self.used["working"].append(time.thread_time_ns())

        return noted


def stages(engine: ReadyEngine, probe: Probe) -> dict[str, list[float]]:
    """Milliseconds of each stage, an image each."""
    found: dict[str, list[float]] = {name: [] for name in ("work", *_STAGES)}
    runs = zip(probe.done, engine.started, engine.ended, strict=True)
    for (current, received, matched, published, sent), started, ended in list(runs)[_WARM_UP:]:
        taken = probe.taken[current]
        parts = taken - received, matched - taken, published - ended, sent - published
        for name, value in zip(_STAGES, parts, strict=True):
            found[name].append(value / 1e6)
        found["work"].append((sent - received - (ended - started)) / 1e6)
    return found


def measure(
    shape: tuple[int, int], rate_hz: float, viewer: str, seconds: float, profile: bool
) -> dict[str, Any]:
    """One run: `rate_hz` frames a second for `seconds`, before `viewer`."""
    engine, probe = ReadyEngine(shape), Probe()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        publish = f"ipc://{folder}/strain" if viewer == "ipc" else "tcp://127.0.0.1:0"
        config = ServerConfig(rf="tcp://127.0.0.1:0", rf_type="pull", rf_bind=True, publish=publish)
        server = stack.enter_context(
            StrainServer(engine=engine, config=config, switch=RecordSwitch(cast(Recorder, probe)))
        )
        server._send = probe.behind(server._send)
        source = stack.enter_context(
            SourceProcess(SourceConfig(endpoint=server.rf_endpoints[0], shapes=(shape,), frames="noise"))
        )
        stack.enter_context(low_jitter())  # as `usert serve`
        profiler = cProfile.Profile()
        run = (lambda: profiler.runcall(server.run)) if profile else server.run
        thread = threading.Thread(target=run, name="serve")
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.stop)
        distant = None
        if viewer != "none":
            distant = stack.enter_context(ObserverProcess(server.publish_endpoint))
            check(server, source, engine)
        before = source.sent.frames
        begin, used_s = time.perf_counter(), -time.process_time()
        source.order(rate_hz=rate_hz, count=round(rate_hz * seconds))
        sent = source.wait(2 * seconds + 60)
        wait_for_books(server, sent.frames)
        took_s, used_s = time.perf_counter() - begin, used_s + time.process_time()
        counts = server.counts
        seen = distant.end() if distant is not None else []
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(14)
    ages = [image.age_ms for image in seen if image.current >= before]
    row: dict[str, Any] = {
        "shape": f"{shape[0]}x{shape[1]}",
        "viewer": viewer,
        "asked (Hz)": rate_hz,
        "sent (Hz)": (sent.frames - before) / took_s,
        "images (Hz)": sum(image[0] >= before for image in probe.done) / took_s,
        "dropped": counts.frames.dropped,
    }
    found = stages(engine, probe)
    row |= spread(found.pop("work"), "work", CEILING_MS)
    for name, values in found.items():
        row |= {f"{name} {key}": value for key, value in spread(values).items() if key in ("p50", "p99")}
    for name, times in probe.used.items():
        row[f"CPU {name}"] = float(np.median(np.diff(times))) / 1e6
    row["CPU of all threads"] = 1e3 * used_s / (sent.frames - before)
    return row | {"viewer (Hz)": len(ages) / took_s} | spread(ages, "age there")


def check(server: StrainServer, source: SourceProcess, engine: ReadyEngine) -> None:
    """Slowly, until a client has an image: it must be the engine's, of two frames in a row."""
    with StrainClient(server.publish_endpoint) as client:
        image: StrainMessage | None = None
        source.order(rate_hz=20)
        while image is None:
            image = client.receive(30.0)
            assert image is not None, "the client hears nothing"
        source.rest()
        assert image.current.sequence == image.reference.sequence + 1
        for name in ("displacement", "strain", "quality"):
            assert getattr(image, name).tobytes() == getattr(engine.estimate, name).tobytes(), name
        assert abs(image.mean_strain - float(engine.estimate.strain.mean(dtype=np.float64))) < 1e-6
        assert image.state == "live"


def wait_for_books(server: StrainServer, sent: int) -> None:
    """Until every frame sent is in the counters, and none waits."""
    deadline = time.monotonic() + 10
    while True:
        counts = server.counts
        used = counts.unpaired + counts.published + sum(counts.failed.values())
        if (counts.frames.received, counts.frames.lost, counts.frames.dropped + used) == (sent, 0, sent):
            return
        assert time.monotonic() < deadline, f"sent {sent}, {counts}"
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run")
    parser.add_argument("--rates", default="60,200", help="frames a second")
    parser.add_argument("--shapes", default="512x128,1920x768")
    parser.add_argument("--viewers", default="none,tcp,ipc", help="none, or one viewer that connects so")
    parser.add_argument("--profile", action="store_true", help="print what the working thread spends time on")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    try:
        for shape in options.shapes.split(","):
            n, m = map(int, shape.split("x"))
            for viewer in options.viewers.split(","):
                for rate in map(float, options.rates.split(",")):
                    rows.append(measure((n, m), rate, viewer, options.seconds, options.profile))
                    print(markdown(rows[-1:]), flush=True)
    except UsertError as error:
        sys.exit(f"live_overhead: {error}")
    print(f"\n{markdown(rows)}")
    print(
        json.dumps(
            {
                "benchmark": "live_overhead",
                "machine": cpu_name(),
                "ceilings": {"work p99 (ms)": CEILING_MS, "images (Hz)": CEILING_RATE_HZ},
                "rows": rows,
            }
        )
    )


if __name__ == "__main__":
    main()

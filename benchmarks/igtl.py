"""What OpenIGTLink clients cost a live server: its rate without the bridge, with it, and with clients of every kind.

    python benchmarks/igtl.py [--seconds S] [--rate HZ] [--shape 512x128]

A scanner's process, a live server whose engine answers at once, `usert bridge igtl` and the clients, processes of their
own. Clients: none; one of pyigtl; one that never reads; one of pyigtl killed as soon as it has an image, over and over;
one of pyigtl beside one that never reads. `age there` is that of an image when the pyigtl client has it, by the wall
clock. Asserts first that values, spacing and time at a pyigtl client are those of the server's image, and for each run
that every frame sent became an image or was dropped for a newer one. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

import harness  # noqa: F401
import numpy as np
from igtl_ends import BridgeProcess
from live import running
from live_overhead import ReadyEngine, wait_for_books
from pyigtl.comm import OpenIGTLinkClient
from source_process import SCAN, SourceConfig, SourceProcess
from vitals import Vitals, spread

from usert.errors import UsertError
from usert.evaluation.markdown import markdown
from usert.machine import cpu_name
from usert.runtime.bridges.igtl_devices import BLANK_PERCENT
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.launch import low_jitter
from usert.runtime.server.server import StrainServer

_LOOPBACK = "tcp://127.0.0.1:0"
_ANSWER_S = 30.0
RUNS = (
    "no bridge",
    "no client",
    "one",
    "one that never reads",
    "killed over and over",
    "one, and one that never reads",
)


class Client:
    """`with Client(port) as client:` a pyigtl client, a process of its own; `ages` empties what it has seen."""

    def __init__(self, port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=_take, args=(self._theirs, port), daemon=True)

    def __enter__(self) -> Client:
        self._process.start()
        self._theirs.close()
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.join()

    @property
    def ages(self) -> list[float]:
        """Milliseconds, of the images since the last question."""
        ages: list[float] = self._ask("ages")
        return ages

    @property
    def image(self) -> tuple[Any, Any, Any, float]:
        """Strain, quality, spacing, time: of the newest image."""
        image: tuple[Any, Any, Any, float] = self._ask("image")
        return image

    def _ask(self, what: str) -> Any:
        self._pipe.send(what)
        if not self._pipe.poll(_ANSWER_S):
            raise AssertionError("client: no answer")
        return self._pipe.recv()


def _take(pipe: Connection, port: int) -> None:
    client = OpenIGTLinkClient("127.0.0.1", port)
    ages: list[float] = []
    image: Any = None
    while True:
        message = client.wait_for_message("usert_strain", timeout=0.02)
        if message is not None and message.image.max() > BLANK_PERCENT:  # not an old one, taken back
            ages.append(1e3 * (time.time() - message.timestamp))
            quality = client.wait_for_message("usert_quality", timeout=1.0)
            if quality is not None and quality.timestamp == message.timestamp:
                spacing = np.linalg.norm(message.ijk_to_world_matrix[:3, :3], axis=0)
                image = message.image[0], quality.image[0], spacing, message.timestamp
        if pipe.poll(0):
            try:
                asked = pipe.recv()
            except EOFError:
                return
            pipe.send(ages if asked == "ages" else image)
            ages = []


@contextmanager
def never_reads(port: int) -> Iterator[None]:
    with socket.create_connection(("127.0.0.1", port)):
        yield


@contextmanager
def killed_again_and_again(port: int) -> Iterator[list[int]]:
    """How many were, in a list of one number."""
    ended, killed = threading.Event(), [0]

    def kill() -> None:
        while not ended.is_set():
            with Client(port) as client:
                while client.image is None and not ended.wait(0.05):
                    pass
            killed[0] += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


def check(client: Client, engine: ReadyEngine, source: SourceProcess, rate_hz: float) -> None:
    """What a pyigtl client has is what the server published; afterwards nothing is sent."""
    begun_s = time.time()
    source.order(rate_hz=rate_hz)
    deadline = time.monotonic() + _ANSWER_S
    while (image := client.image) is None:
        assert time.monotonic() < deadline, "the client has no image"
        time.sleep(0.1)
    source.rest()
    strain, quality, spacing, time_s = image
    assert (strain == np.float32(100) * engine.estimate.strain).all()
    assert (quality == engine.estimate.quality).all()
    np.testing.assert_allclose(spacing, (SCAN.line_pitch_mm, SCAN.axial_pitch_mm, 1), rtol=1e-6)
    assert begun_s < time_s < time.time()


def measure(name: str, shape: tuple[int, int], rate_hz: float, seconds: float) -> dict[str, Any]:
    """One run."""
    engine = ReadyEngine(shape)
    config = ServerConfig(rf=_LOOPBACK, rf_type="pull", rf_bind=True, publish=_LOOPBACK)
    with ExitStack() as stack:
        stack.enter_context(low_jitter())  # as `usert serve`
        server = stack.enter_context(running(StrainServer(engine=engine, config=config)))
        source = stack.enter_context(
            SourceProcess(SourceConfig(endpoint=server.rf_endpoints[0], shapes=(shape,), frames="noise"))
        )
        bridge, client, killed = None, None, [0]
        source.order(shape=shape)
        if name != "no bridge":
            words = "igtl", "--strain", server.publish_endpoint, "--port", "0"
            bridge = stack.enter_context(BridgeProcess(*words))
            port = int(bridge.wait_for(r"OpenIGTLink on 127\.0\.0\.1:(\d+)"))
            with Client(port) as first:
                check(first, engine, source, rate_hz)
            if name in ("one", "one, and one that never reads"):
                client = stack.enter_context(Client(port))
                check(client, engine, source, rate_hz)
            if name in ("one that never reads", "one, and one that never reads"):
                stack.enter_context(never_reads(port))
            if name == "killed over and over":
                killed = stack.enter_context(killed_again_and_again(port))
        before, images = source.sent.frames, server.counts.published
        if client is not None:
            assert client.ages is not None  # those so far do not count
        used_s = -Vitals.of(bridge.pid).cpu_s if bridge is not None else 0.0
        begin = time.perf_counter()
        source.order(rate_hz=rate_hz, count=round(rate_hz * seconds))
        sent = source.wait(2 * seconds + 60)
        wait_for_books(server, sent.frames)
        took_s = time.perf_counter() - begin
        used_s += Vitals.of(bridge.pid).cpu_s if bridge is not None else 0.0
        time.sleep(0.5)
        ages = client.ages if client is not None else []
        counts = server.counts
    return {
        "clients": name,
        "sent (Hz)": (sent.frames - before) / took_s,
        "images (Hz)": (counts.published - images) / took_s,
        "dropped": counts.frames.dropped,
        "bridge (CPUs)": used_s / took_s,
        "killed": killed[0],
        "client (Hz)": len(ages) / took_s,
    } | spread(ages, "age there")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second")
    parser.add_argument("--shape", default="512x128")
    options = parser.parse_args()
    n, m = map(int, options.shape.split("x"))
    rows: list[dict[str, Any]] = []
    try:
        for name in RUNS:
            rows.append(measure(name, (n, m), options.rate, options.seconds))
            print(markdown(rows[-1:]), flush=True)
    except UsertError as error:
        sys.exit(f"igtl: {error}")
    print(f"\n{markdown(rows)}")
    print(json.dumps({"benchmark": "igtl", "machine": cpu_name(), **vars(options), "rows": rows}))


if __name__ == "__main__":
    main()

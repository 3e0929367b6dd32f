"""Latency that a sender adds: from a frame that is complete in a scanner's program to the server's receiver.

    python benchmarks/sender_latency.py [--frames N] [--rounds N] [--rate HZ] [--ways python,c,cpp] [--shapes 512x128,…]
        [--held]

Each way of sending runs in a process of its own and stamps a frame when it is complete, before it hands it over; the
receiver is that of `usert serve`, in this process, on the same clock. In each round all ways take turns at each size,
kind and transport; p50 / p99 are over all rounds. RF is int16, IQ float32. `copy` is what one copy of the frame's bytes
takes here, the least that a way through another process can cost. `--held` adds how long each call of `usert_send.m`
holds GNU Octave, with the bridge reading beside it. Asserts that the frames of each way are the ones
asked for, and none malformed. The last line is one JSON object.

A way is an entry of `WAYS`: the commands of the processes that send frames to an endpoint which they bind.
"""

from __future__ import annotations

import argparse
import atexit
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from usert.evaluation.markdown import markdown
from usert.frame import Kind, Shape
from usert.machine import cpu_name
from usert.runtime.protocol.age import nearest_rank, now_ns
from usert.runtime.protocol.rf_message import MAX_RF_BYTES, RFMessage
from usert.runtime.transport.receiver import Receiver

SENDERS = Path(__file__).parents[1] / "examples" / "senders"
MATLAB = Path(__file__).parents[1] / "examples" / "matlab"
SHAPES = "512x128,1024x256,1920x768"
TRANSPORTS = ("tcp", "ipc")
WARM_UP = 5
"""Frames of a turn that are left out: connections and memory are new to them."""
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What a way sends, without end, until it is killed."""

    endpoint: str
    """Where it binds."""
    shape: Shape
    kind: Kind
    rate_hz: float
    folder: Path
    """Folder of what was compiled, and for files of a way's own."""
    count: int | None = None
    """Frames from Octave, which then prints how long each call took; None: without end."""

    @property
    def bytes(self) -> int:
        return self.shape[0] * self.shape[1] * (2 if self.kind == "rf" else 8)

    @property
    def options(self) -> list[str]:
        """The options of the example programs."""
        size = "{}x{}".format(*self.shape)
        iq = ["--iq", "--float32"] if self.kind == "iq" else []
        return ["--size", size, "--rate", f"{self.rate_hz:g}", *iq]


def octave(target: str, stream: Stream) -> list[str]:
    """The demonstration of the MATLAB functions, which sends to `target`."""
    kind = "int16" if stream.kind == "rf" else "iq"
    size = "{}, {}".format(*stream.shape)
    count = "Inf" if stream.count is None else stream.count
    call = f"took_s = usert_demo('{target}', {count}, {size}, '{kind}', {1 / stream.rate_hz})"
    return ["octave-cli", "-q", "--norc", "--eval", f"addpath('{MATLAB}'); {call}; printf('%.9f ', took_s)"]


def bridge(way: str, *words: str, stream: Stream) -> list[str]:
    return [sys.executable, "-m", "usert", "bridge", way, *words, "--publish", stream.endpoint]


def octave_tcp(stream: Stream) -> list[list[str]]:
    target = free_endpoint("tcp", stream.folder)
    port = target.rpartition(":")[2]
    return [bridge("tcp", "--port", port, stream=stream), octave(target, stream)]


def octave_shm(stream: Stream) -> list[list[str]]:
    path = f"/dev/shm/usert-latency-{os.getpid()}"
    atexit.register(Path(path).unlink, missing_ok=True)
    return [bridge("shm", path, stream=stream), octave(path, stream)]


WAYS: dict[str, Callable[[Stream], list[list[str]]]] = {
    "python": lambda stream: [
        [sys.executable, f"{SENDERS}/python/speckle.py", stream.endpoint, *stream.options]
    ],
    "c": lambda stream: [[f"{stream.folder}/speckle_c", stream.endpoint, *stream.options]],
    "cpp": lambda stream: [[f"{stream.folder}/speckle_cpp", stream.endpoint, *stream.options]],
    "octave-tcp": octave_tcp,
    "octave-shm": octave_shm,
}
"""Commands of the processes of each way: they start together and are killed together."""
NEEDED = {"octave-tcp": "octave-cli", "octave-shm": "octave-cli"}
"""Programs that a way needs."""
COMPILED = {
    "c": ("cc", "-O2", SENDERS / "c" / "speckle.c", SENDERS / "c" / "usert_sender.c", "-lzmq", "-lm"),
    "cpp": ("c++", "-std=c++17", "-O2", SENDERS / "cpp" / "speckle.cpp", "-lzmq"),
}


class Arrivals:
    """Latency of each frame received, in milliseconds."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._changed = threading.Condition()
        self.latency_ms: list[float] = []
        self.sequences: list[int] = []

    def accept(self, message: RFMessage, arrived_ns: int) -> None:
        frame = message.frame
        assert (frame.shape, frame.scan.kind) == (self._stream.shape, self._stream.kind)
        assert len(self.sequences) != WARM_UP or np.ptp(frame.samples) > 0
        with self._changed:
            self.latency_ms.append((arrived_ns - frame.time_ns) / 1e6)
            self.sequences.append(frame.sequence)
            self._changed.notify()

    def wait_for(self, count: int) -> None:
        with self._changed:
            while len(self.latency_ms) < count:
                if not self._changed.wait(PATIENCE_S):
                    raise AssertionError(f"{self._stream.endpoint}: no frame in {PATIENCE_S:g} s")


@contextmanager
def processes(commands: list[list[str]]) -> Iterator[None]:
    with ExitStack() as stack:
        for command in commands:
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            stack.callback(process.kill)
        yield


def turn(way: str, stream: Stream, frames: int) -> tuple[list[float], int]:
    """Latencies of so many frames, and how many were lost among them."""
    arrivals = Arrivals(stream)
    with processes(WAYS[way](stream)), zmq.Context() as context:
        receiver: Receiver[RFMessage] = Receiver(
            context=context,
            endpoint=stream.endpoint,
            max_bytes=MAX_RF_BYTES,
            decode=RFMessage.from_parts,
            accept=arrivals.accept,
        )
        with receiver:
            arrivals.wait_for(WARM_UP + frames)
            receiver.check()
        assert not receiver.malformed.counts, receiver.malformed.counts
    taken = slice(WARM_UP, WARM_UP + frames)
    sequences = arrivals.sequences[taken]
    return arrivals.latency_ms[taken], sequences[-1] - sequences[0] + 1 - frames


def held_ms(way: str, stream: Stream) -> list[float]:
    """How long each call of `usert_send` held Octave, while the bridge of the way ran."""
    reader, demonstration = WAYS[way](stream)
    with subprocess.Popen(reader, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "rf on" in process.stdout.readline()
            done = subprocess.run(demonstration, capture_output=True, text=True, check=True)
        finally:
            process.kill()
    return [1e3 * float(word) for word in done.stdout.split()[WARM_UP:]]


def free_endpoint(transport: str, folder: Path) -> str:
    if transport == "ipc":
        return f"ipc://{folder}/rf"
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def copy_ms(size: int) -> float:
    """Median time of a copy of so many bytes."""
    source, target, times = np.ones(size, np.uint8), np.ones(size, np.uint8), []
    for _ in range(30):
        begin = now_ns()
        np.copyto(target, source)
        times.append((now_ns() - begin) / 1e6)
    return nearest_rank(sorted(times), 0.5)


def compile_ways(ways: list[str], folder: Path) -> list[str]:
    """Compile those that need it; returns the ways that can be run here."""
    able = []
    for way in ways:
        words = [str(word) for word in COMPILED.get(way, ())]
        needed = NEEDED.get(way, words[0] if words else sys.executable)
        if shutil.which(needed) is None:
            print(f"{way}: left out, no {needed}", file=sys.stderr)
        else:
            if words:
                subprocess.run([*words, "-o", f"{folder}/speckle_{way}"], check=True)
            able.append(way)
    return able


def measure(
    ways: list[str], shapes: list[Shape], options: argparse.Namespace, folder: Path
) -> list[dict[str, Any]]:
    """A row for each size, kind and transport, with p50 and p99 of each way."""
    found: dict[tuple[Shape, Kind, str, str], list[float]] = defaultdict(list)
    lost: dict[tuple[Shape, Kind, str, str], int] = defaultdict(int)
    kinds: tuple[Kind, ...] = ("rf", "iq")
    for number in range(options.rounds):
        turns = ways[number % len(ways) :] + ways[: number % len(ways)]
        for shape, kind, transport, way in itertools.product(shapes, kinds, TRANSPORTS, turns):
            endpoint = free_endpoint(transport, folder)
            stream = Stream(endpoint=endpoint, shape=shape, kind=kind, rate_hz=options.rate, folder=folder)
            latency_ms, missing = turn(way, stream, options.frames)
            found[shape, kind, transport, way] += latency_ms
            lost[shape, kind, transport, way] += missing
            if options.held and way.startswith("octave"):
                stream = replace(
                    stream, count=WARM_UP + options.frames, endpoint=free_endpoint(transport, folder)
                )
                found[shape, kind, transport, f"{way} held"] += held_ms(way, stream)
    rows = []
    for shape, kind, transport in itertools.product(shapes, kinds, TRANSPORTS):
        size = Stream(endpoint="", shape=shape, kind=kind, rate_hz=1, folder=folder).bytes
        row: dict[str, Any] = {"size": "{} × {}".format(*shape), "kind": kind, "MB": size / 1e6}
        row |= {"transport": transport, "copy ms": copy_ms(size)}
        for way in ways:
            for name in (way, f"{way} held"):
                if ordered := sorted(found[shape, kind, transport, name]):
                    row[f"{name} ms"] = [round(nearest_rank(ordered, share), 3) for share in (0.5, 0.99)]
            row[f"{way} lost"] = lost[shape, kind, transport, way]
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows with p50 / p99 in one cell, and the lost frames where there were any."""
    lines = []
    for row in rows:
        texts = {name: "{:.2f} / {:.2f}".format(*row[name]) for name in row if isinstance(row[name], list)}
        lines.append(
            {name: texts.get(name, value) for name, value in row.items() if value or "lost" not in name}
        )
    return markdown(lines)


def shape_of(text: str) -> Shape:
    rows, _, lines = text.partition("x")
    return int(rows), int(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=60, help="frames of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=20.0, help="frames a second")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--held", action="store_true", help="also how long usert_send.m holds GNU Octave")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways = compile_ways(options.ways.split(","), folder)
        rows = measure(ways, [shape_of(text) for text in options.shapes.split(",")], options, folder)
    print(table(rows))
    print(json.dumps({"cpu": cpu_name(), "rate_hz": options.rate, "rows": rows}))


if __name__ == "__main__":
    main()

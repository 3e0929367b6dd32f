"""What a sender that misbehaves does to a live server: killed, stalled, half-sent, lying, and every kind of mess.

`usert serve` with its default engine, one thread, lag 1; a simulated scanner that always moves (10 frames a second of
256 x 64), and a viewer. `live again` is from the end of the fault to the arrival of a live image of a frame received
after it; of a mess, which goes wrong again and again, the longest pause between two live images meanwhile, and of
`none` the same where nothing goes wrong. One frame is 100 ms. `told` is the newest line of the server's log on it;
`right` says whether its counts at the end balance and are exactly those of what was sent.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from fault_rows import fault_rows
from observer import SeenImage
from source_process import period
from stage import RATE_HZ, SHAPES, Stage
from zmtp import greeting, part, ready

from usert.analytic import envelope
from usert.frame import RFFrame
from usert.runtime.clients.frame_sender import FrameSender
from usert.runtime.protocol.age import now_ns
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.sources.mess import MESSES, Mess
from usert.runtime.sources.messy_replay import MessyReplay
from usert.runtime.sources.replay import ReplayConfig

_FAULT_S = 5.0
_MESSY_FRAMES = 150
_STREAM = "benchmark"
"""Name of the stage's scanner, which a liar takes over."""
_LONGEST_LINE = 160
Lie = Callable[[RFFrame], dict[str, Any]]
"""A frame that is due now, as the arguments of `FrameSender.send` that lie about it."""


def told(stage: Stage, pattern: str) -> str:
    """The newest line of the server's log with `pattern`, without its time."""
    lines = [line for line in stage.server.errors.splitlines() if re.search(pattern, line)]
    assert lines, f"the server logged no {pattern!r}"
    line = lines[-1][lines[-1].index(re.search(pattern, lines[-1])[0]) :]  # type: ignore[index]
    return line[:_LONGEST_LINE]


def stalls() -> dict[str, Any]:
    """`SIGSTOP` for 5 s, and on."""
    with Stage() as stage:
        os.kill(stage.source.pid, signal.SIGSTOP)
        since = stage.pause(_FAULT_S)
        os.kill(stage.source.pid, signal.SIGCONT)
        ms = stage.again(since)
        stage.steady()
        row = {
            "fault": "scanner stalled 5 s",
            "live again (ms)": ms,
            "told": "clients: the age of the image grows",
        }
        return row | stage.close_books((stage.source,), sessions=1, lost=0)


def killed() -> dict[str, Any]:
    """`kill -9` amid its frames, and another of the same name that counts from 0."""
    with Stage() as stage:
        other = stage.add_source(stage.server.rf)
        stage.source.kill()
        stage.pause(1.0)
        stage.source = other
        since = now_ns()
        other.order(rate_hz=RATE_HZ)
        ms = stage.again(since)
        stage.steady()
        row = {
            "fault": "scanner killed, restarted",
            "live again (ms)": ms,
            "told": told(stage, "session 2: "),
        }
        return row | stage.close_books((), sessions=2)


@contextmanager
def half_sent(stage: Stage) -> Iterator[socket.socket]:
    """A connection on which one message of the scanner's name began: its header, and half of its samples."""
    host, port = stage.server.rf.removeprefix("tcp://").rsplit(":", 1)
    frame = replace(period("press", SHAPES[0])[0], sequence=10**6, time_ns=now_ns())
    header, samples = (bytes(some) for some in RFMessage(frame=frame, stream=_STREAM, clock="").to_parts())
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(greeting() + ready(b"PUSH") + part(header, more=True))
        whole = part(samples, more=False)
        connection.sendall(whole[: len(whole) // 2])
        yield connection


def half_message(ends: bool) -> dict[str, Any]:
    """Another connection stops amid a message: it stays open, or it is reset. The scanner sends on."""
    with Stage() as stage:
        begin = len(stage.viewer.seen)
        with half_sent(stage) as connection:
            if ends:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                stage.pause(_FAULT_S)
        since = now_ns()
        stage.again(since)
        stage.steady()
        row = {
            "fault": f"half a message, then {'the connection is reset' if ends else '5 s of silence'}",
            "live again (ms)": longest_pause_ms(stage.viewer.seen[begin:]),
            "told": "nothing came: ZeroMQ drops what is not whole",
        }
        return row | stage.close_books((stage.source,), sessions=1, lost=0)


def two_of_a_name() -> dict[str, Any]:
    """A second scanner of the same name for 5 s, on the same endpoint."""
    with Stage() as stage:
        other = stage.add_source(stage.server.rf)
        other.order(rate_hz=RATE_HZ)
        stage.pause(_FAULT_S)
        other.rest()
        since = now_ns()
        ms = stage.again(since)
        stage.steady()
        row = {
            "fault": "two scanners of one name 5 s",
            "live again (ms)": ms,
            "told": told(stage, r"session \d+: .*after"),
        }
        return row | stage.close_books(())


def mess(names: tuple[str, ...]) -> dict[str, Any]:
    """What `usert replay --mess` does, in the place of the scanner, which then sends on."""
    frames = period("press", SHAPES[0])
    with Stage() as stage:
        last = stage.source.rest().last
        stage.viewer.rest(1.0)
        sent = Mess(names, seed=1, every=8, stream=_STREAM)
        config = ReplayConfig(
            endpoint=stage.server.rf,
            socket_type="push",
            bind=False,
            rate_hz=RATE_HZ,
            count=_MESSY_FRAMES,
            stream=_STREAM,
        )
        begin = len(stage.viewer.seen)
        dropped = stage.viewer.seen[-1].counters["dropped"]
        with MessyReplay(lambda: itertools.cycle(frames), config, sent) as replay:
            replay.run()
        stage.viewer.rest(1.0)
        seen = stage.viewer.seen[begin:]
        bad = sent.counts["nan"] + sent.counts["blank"]
        row = {
            "fault": f"mess: {', '.join(f'{name} {n}' for name, n in sorted(sent.counts.items())) or 'none'}",
            "live again (ms)": longest_pause_ms(seen),
            "told": told(stage, _LOGGED.get(names[0], r"session \d+: ")) if len(names) == 1 else "",
        }
        expected = {
            name: n for name, n in sent.expected.items() if name != "clock_jumps"
        }  # not in the summary
        expected |= {
            "received": last + 1 + sent.expected["received"],
            "sessions": 1 + sent.expected["sessions"],
            # as the current frame of a pair, and as the reference of the next; one that is dropped fails in none
            "failed": range(2 * bad + 1) if seen[-1].counters["dropped"] > dropped else 2 * bad,
        }
        return row | stage.close_books((), **expected)


_LOGGED = {
    "bmode": r"malformed message \(field\)",
    "half": r"malformed message \(size\)",
    "nan": r"no image \(FrameError\)",
    "blank": r"no image \(FrameError\)",
    "clock": r"session \d+: .*clock jumped",
    "roi": r"session \d+: .*shape changed",
    "depth": r"session \d+: .*shape changed",
    "restart": r"session \d+: .*started again",
}


def longest_pause_ms(seen: list[SeenImage]) -> float:
    """The longest time between two live images that follow one another."""
    live = [image.arrived_ns for image in seen if image.state == "live"]
    return max(b - a for a, b in pairwise(live)) / 1e6


def lie(name: str, about: Lie, pattern: str) -> dict[str, Any]:
    """A sender that lies from its first frame on, for 5 s in the place of the scanner, which then sends on."""
    frames = period("press", SHAPES[0])
    with Stage() as stage:
        stage.source.rest()
        sender = FrameSender(stage.server.rf, stream=_STREAM, socket_type="push", bind=False)
        with sender:
            assert sender.wait_for_receiver(10)
            for k in range(round(_FAULT_S * RATE_HZ)):
                stage.pause(1 / RATE_HZ)
                frame = replace(frames[k % len(frames)], sequence=k, time_ns=now_ns())
                sender.send(**{"scan": frame.scan, "sequence": frame.sequence, **about(frame)})
        line = told(stage, pattern)
        since = now_ns()
        stage.source.order(rate_hz=RATE_HZ)
        ms = stage.again(since)
        stage.steady()
        row = {"fault": f"lie: {name} 5 s", "live again (ms)": ms, "told": line}
        return row | stage.close_books(())


LIES: dict[str, tuple[str, Lie, str]] = {
    "lie-bytes": ("samples big-endian", lambda f: {"samples": f.samples.byteswap()}, "bytes in the other order"),
    "lie-bmode": (
        "envelopes told to be RF",
        lambda f: {"samples": envelope(f.samples).astype(np.float32)},
        "looks like B-mode",
    ),
    "lie-time": (
        "time_ns in microseconds",
        lambda f: {"samples": f.samples, "time_ns": f.time_ns // 1000},
        "looks like microseconds",
    ),
    "lie-f0": (
        "f0 half of what it is",
        lambda f: {"samples": f.samples, "scan": replace(f.scan, f0_hz=f.scan.f0_hz / 2)},
        "of the energy along depth",
    ),
}  # fmt: skip
FAULTS: dict[str, Callable[[], dict[str, Any]]] = {
    "killed": killed,
    "stalled": stalls,
    "half-stalled": lambda: half_message(ends=False),
    "half-killed": lambda: half_message(ends=True),
    "two": two_of_a_name,
    **{name: (lambda told=told: lie(*told)) for name, told in LIES.items()},  # type: ignore[misc]
    "none": lambda: mess(()),
    **{f"mess-{name}": (lambda name=name: mess((name,))) for name in MESSES},  # type: ignore[misc]
    "mess-all": lambda: mess(tuple(MESSES)),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faults", default=",".join(FAULTS), help="commas between them")


def run(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row for each fault; what went wrong at one stands in its row, and the others go on."""
    columns = ("fault", "live again (ms)", "told", "counters", "right")
    return {"rows": fault_rows(FAULTS, options.faults.split(","), columns)}

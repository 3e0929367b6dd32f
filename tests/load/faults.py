"""What goes wrong around a live server, and how long until the next live image after it has ended.

`usert serve` with its default engine, one thread, lag 1; a simulated scanner that always moves (10 frames a second of
256 x 64), and a viewer. `live again` is from the end of the fault to the arrival of a live image of a frame received
after it; one frame is 100 ms. `right` says whether the counts at the end balance and are those expected. `disk-full`
needs root, for a small file system of its own.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from engine_fault import engine_fault
from fault_rows import fault_rows
from observer import ObserverProcess
from record_faults import disk_full, disk_refuses, server_killed, server_replaced
from relay import Way
from stage import SHAPES, Stage

from usert.runtime.protocol.age import now_ns

_FAULT_S = 5.0
_JUMP_S = 100
_FLAT_MB = 16.0
"""More than two images and the buffers of a socket."""


def scanner_restarts() -> dict[str, Any]:
    """`kill -9`, and another with the same name; its frames count from 0 again."""
    with Stage() as stage:
        other = stage.add_source(stage.server.rf)
        stage.source.kill()
        stage.pause(2.0)
        stage.source = other
        since = now_ns()
        other.order(rate_hz=10.0)
        ms = stage.again(since)
        return {"fault": "scanner killed, restarted", "live again (ms)": ms} | stage.close_books(
            (), sessions=2
        )


def viewer_stalls() -> dict[str, Any]:
    """One of two viewers is stopped: the other must not notice, nor the server's memory."""
    with Stage() as stage:
        stalled = stage.add(ObserverProcess(stage.server.publish))
        stage.steady()
        before_mb, begin = stage.server.vitals.rss_mb, len(stage.viewer.seen)
        os.kill(stalled.pid, signal.SIGSTOP)
        stage.pause(2 * _FAULT_S)
        others = stage.viewer.seen[begin:]
        grown_mb = stage.server.vitals.rss_mb - before_mb
        since = now_ns()
        os.kill(stalled.pid, signal.SIGCONT)
        stage.pause(_FAULT_S)
        first = next(image for image in stalled.end() if image.state == "live" and image.received_ns > since)
        row = {
            "fault": "viewer stalled 10 s",
            "live again (ms)": (first.arrived_ns - since) / 1e6,
        } | stage.close_books((stage.source,), sessions=1)
    gap_ms = max(b.arrived_ns - a.arrived_ns for a, b in pairwise(others)) / 1e6
    row["notes"] = f"others: {len(others)} images, at most {gap_ms:.0f} ms apart; server {grown_mb:+.1f} MB"
    if grown_mb > _FLAT_MB:
        row["right"] = f"memory {grown_mb:+.1f} MB"
    return row


def link_cut(end: str, way: Way) -> dict[str, Any]:
    """For 5 s: the connection is closed, or nothing passes."""
    with Stage(cut=end) as stage:
        stage.relay.way = way
        since = stage.pause(_FAULT_S)
        stage.relay.way = "passing"
        ms = stage.again(since)
        stage.steady()
        row = {"fault": f"{end} link {way} 5 s", "live again (ms)": ms}
        return row | stage.close_books((stage.source,), sessions=1)


def clock_jumps(seconds: int) -> dict[str, Any]:
    """The scanner's clock."""
    with Stage() as stage:
        since = now_ns()
        stage.source.order(jump_ns=seconds * 1_000_000_000)
        ms = stage.again(since, lambda image: image.session == 2)
        row = {"fault": f"clock jumps by {seconds:+d} s", "live again (ms)": ms}
        return row | stage.close_books((stage.source,), sessions=2, lost=0)


def shape_changes() -> dict[str, Any]:
    """The depth is moved, to a shape that the engine has not seen, and back."""
    with Stage() as stage:
        since = now_ns()
        stage.source.order(shape=SHAPES[1])
        there = stage.again(since, lambda image: image.shape == SHAPES[1])
        stage.steady()
        since = now_ns()
        stage.source.order(shape=SHAPES[0])
        back = stage.again(since, lambda image: image.shape == SHAPES[0])
        row = {"fault": "shape changes", "live again (ms)": there, "notes": f"back: {back:.0f} ms"}
        return row | stage.close_books((stage.source,), sessions=3, lost=0)


FAULTS: dict[str, Callable[[], dict[str, Any]]] = {
    "scanner": scanner_restarts,
    "kill": server_killed,
    "standby": server_replaced,
    "stall": viewer_stalls,
    "rf-closed": lambda: link_cut("rf", "closed"),
    "rf-silent": lambda: link_cut("rf", "silent"),
    "viewer-closed": lambda: link_cut("viewer", "closed"),
    "viewer-silent": lambda: link_cut("viewer", "silent"),
    "clock-on": lambda: clock_jumps(_JUMP_S),
    "clock-back": lambda: clock_jumps(-_JUMP_S),
    "shape": shape_changes,
    "engine": engine_fault,
    "disk-full": disk_full,
    "disk-refuses": disk_refuses,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faults", default=",".join(FAULTS), help="commas between them")


def run(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row for each fault; what went wrong at one stands in its row, and the others go on."""
    columns = ("fault", "live again (ms)", "counters", "right", "record", "notes")
    return {"rows": fault_rows(FAULTS, options.faults.split(","), columns)}

"""Messages of a sender and the report on them, at times that are made up: no socket, and no clock but a test's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage
from usert.testing.check import Check, Report
from usert.testing.sender_check import SenderCheck

PERIOD_NS = 33_333_333
START_NS = 5 * 10**12
WALL_NS = 1_795_000_000 * 10**9
SCANNER = SimulatedScanner(ScannerConfig(shape=(256, 32)), seed=1)
FRAMES = [SCANNER.frame(k) for k in range(6, 14)]
Parts = list[bytes]


def good_frame(k: int) -> RFFrame:
    return replace(
        FRAMES[k % len(FRAMES)],
        sequence=k,
        time_ns=START_NS + k * PERIOD_NS,
        acquired_ns=WALL_NS + k * PERIOD_NS,
    )


def parts_of(frame: RFFrame, stream: str = "probe", clock: str | None = None) -> Parts:
    message = RFMessage(frame=frame, stream=stream, clock=clock_id() if clock is None else clock)
    return [bytes(part) for part in message.to_parts()]


def report_of(messages: list[Parts], *, late_ns: Callable[[int], int] = lambda k: 2_000_000) -> Report:
    """The report on messages of which number k arrives `late_ns(k)` after it was complete."""
    check = SenderCheck()
    for k, parts in enumerate(messages):
        check.take(parts, START_NS + k * PERIOD_NS + late_ns(k))
    return check.report("tcp://scanner:1", wall_ns=WALL_NS + len(messages) * PERIOD_NS)


def run_of(change: Callable[[RFFrame], RFFrame] = lambda frame: frame, count: int = 40) -> list[Parts]:
    return [parts_of(change(good_frame(k))) for k in range(count)]


def with_header(count: int = 40, **changes: Any) -> list[Parts]:
    """Messages with keys of the header replaced by a value or by a function of the number, None: left out."""
    made = []
    for k, (header, *rest) in enumerate(run_of(count=count)):
        fields = json.loads(header)
        for key, value in changes.items():
            fields[key] = value(k) if callable(value) else value
            if fields[key] is None:
                del fields[key]
        made.append([json.dumps(fields).encode(), *rest])
    return made


def failures(report: Report) -> dict[str, Check]:
    return {check.name: check for check in report.failures}

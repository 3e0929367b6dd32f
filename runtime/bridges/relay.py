"""Frames that came without ZeroMQ, checked like those of the server and sent on to it.

Invariant: what is sent on has passed the checks of the server; whatever has not is counted, and each distinct
fault is logged at once, its repeats at most once a minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack

from usert.frame import Scan, Shape

from ..clients.frame_sender import FrameSender
from ..protocol.age import clock_id, now_ns
from ..protocol.header import Buffer, MalformedError
from ..protocol.rf_message import RFMessage
from ..transport.fault_counter import FaultCounter, by_kind
from ..transport.keys import ServerKeys
from .column_order import read_message

_MOST_DELAY_NS = 10_000_000_000
"""Difference of two wall-clock times beyond which the clock was set in between."""
_NOTE_S = 1.0
_MOST_STREAMS = 64

log = logging.getLogger(__name__)


def frame_line(shape: tuple[int, ...], scan: Scan) -> str:
    """Size and geometry of frames, for a person; `shape` begins with that of a frame, (N, M)."""
    return (
        f"{shape[0]} samples by {shape[1]} lines{' of IQ' * (scan.kind == 'iq')}, fs {scan.fs_hz / 1e6:.4g} MHz, "
        f"line pitch {scan.line_pitch_mm:.4g} mm"
    )


class Relay:
    """Checks messages and sends their frames on, between `open` and the end of its stack."""

    def __init__(
        self, publish: str, keys: ServerKeys | None, report: Callable[[str], None], *, insecure: bool
    ) -> None:
        """`publish`: the endpoint to bind. `report` is called with a line when a stream's geometry changes.

        Errors: `OptionError` for an endpoint that other machines can reach without keys, unless `insecure`.
        """
        self.sender = FrameSender(publish, keys=keys, insecure=insecure)
        self._report = report
        self._noted: dict[str, tuple[Shape, Scan]] = {}
        self._note_s = -_NOTE_S
        self.faults = FaultCounter(log, "malformed message")
        """Messages that were not sent on, by kind."""

    def open(self, stack: ExitStack) -> None:
        """Bind the endpoint; `stack` closes it."""
        stack.enter_context(self.sender)

    @property
    def summary(self) -> str:
        """Numbers of frames, for a person."""
        sender, faults = self.sender, by_kind(self.faults.counts)
        return f"frames sent {sender.sent}, dropped {sender.dropped}; malformed {faults}"

    def take(self, header: Buffer, samples: Buffer, arrived_ns: int) -> None:
        """Send a message on, or count its fault.

        `samples` must not change any more. `arrived_ns`: when the message began to arrive, by `now_ns`.
        """
        try:
            message = read_message(header, samples)
        except MalformedError as error:
            self.faults.add(error.fault, str(error))
            return
        frame = message.frame
        self._note(message.stream, frame.shape, frame.scan)
        time_ns, self.sender.clock = _completed(message, arrived_ns)
        self.sender.stream = message.stream
        self.sender.send(
            frame.samples,
            frame.scan,
            sequence=frame.sequence,
            time_ns=time_ns,
            acquired_ns=frame.acquired_ns or None,
            copy=False,
        )

    def _note(self, stream: str, shape: Shape, scan: Scan) -> None:
        """Report a new geometry, at most one a second."""
        now_s = time.monotonic()
        if self._noted.get(stream) == (shape, scan) or now_s - self._note_s < _NOTE_S:
            return
        if len(self._noted) >= _MOST_STREAMS:
            self._noted.clear()
        self._noted[stream], self._note_s = (shape, scan), now_s
        self._report(f"frames of stream {stream!r}: {frame_line(shape, scan)}")


def _completed(message: RFMessage, arrived_ns: int) -> tuple[int, str]:
    """When the frame of `message` was complete, and the name of the clock that this is read from.

    A sender with a monotonic clock states both. Of one that has the wall clock alone, and shows by the name of this
    machine's clock that it is on this machine, it is the time since `acquired_ns` ago, unless that is in the future or
    long past. Of any other frame it is the arrival, by a clock without a name, so that ages are lower bounds; where
    both kinds alternate, each change begins a session.
    """
    frame = message.frame
    if frame.time_ns:
        return frame.time_ns, message.clock
    if message.clock != clock_id():
        return arrived_ns, ""
    delay_ns = time.time_ns() - frame.acquired_ns
    known = 0 <= delay_ns < min(_MOST_DELAY_NS, now_ns())
    return (now_ns() - delay_ns, message.clock) if known else (arrived_ns, "")

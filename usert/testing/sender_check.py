"""The check of a sender, message by message as they come, and of all of them at the end.

Knows messages and the times of their arrival, no socket. Invariant: memory does not grow with the samples: a few frames
of each source are kept, and of the others numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.frame import RFFrame, Scan
from usert.runtime.protocol.header import Buffer
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.server.session_tracker import SessionTracker
from usert.signal_check import SignalKind, check_axes, check_frames, check_motion, for_header

from .check import Check, Report, failed, few, not_checked, passed
from .message_faults import Fault, message_faults
from .timeline import Stamp, timeline_checks

CHECKS = (
    *("message", "header", "geometry", "samples", "format", "sessions", "values", "signal", "motion"),
    *("sequence", "clock", "time_ns", "acquired_ns", "rate", "age"),
)
"""Names of the checks, in the order of a report."""
_KEPT = 9
"""Frames of a source whose samples are looked at."""
_FAULTS = 6
"""Different faults of one check that are told."""
_SOURCES = 8
_SESSIONS_SHARE = 0.1
"""Frames that begin a session, of all, from which it is too many."""
_STUCK_SHARE = 0.5
_SPARSE = 16
_PASSED = {
    "message": "two parts, version 1, kind rf",
    "header": "every key is there, of its type",
    "geometry": "within what scanners have",
    "samples": "as many bytes as shape and dtype say",
}
_REMEDIES: Mapping[SignalKind, str] = {
    "picture": "send RF or IQ, before envelope detection",
    "demodulated": "send IQ as [N, M, 2] with demodulation_hz",
    "iq_turns": "send IQ as [N, M, 2] with demodulation_hz, I and Q of a sample side by side",
    "no_quadrature": "I and Q must be in quadrature; of RF leave demodulation_hz out",
    "carrier": "send the real part as RF, without demodulation_hz; or turn it down to baseband",
    "lines_first": "transpose: row 0 nearest the probe, a row holds one sample of each line",
    "byte_order": "swap the bytes of each sample: little-endian",
    "offset": "subtract the middle of the samples",
    "unsigned": "subtract 32768 from the unsigned samples, and send them as int16",
    "f0": "f0_hz, fs_hz or demodulation_hz is not that of these samples",
}


class SenderCheck:
    """Takes the messages of a sender in order of arrival; `report` may be called at any time after."""

    def __init__(self) -> None:
        self.messages = 0
        """Messages taken so far."""
        self._faults: dict[tuple[str, str, str], tuple[Fault, list[int]]] = {}
        """By what differs in more than a value: the first fault, how often it came, and in which message first."""
        self._sources: dict[str, _Source] = {}
        self._first_ns = self._last_ns = 0

    def take(self, parts: Sequence[Buffer], arrived_ns: int) -> None:
        """Look at the next message, which arrived at `arrived_ns` of this machine's monotonic clock."""
        self.messages += 1
        self._first_ns, self._last_ns = self._first_ns or arrived_ns, arrived_ns
        faults, header = message_faults(parts)
        for fault in faults:
            self._count(fault)
        name = header.get("stream")
        source = self._source(name if type(name) is str else "")
        if source is None:
            return
        source.note(header, arrived_ns)
        if not faults:
            source.take(RFMessage.from_parts(parts), arrived_ns)

    def report(self, endpoint: str, *, wall_ns: int | None = None) -> Report:
        """All that can be said of the messages so far; `wall_ns`: of the last arrival, None: now."""
        checks = [*self._message_checks()]
        for name, source in self._sources.items():
            checks += source.checks(name, wall_ns)
        if len(self._sources) > 1:
            names = few([repr(name) for name in self._sources])
            checks.append(passed("stream", f"{len(self._sources)} sources: {names}"))
        seconds = (self._last_ns - self._first_ns) / 1e9
        return Report(endpoint=endpoint, messages=self.messages, seconds=seconds, checks=tuple(checks))

    def _source(self, name: str) -> _Source | None:
        """What is kept of a source; None for one too many."""
        if name in self._sources or len(self._sources) < _SOURCES:
            return self._sources.setdefault(name, _Source())
        fault = Fault(
            "header",
            f"header: stream: got more than {_SOURCES} names, expected one for each scanner",
            "one source keeps one name",
        )
        self._count(fault)
        return None

    def _count(self, fault: Fault) -> None:
        key = fault.check, fault.found.partition(": got ")[0], fault.remedy
        self._faults.setdefault(key, (fault, [0, self.messages]))[1][0] += 1

    def _message_checks(self) -> Iterator[Check]:
        for name, good in _PASSED.items():
            found = [(fault, counted) for fault, counted in self._faults.values() if fault.check == name]
            for fault, (times, first) in found[:_FAULTS]:
                where = f"{times} of {self.messages} messages, first in number {first}"
                yield failed(name, f"{fault.found} ({where})", fault.remedy)
            if len(found) > _FAULTS:
                yield failed(name, f"{len(found) - _FAULTS} other faults", "docs/protocol.md")
            if not found:
                yield passed(name, good)


class _Source:
    """What is kept of the frames of one source."""

    def __init__(self) -> None:
        self._stamps: list[Stamp] = []
        self._sessions = SessionTracker(lambda: 0)
        self._reasons: dict[str, list[Any]] = {}
        """By what changed: the first reason, and how often it was one like it."""
        self._kept: list[NDArray[Any]] = []
        self._scan: Scan | None = None
        """Geometry of those that are kept."""
        self._formats: Counter[str] = Counter()
        self._frames = self._not_finite = self._blank = self._repeated = 0
        self._last: NDArray[Any] | None = None

    def note(self, header: Mapping[str, Any], arrived_ns: int) -> None:
        """Keep sequence and times of a message, where its header has them."""
        numbers = [header.get(key) for key in ("sequence", "time_ns", "acquired_ns")]
        sequence, time_ns, acquired_ns = (n if type(n) is int and 0 <= n < 1 << 63 else None for n in numbers)
        clock = header.get("clock")
        if sequence is not None:
            stated = clock if type(clock) is str else ""
            self._stamps.append(Stamp(sequence, time_ns or 0, acquired_ns or 0, stated, arrived_ns))

    def take(self, message: RFMessage, arrived_ns: int) -> None:
        """Look at the samples of a well-formed message."""
        frame = message.frame
        self._frames += 1
        rows, lines = frame.shape
        self._formats[f"{frame.scan.kind.upper()} {rows} x {lines} {frame.samples.dtype}"] += 1
        before = self._sessions.counts["sessions"]
        self._sessions.admit(message, arrived_ns)
        if before and self._sessions.counts["sessions"] > before:
            reason = self._sessions.reason
            self._reasons.setdefault(reason.partition(" from ")[0], [reason, 0])[1] += 1
        if not np.isfinite(frame.samples).all():
            self._not_finite += 1
        elif frame.samples.min() == frame.samples.max():
            self._blank += 1
        else:
            self._look(frame)

    def _look(self, frame: RFFrame) -> None:
        sparse = frame.samples[::_SPARSE].copy()
        self._repeated += self._last is not None and np.array_equal(sparse, self._last)
        self._last = sparse
        if len(self._kept) < _KEPT and (self._scan is None or self._same_format(frame)):
            self._scan = frame.scan
            self._kept.append(frame.samples.copy())

    def _same_format(self, frame: RFFrame) -> bool:
        return frame.scan == self._scan and frame.samples.shape == self._kept[0].shape

    def checks(self, stream: str, wall_ns: int | None) -> list[Check]:
        """The checks of this source."""
        if self._frames == 0 and len(self._stamps) < 2:
            return []
        unread = not_checked("signal", "no message is well-formed", "mend what failed above, and check again")
        found = list(self._sample_checks()) if self._frames else [unread]
        if len(self._stamps) > 1:
            found += timeline_checks(self._stamps, wall_ns)
        return [replace(check, stream=stream) for check in found]

    def _sample_checks(self) -> Iterator[Check]:
        yield passed("format", few([f"{name} ({times})" for name, times in self._formats.most_common()], 3))
        yield self._session_check()
        bad = {"NaN or infinite": self._not_finite, "all the same": self._blank}
        told = [f"{times} of {self._frames} frames are {what}" for what, times in bad.items() if times]
        if told:
            yield failed(
                "values", f"samples: {', '.join(told)}", "send numbers; leave a frame without echoes out"
            )
        elif self._repeated > _STUCK_SHARE * self._frames:
            yield failed(
                "values",
                f"samples: {self._repeated} of {self._frames} frames are those of the frame before",
                "send each frame's own samples: is the buffer the scanner's newest one?",
            )
        else:
            yield passed("values", "finite, and new in each frame")
        yield from self._signal_checks()

    def _session_check(self) -> Check:
        reasons = sorted(self._reasons.values(), key=lambda counted: -counted[1])
        changes = sum(times for _, times in reasons)
        told = few([f"{reason} ({times})" for reason, times in reasons], 3)
        if changes > 1 and changes > _SESSIONS_SHARE * self._frames:
            return failed(
                "sessions",
                f"sessions: {changes} of {self._frames} frames begin one, and have no image: {told}",
                "keep stream, clock, dtype, shape and geometry while the scanner does",
            )
        return passed("sessions", f"{changes} changes: {told}" if changes else "one: nothing changed")

    def _signal_checks(self) -> Iterator[Check]:
        scan = self._scan
        if scan is None:
            yield not_checked("signal", "no frame with numbers that differ")
            return
        signal = check_frames(self._kept, scan)
        if signal.kind == "iq":
            signal = check_axes(self._kept, scan)
        if not signal.judged:
            remedy = "hold the probe on tissue or a phantom, and check again"
            yield not_checked("signal", signal.line or f"{signal.kind}: nothing to judge by", remedy)
        elif signal.line:
            yield failed(
                "signal", f"signal: {for_header(signal.line)}", _REMEDIES.get(signal.kind, "docs/scanners.md")
            )
        else:
            yield passed("signal", f"looks like {scan.kind.upper()} of the frequencies told")
        if signal.kind == "iq":
            if line := check_motion(self._kept, scan):
                yield failed(
                    "motion", f"motion: {for_header(line)}", "demodulation_hz, fs_hz, or the sign of Q"
                )
            else:
                yield passed("motion", "nothing against the demodulation frequency")

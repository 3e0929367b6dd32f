"""One engine behind real sockets: a scanner process, a `usert serve` process, and a client here.

Latency is the age of an image on arrival, counted from when its frame was due. An image that repeats an older one
(`held`) is left out. Invariant: all processes end with the `with` block, and where no image comes for too long the
error says which part is silent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import zmq

from usert.errors import EngineError
from usert.frame import RFFrame

from ..engines.concurrency import chosen
from ..imaging.estimate import Estimate
from ..protocol.strain_message import MAX_STRAIN_BYTES, StrainMessage
from ..sources.child_process import ChildProcess
from ..transport.lifecycle import Service
from ..transport.receiver import Receiver
from .image_times import STAGES, ImageTimes
from .monitor_client import MonitorClient, SilentError
from .scanner import Scanner
from .worker import Frame, Memory, Opened, Variant, gpu_mb_since, resident_mb
from .workload import LEAST_RUNS, OVERTIME, Measurement, Workload

PATIENCE_S = 10.0
"""How long no image may come; or `_PATIENT_FRAMES` times the slowest recent pair, where that is longer."""
_PATIENT_FRAMES = 5
_LOOPBACK = "tcp://127.0.0.1:0"
_FIRST_RATE_HZ = 10.0
_QUIET_S = 1.0
"""After this silence no further image is expected of the frames sent."""
_POLL_S, _ASK_S = 0.005, 1.0
_MOST_BATCHES = 20
"""Batches sent at most until a measurement has enough images, where the engine is slow."""


class LiveServer(Service):
    """A server with scanner and client: `with LiveServer(variant, frames=...) as server: server.measure(workload)`."""

    def __init__(
        self,
        variant: Variant,
        *,
        frames: Sequence[RFFrame] = (),
        rf: str | None = None,
        insecure: bool = False,
        every_frame: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`frames`: one period of the simulated scanner; or `rf`: address at which the user's own scanner publishes."""
        super().__init__()
        self.variant = variant
        self._frames = frames
        self._rf = rf
        self._insecure = insecure
        self._every_frame = every_frame
        self._patience_s = patience_s
        self._seen: list[ImageTimes] = []
        self._rss_mb: list[float] = []
        self._read_s = -math.inf
        self._newest: StrainMessage | None = None
        self.pair: tuple[Frame, Frame] | None = None
        """The frames that `opened.answer` was estimated from; None where they are not known."""

    def _open(self, stack: ExitStack) -> None:
        """Start all and wait for images. Errors: `EngineError` for a server that ends, or where no image comes."""
        begin, self._gpu_before_mb = time.monotonic(), gpu_mb_since() or 0.0
        self._server = stack.enter_context(ChildProcess(self._command()))
        rf = self._line(r"rf on (\S+)")
        strain = self._line(r"strain on (\S+)")
        self._monitor = MonitorClient(self._line(r"monitor on http://(\S+?)/?$"))
        runs_on = self._line(r"serve: (.+), lag \S+; Ctrl-C ends")
        context = stack.enter_context(zmq.Context())
        self._receiver: Receiver[StrainMessage] = Receiver(
            context=context,
            endpoint=strain,
            max_bytes=MAX_STRAIN_BYTES,
            decode=StrainMessage.from_parts,
            accept=self._accept,
        )
        stack.enter_context(self._receiver)
        self._scanner = None if self._rf else stack.enter_context(Scanner(rf, self._frames))
        self._until_images_come()
        self._server.errors.clear()  # what it said while it opened explains no later silence
        warm_up_s = time.monotonic() - begin
        image = self._one_image()
        if self._frames:
            reference, current = (
                self._frames[stamp.sequence % len(self._frames)] for stamp in (image.reference, image.current)
            )
            self.pair = reference.samples, current.samples
        self.variant = replace(self.variant, shape=self.variant.shape or image.shape)
        self.opened = Opened(
            runs_on=runs_on,
            warm_up_s=warm_up_s,
            first_ms=self._seen[-1].age_ms,
            answer=Estimate(displacement=image.displacement, strain=image.strain, quality=image.quality),
            at_once=chosen(
                self.variant.at_once if "cpu" in runs_on.lower() else 1,
                threads=self.variant.threads,
                shape=image.shape,
            ),
        )

    @property
    def ages_exact(self) -> bool:
        """Whether ages are exact; otherwise the source has another clock, and they are lower bounds."""
        return all(image.exact for image in self._seen)

    def measure(self, workload: Workload) -> Measurement:
        """Send the frames of `workload` and measure. Errors: `EngineError`, as on entering.

        After a `SilentError` it may be called again.
        """
        if self._scanner is not None and not self._scanner.done():
            self._skip_rest(self._scanner)
            self._wait(lambda: False, quiet_s=_QUIET_S)
        if workload.pause_s:
            time.sleep(workload.pause_s)
        dropped, before, read = self._seen[-1].counters.dropped, self._monitor.read(), len(self._rss_mb)
        images, waiting = self._images(workload)
        after = self._monitor.read()
        parts = [image.stages_ms(after.publish_ms(before)) for image in images[1:]]
        return Measurement(
            lead_ms=images[0].age_ms,
            latency_ms=tuple(image.age_ms for image in images[1:]),
            engine_ms=tuple(part["engine"] for part in parts),
            dropped=images[-1].counters.dropped - dropped,
            missing=images[-1].sequence - images[0].sequence - len(images) + 1,
            waiting=waiting,
            seconds=(images[-1].arrived_ns - images[0].arrived_ns) / 1e9,
            cpu_s=after.used_s(before),
            stages_ms={
                name: tuple(part[name] for part in parts if name in part)
                for name in STAGES
                if any(name in part for part in parts)
            },
            rss_mb=tuple(self._rss_mb[read:]),
        )

    def memory(self) -> Memory:
        """Memory in use by the server now."""
        return Memory(
            rss_mb=resident_mb(self._server.pid, peak=True), gpu_mb=gpu_mb_since(self._gpu_before_mb)
        )

    def _command(self) -> list[str]:
        variant = self.variant
        source = ["--rf", self._rf] if self._rf else ["--rf", _LOOPBACK, "--rf-type", "pull", "--rf-bind"]
        at_once = () if variant.at_once is None else ("--at-once", str(variant.at_once))
        shape = ("--shape", variant.frames) if variant.shape and not variant.iq else ()
        switches = {"--every-frame": self._every_frame, "--insecure": self._insecure}
        switches["--follow"] = variant.follow
        return [
            *("serve", *source, *shape, "--publish", _LOOPBACK, "--monitor", "127.0.0.1:0", "--lag", "1"),
            *("--bundle", str(variant.bundle), "--engine", variant.engine, "--precision", variant.precision),
            *("--threads", str(variant.threads), *at_once, *(name for name, on in switches.items() if on)),
        ]

    def _line(self, pattern: str) -> str:
        found = self._server.wait_for(pattern, stopping=lambda: False)
        if found is None:
            raise EngineError(f"usert serve: got no line with {pattern!r}")
        return found[1]

    def _accept(self, image: StrainMessage, arrived_ns: int) -> None:
        self._newest = image
        self._seen.append(ImageTimes.of(image, arrived_ns))

    def _until_images_come(self) -> None:
        """Send frames until the first image comes: an image needs two frames and a connected client."""
        begin = time.monotonic()
        while not self._seen:
            if self._scanner is None:
                self._wait(lambda: bool(self._seen))
            else:
                self._scanner.send(2, _FIRST_RATE_HZ)
                self._wait(self._scanner.done)
                self._wait(lambda: bool(self._seen), quiet_s=_QUIET_S)
                if not self._seen:
                    self._raise_if_silent(time.monotonic() - begin)

    def _one_image(self) -> StrainMessage:
        if self._scanner is None:
            before = len(self._seen)
            self._wait(lambda: len(self._seen) > before)
        else:
            self._wait(lambda: False, quiet_s=_QUIET_S)  # until no earlier frame is under way
            self._send(self._scanner, Workload(seconds=0, rate_hz=_FIRST_RATE_HZ))
        assert self._newest is not None
        return self._newest

    def _images(self, workload: Workload) -> tuple[list[ImageTimes], int]:
        """Images of a measurement, and the number of frames that were due and not sent when it was stopped."""
        begin, waiting = len(self._seen), 0
        for _ in range(_MOST_BATCHES):
            if self._scanner is None:
                end, late = time.monotonic() + workload.seconds, _LateFrames(self._seen, workload)
                self._wait(lambda end=end, late=late: time.monotonic() >= end or late.too_many)  # type: ignore[misc]
            else:
                waiting += self._send(self._scanner, workload)
            images = [image for image in self._seen[begin:] if image.state != "held"]
            if len(images) >= LEAST_RUNS:
                return images, waiting
        raise SilentError(
            f"{self.variant}: got {len(images)} images in a measurement, expected {LEAST_RUNS} or more"
        )

    def _send(self, scanner: Scanner, workload: Workload) -> int:
        """Send the frames of `workload`; returns how many were due and not sent when it was stopped."""
        before, frames = scanner.sent, workload.frames + 1  # the first has no reference, if there was a pause
        end = time.monotonic() + OVERTIME * frames / (workload.rate_hz or 1)
        late = _LateFrames(self._seen, workload)
        scanner.send(frames, workload.rate_hz or 1)
        self._wait(lambda: scanner.done() or time.monotonic() >= end or late.too_many)
        if not scanner.done():
            self._skip_rest(scanner)
        newest = scanner.sent - 1
        self._wait(lambda: self._seen[-1].sequence >= newest, quiet_s=_QUIET_S)
        return before + frames - scanner.sent

    def _skip_rest(self, scanner: Scanner) -> None:
        scanner.skip_rest()
        self._wait(scanner.done)

    def _wait(self, until: Callable[[], bool], *, quiet_s: float = math.inf) -> None:
        """Wait for `until`, or until no image has come for `quiet_s`, or for longer than the last ones took.

        Errors: `SilentError`; `EngineError` when a process has ended.
        """
        count, since = len(self._seen), time.monotonic()
        asked = since
        while not until():
            self._server.check()
            self._receiver.check()
            now, slow_s = time.monotonic(), self._slow_s
            self._read_memory(now)
            if len(self._seen) > count:
                count, since = len(self._seen), now
            if now - since > max(quiet_s, 3 * slow_s):
                return
            if now - since > max(self._patience_s, _PATIENT_FRAMES * slow_s) and now - asked > _ASK_S:
                asked = now
                self._raise_if_silent(now - since)
            time.sleep(_POLL_S)

    def _read_memory(self, now: float) -> None:
        if now - self._read_s >= _ASK_S and (read := resident_mb(self._server.pid)) is not None:
            self._read_s = now
            self._rss_mb.append(read)

    @property
    def _slow_s(self) -> float:
        """Time of engine and publication of the slowest recent image."""
        return max((image.worked_ms / 1e3 for image in self._seen[-_PATIENT_FRAMES:]), default=0.0)

    def _raise_if_silent(self, silent_s: float) -> None:
        """Errors: `SilentError` with the cause, where no image came for `silent_s` and the cause is known."""
        source = "simulated scanner" if self._rf is None else f"source {self._rf}"
        cause = self._monitor.silence_cause(
            source, silent_s=silent_s, patience_s=self._patience_s, seen=bool(self._seen)
        )
        if cause is not None:
            raise SilentError(cause if not self._server.errors else f"{cause} ({self._server.errors[-1]})")


class _LateFrames:
    """Counts the late frames among the images of a measurement as they come."""

    def __init__(self, seen: Sequence[ImageTimes], workload: Workload) -> None:
        """`seen`: the images so far, to which the coming ones are added."""
        self._seen = seen
        self._workload = workload
        self._at = len(seen)
        self._last: int | None = None
        self._late = 0

    @property
    def too_many(self) -> bool:
        """Whether more frames are late or without an image than the workload allows."""
        limit_ms, most = self._workload.limit_ms, self._workload.most_late
        if limit_ms is None or most is None:
            return False
        while self._at < len(self._seen):
            image = self._seen[self._at]
            self._at += 1
            if image.state == "held":
                continue
            if self._last is not None:  # the first has no reference, and counts nowhere
                self._late += image.sequence - self._last - 1 + (image.age_ms > limit_ms)
            self._last = image.sequence
        return self._late > most

"""One engine at the end of real sockets: scanner's process, `usert serve`'s process, and a client here.

Knows the commands and the messages. Latency is an image's age on arrival, which begins when its frame was due. An image
that shows an older one again (`held`) is no answer to its frame, and is left out. Invariant: at the end of the `with`
block all processes are gone; and where nothing comes for too long, that is one line that says who is silent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

import zmq

from usert.errors import EngineError
from usert.frame import RFFrame

from ..imaging.estimate import Estimate
from ..protocol.messages import MAX_STRAIN_BYTES, StrainMessage
from ..sources.child_process import ChildProcess
from ..transport.receiver import Receiver
from .monitor import Monitor, SilentError
from .seen import STAGES, Seen
from .source import Scanner
from .turn import LEAST_RUNS, OVERTIME, Order, Turn
from .worker import Frame, Opened, Variant, Vitals, gpu_mb_since, peak_rss_mb

PATIENCE_S = 10.0
"""That nothing may come; or some times an engine's time, where that is longer."""
_PATIENT_FRAMES = 5
_LOOPBACK = "tcp://127.0.0.1:0"
_FIRST_RATE_HZ = 10.0
_QUIET_S = 1.0
"""After which no image comes any more of what was sent."""
_POLL_S, _ASK_S = 0.005, 1.0
_MOST_ORDERS = 20
"""Until a turn has images enough, where the engine is slow."""


class WireStage:
    """`with WireStage(variant, frames=...) as stage: stage.turn(order)`; images come when it is entered."""

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
        """`frames`: one period of the simulated scanner's; or `rf`: where a scanner of the user's publishes."""
        self.variant = variant
        self._frames = frames
        self._rf = rf
        self._insecure = insecure
        self._every_frame = every_frame
        self._patience_s = patience_s
        self._seen: list[Seen] = []
        self._newest: StrainMessage | None = None
        self.pair: tuple[Frame, Frame] | None = None
        """The frames that `opened.answer` is of; None: they are not known here."""

    def __enter__(self) -> Self:
        """Errors: `EngineError` for a server that ends, a scanner that is silent, images that do not come."""
        begin, self._gpu_before_mb = time.monotonic(), gpu_mb_since() or 0.0
        with ExitStack() as stack:
            self._server = stack.enter_context(ChildProcess(self._command()))
            rf = self._line(r"rf on (\S+)")
            strain = self._line(r"strain on (\S+)")
            self._monitor = Monitor(self._line(r"monitor on http://(\S+?)/?$"))
            runs_on = self._line(r"serve: (.+), lag \S+; Ctrl-C ends")
            context = stack.enter_context(zmq.Context())
            self._receiver: Receiver[StrainMessage] = Receiver(
                context=context,
                endpoint=strain,
                socket_type="sub",
                bind=False,
                max_bytes=MAX_STRAIN_BYTES,
                decode=StrainMessage.from_parts,
                accept=self._accept,
            )
            stack.enter_context(self._receiver)
            self._scanner = None if self._rf else stack.enter_context(Scanner(rf, self._frames))
            self._until_images_come()
            warm_up_s = time.monotonic() - begin
            image = self._one_image()
            if self._frames:
                reference, current = (
                    self._frames[stamp.sequence % len(self._frames)]
                    for stamp in (image.reference, image.current)
                )
                self.pair = reference.samples, current.samples
            self.variant = replace(self.variant, shape=image.shape)
            self.opened = Opened(
                runs_on=runs_on,
                warm_up_s=warm_up_s,
                first_ms=self._seen[-1].age_ms,
                answer=Estimate(displacement=image.displacement, strain=image.strain, quality=image.quality),
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def ages_exact(self) -> bool:
        """False: the source has another clock, and ages lack the way from it."""
        return all(image.exact for image in self._seen)

    @property
    def pids(self) -> dict[str, int]:
        """Of the processes, by name."""
        return {"server": self._server.pid} | (
            {} if self._scanner is None else {"scanner": self._scanner.pid}
        )

    def turn(self, order: Order) -> Turn:
        """Errors: `EngineError`, as on entering."""
        if order.pause_s:
            time.sleep(order.pause_s)
        dropped, before = self._seen[-1].counters.dropped, self._monitor.read()
        images, waiting = self._images(order)
        after = self._monitor.read()
        parts = [image.stages_ms(after.publish_ms(before)) for image in images[1:]]
        return Turn(
            lead_ms=images[0].age_ms,
            latency_ms=tuple(image.age_ms for image in images[1:]),
            engine_ms=tuple(part["engine"] for part in parts),
            dropped=images[-1].counters.dropped - dropped,
            waiting=waiting,
            seconds=(images[-1].arrived_ns - images[0].arrived_ns) / 1e9,
            cpu_s=after.used_s(before),
            stages_ms={
                name: tuple(part[name] for part in parts if name in part)
                for name in STAGES
                if any(name in part for part in parts)
            },
        )

    def vitals(self) -> Vitals:
        """Of the server."""
        return Vitals(rss_mb=peak_rss_mb(self._server.pid), gpu_mb=gpu_mb_since(self._gpu_before_mb))

    def _command(self) -> list[str]:
        variant = self.variant
        ours = ["--rf", _LOOPBACK, "--rf-type", "pull", "--rf-bind"]
        source = ["--rf", self._rf] if self._rf else ours
        switches = {"--every-frame": self._every_frame, "--insecure": self._insecure}
        return [
            *("serve", *source, "--publish", _LOOPBACK, "--monitor", "127.0.0.1:0", "--lag", "1"),
            *("--bundle", str(variant.bundle), "--engine", variant.engine, "--precision", variant.precision),
            *("--threads", str(variant.threads), *(name for name, on in switches.items() if on)),
        ]

    def _line(self, pattern: str) -> str:
        found = self._server.wait_for(pattern, stopping=lambda: False)
        if found is None:
            raise EngineError(f"usert serve: got no line with {pattern!r}")
        return found[1]

    def _accept(self, image: StrainMessage, arrived_ns: int) -> None:
        self._newest = image
        self._seen.append(Seen.of(image, arrived_ns))

    def _until_images_come(self) -> None:
        """Frames until the first image: one needs two, and its client."""
        begin = time.monotonic()
        while not self._seen:
            if self._scanner is None:
                self._wait(lambda: bool(self._seen))
            else:
                self._scanner.order(2, _FIRST_RATE_HZ)
                self._wait(self._scanner.done)
                self._wait(lambda: bool(self._seen), quiet_s=_QUIET_S)
                if not self._seen:
                    self._raise_if_silent(time.monotonic() - begin)

    def _one_image(self) -> StrainMessage:
        """The next one, of frames that come without haste."""
        if self._scanner is None:
            before = len(self._seen)
            self._wait(lambda: len(self._seen) > before)
        else:
            self._wait(lambda: False, quiet_s=_QUIET_S)  # until nothing of the beginning is under way
            self._send(self._scanner, Order(seconds=0, rate_hz=_FIRST_RATE_HZ))
        assert self._newest is not None
        return self._newest

    def _images(self, order: Order) -> tuple[list[Seen], int]:
        """Those of a turn, and how many frames were due and not sent when it was broken off."""
        begin, waiting = len(self._seen), 0
        for _ in range(_MOST_ORDERS):
            if self._scanner is None:
                end = time.monotonic() + order.seconds
                self._wait(lambda end=end: time.monotonic() >= end)  # type: ignore[misc]
            else:
                waiting += self._send(self._scanner, order)
            images = [image for image in self._seen[begin:] if image.state != "held"]
            if len(images) >= LEAST_RUNS:
                return images, waiting
        raise EngineError(
            f"{self.variant}: got {len(images)} images in a turn, expected {LEAST_RUNS} or more"
        )

    def _send(self, scanner: Scanner, order: Order) -> int:
        """A turn of ours; how many frames were due and not sent when it was broken off."""
        before, frames = scanner.sent, order.frames + 1  # the first has no reference, if there was a pause
        end = time.monotonic() + OVERTIME * frames / (order.rate_hz or 1)
        scanner.order(frames, order.rate_hz or 1)
        self._wait(lambda: scanner.done() or time.monotonic() >= end)
        if not scanner.done():
            scanner.stop()
            self._wait(scanner.done)
        newest = scanner.sent - 1
        self._wait(lambda: self._seen[-1].sequence >= newest, quiet_s=_QUIET_S)
        return before + frames - scanner.sent

    def _wait(self, until: Callable[[], bool], *, quiet_s: float = math.inf) -> None:
        """Until it holds, or no image has come for `quiet_s`, or for longer than the last ones took.

        Errors: `SilentError`; `EngineError` when a process has ended.
        """
        count, since = len(self._seen), time.monotonic()
        asked = since
        while not until():
            self._server.check()
            self._receiver.check()
            now, slow_s = time.monotonic(), self._slow_s
            if len(self._seen) > count:
                count, since = len(self._seen), now
            if now - since > max(quiet_s, 3 * slow_s):
                return
            if now - since > max(self._patience_s, _PATIENT_FRAMES * slow_s) and now - asked > _ASK_S:
                asked = now
                self._raise_if_silent(now - since)
            time.sleep(_POLL_S)

    @property
    def _slow_s(self) -> float:
        """What the slowest of the last images took."""
        return max((image.worked_ms / 1e3 for image in self._seen[-_PATIENT_FRAMES:]), default=0.0)

    def _raise_if_silent(self, silent_s: float) -> None:
        """No image came for so long. Errors: `SilentError` that says whose fault it is, where that can be told yet."""
        source = "simulated scanner" if self._rf is None else f"source {self._rf}"
        told = self._monitor.blame(
            source, silent_s=silent_s, patience_s=self._patience_s, seen=bool(self._seen)
        )
        if told is not None:
            raise SilentError(told if not self._server.errors else f"{told} ({self._server.errors[-1]})")

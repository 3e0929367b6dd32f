"""A scanner and a strain server in one thread, for tests of the page: real sockets, images that the real engine made.

The images are made once, ahead of time, and sent again and again, stamped as they leave: so a page can be tested at any
rate on a busy machine, and told to be held, idle or silent at will. `run` it by hand to look at a page:
`python tests/runtime/view/show.py` prints the endpoints.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import zmq

from usert.beam_space import BeamSpace
from usert.bundle import Bundle, default_bundle_path
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.frames import FrameStamp
from usert.runtime.imaging.image_quality import ImageQualityRule, assess
from usert.runtime.imaging.strain_ratio import RatioMeter, Rectangle
from usert.runtime.protocol.age import clock_id, now_ns
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.protocol.strain_message import Counters, StrainMessage
from usert.strain import axial_strain

LAG = 4
FRAMES = (5, 6, 7, 8, 9, 10, 25, 26, 27, 28)
"""Reference frames of the images: pressing, then releasing."""
TURN = 19, 21
"""Frames around the deepest press, between which there is next to no strain."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """One image, not stamped yet."""

    reference: RFFrame
    current: RFFrame
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Act:
    """Images of one scene, and what is true of them."""

    images: Sequence[Made]
    still: Made
    """An image of the probe at rest."""
    scanner: SimulatedScanner

    def true_ratio_of(self, target: str, background: str) -> float:
        """Of two rectangles, over all images, by the true motion."""
        meter = RatioMeter(Rectangle.parse(target), Rectangle.parse(background))
        for first in FRAMES:
            strain = axial_strain(self.scanner.truth(first, first + LAG)[0], 3)
            reading = meter.read(strain, np.ones_like(strain), BeamSpace.of(self.scanner.scan, strain.shape))
        assert reading.ratio is not None
        return reading.ratio

    def regions_mm(self) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
        """Depth and lateral of a rectangle in the lesion, and of one beside it."""
        lesion = self.scanner.lesion
        half = 0.6 * lesion.radius_mm
        depth = (lesion.centre_z_mm - half, lesion.centre_z_mm + half)
        side = lesion.centre_x_mm - 1.25 * lesion.radius_mm
        return (
            (*depth, lesion.centre_x_mm - half, lesion.centre_x_mm + half),
            (*depth, side - 0.25 * lesion.radius_mm, side),
        )


def make_act(
    engine: Engine, *, shape: tuple[int, int] = (512, 128), frames: Sequence[int] = FRAMES, haze: float = 0.0
) -> Act:
    """Images of the simulated scanner; `haze`: noise at the bottom of the frames, over the echo there."""
    scanner = SimulatedScanner(ScannerConfig(shape=shape))

    def made(first: int, second: int) -> Made:
        reference, current = (_hazy(scanner.frame(k), haze) for k in (first, second))
        estimate = engine.run(reference.samples, current.samples, scanner.scan)
        return Made(reference=reference, current=current, estimate=estimate)

    return Act(images=[made(k, k + LAG) for k in frames], still=made(*TURN), scanner=scanner)


def make_default_act(**options: Any) -> Act:
    """By the default bundle."""
    with closing(open_engine(Bundle.load(default_bundle_path()), engine="onnxruntime", threads=1)) as engine:
        return make_act(engine, **options)


def _hazy(frame: RFFrame, haze: float) -> RFFrame:
    if haze == 0:
        return frame
    depth = np.linspace(0, 1, frame.shape[0])[:, np.newaxis] ** 10
    noise = np.random.default_rng(frame.sequence).standard_normal(frame.shape)
    samples = frame.samples + haze * depth * noise * frame.samples.std()
    return replace(frame, samples=np.clip(samples, -32768, 32767).astype(np.int16))


class Show:
    """`with Show(act) as show:` sends until the end of the block; attributes may change at any time."""

    def __init__(self, act: Act, *, rate_hz: float = 10.0, strain: str = "", rf: str = "") -> None:
        self.act = act
        self.rate_hz = rate_hz
        self.changes: dict[str, Any] = {}
        """Fields of the messages that are other than they would be."""
        self.silent = False
        self.held = False
        """Send the last live image again and again."""
        self.still = False
        """The probe rests."""
        self.session = 1
        self.published = 0
        self.frames = True
        """Send the RF frames, too."""
        self._wanted = strain or "tcp://127.0.0.1:0", rf or "tcp://127.0.0.1:0"
        self._stack = ExitStack()
        self._ended = threading.Event()
        self._sequence = 0
        self._thread = threading.Thread(target=self._run, name="show")
        self._last: StrainMessage | None = None

    def __enter__(self) -> Self:
        context = self._stack.enter_context(zmq.Context())
        self._strain, self._rf = (self._stack.enter_context(context.socket(zmq.PUB)) for _ in range(2))
        for socket, wanted in zip((self._strain, self._rf), self._wanted, strict=True):
            socket.linger = 0
            socket.bind(wanted)
        self.strain = self._strain.get_string(zmq.LAST_ENDPOINT)
        self.rf = self._rf.get_string(zmq.LAST_ENDPOINT)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended.set()
        self._thread.join()
        self._stack.close()

    def _run(self) -> None:
        while not self._ended.wait(1 / self.rate_hz):
            if not self.silent:
                images = self.act.images
                self._send(self.act.still if self.still else images[self.published % len(images)])

    def _send(self, made: Made) -> None:
        self.published += 1
        if self.held and self._last is not None:
            message = replace(self._last, published_ns=now_ns(), counters=self._counters())
            message = replace(message, **({"state": "held", "reason": "quality"} | self.changes))
        else:
            idle = {"state": "idle", "reason": "still", "compression": 0.0, "warnings": ()}
            message = replace(self._stamped(made), **(idle if self.still else {}) | self.changes)
            if message.state == "live":
                self._last = message
        self._strain.send_multipart(message.to_parts())

    def _counters(self) -> Counters:
        return Counters(received=self._sequence, dropped=0, malformed=0, published=self.published)

    def _stamped(self, made: Made) -> StrainMessage:
        stamps = []
        for frame in (made.reference, made.current):
            self._sequence += 1
            stamped = replace(frame, sequence=self._sequence, time_ns=now_ns(), acquired_ns=time.time_ns())
            stamps.append(FrameStamp.of(stamped))
            if self.frames:
                message = RFMessage(frame=stamped, stream="show", clock=clock_id())
                self._rf.send_multipart(message.to_parts())
        if self.frames:
            time.sleep(0.005)  # the frame is there before its image, as in life
        estimate, now = made.estimate, now_ns()
        image_quality = assess(estimate, ImageQualityRule())
        return StrainMessage(
            stream="show",
            session=self.session,
            reference=stamps[0],
            current=stamps[1],
            source_clock=clock_id(),
            server_clock=clock_id(),
            received_ns=now,
            matched_ns=now,
            started_ns=now,
            published_ns=now,
            state="live",
            scan=made.reference.scan,
            counters=self._counters(),
            weights_hash="5c1304251e99",
            mean_strain=float(estimate.strain.mean()),
            mean_quality=float(estimate.quality.mean()),
            score=image_quality.score,
            readable_strain=image_quality.readable_strain,
            readable_quality=ImageQualityRule().readable_quality,
            readable_share=image_quality.readable_share,
            evident_strain=image_quality.evident_strain,
            compression=image_quality.compression,
            strain_rate=5 * image_quality.readable_strain,
            warnings=tuple(image_quality.warnings),
            displacement=estimate.displacement,
            strain=estimate.strain,
            quality=estimate.quality,
        )


if __name__ == "__main__":
    with Show(make_default_act(shape=(1280, 192), haze=4.0)) as running:
        print(f"usert view --strain {running.strain} --rf {running.rf}", flush=True)
        while True:
            time.sleep(1)

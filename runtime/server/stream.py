"""The state of one source between images: the lag, the display state, the last good image, the average.

Invariant: nothing of one session is left in the next, except what a person has set: rectangles and freezing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from usert.beam_space import BeamSpace
from usert.errors import EngineError
from usert.quality import readable_mean

from ..engines.interface import FrameFormat
from ..imaging.estimate import EstimatedPair
from ..imaging.frames import ReceivedFrame
from ..imaging.image_quality import ImageQuality, ImageQualityRule, assess
from ..imaging.lag import LagControl
from ..imaging.live_or_held import HoldControl, Reason, State
from ..imaging.pairing import choose_reference, explain_unpaired, interval_ms
from ..imaging.persistence import Averaging, Persistence
from ..imaging.strain_ratio import RatioMeter, RatioReading, RatioRule, Rectangle
from ..protocol.age import clock_id
from ..protocol.strain_message import Counters, StrainMessage
from .config import ServerConfig
from .first_frames import FirstFrames

_PATCH_LINES = 12
"""Lines over which errors of strain hang together; see `RatioRule.patch`."""
_ON_THE_WIRE = tuple(field.name for field in fields(ImageQuality) if field.name != "moving")
"""Figures of `ImageQuality` that a message carries under the same names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A strain image made from one pair."""

    pair: EstimatedPair
    quality: ImageQuality
    precompression: float
    strain: NDArray[np.float32]
    """(N, M): that of the estimate, or averaged over time."""
    averaging: Averaging | None = None
    ratio: RatioReading | None = None

    def mean_strain(self, rule: ImageQualityRule) -> float:
        """Mean over the readable pixels of what is shown; 0 where there are none."""
        if self.averaging is None:
            return self.quality.mean_strain
        mean, share = readable_mean(self.strain, self.pair.estimate.quality, rule.readable_quality)
        return mean if share else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An image and the state to publish it in."""

    image: Image
    state: State
    reason: Reason
    newest: ImageQuality
    """Figures of the newest pair, whose image may be another than the one that is shown."""

    def message(
        self, *, counters: Counters, published_ns: int, rule: ImageQualityRule, deadline_ms: float
    ) -> StrainMessage:
        """The message to publish at `published_ns`: figures of the image shown, state and counts of this moment."""
        image, pair = self.image, self.image.pair
        current = pair.current
        figures = {name: getattr(image.quality, name) for name in _ON_THE_WIRE}
        interval = interval_ms(pair.reference, current)
        return StrainMessage(
            stream=current.stream,
            session=current.session,
            reference=pair.reference.stamp,
            current=current.stamp,
            source_clock=current.clock,
            server_clock=clock_id(),
            received_ns=current.received_ns,
            matched_ns=pair.matched_ns,
            started_ns=pair.started_ns,
            published_ns=published_ns,
            state=self.state,
            reason=self.reason,
            scan=current.frame.scan,
            counters=counters,
            weights_hash=pair.weights_hash,
            readable_quality=rule.readable_quality,
            precompression=image.precompression,
            strain_rate=image.quality.readable_strain * (1e3 / interval) if interval > 0 else None,
            deadline_ms=deadline_ms,
            persistence=image.averaging,
            ratio=image.ratio,
            displacement=pair.estimate.displacement,
            strain=image.strain,
            quality=pair.estimate.quality,
            **(figures | {"mean_strain": image.mean_strain(rule)}),
        )


class Stream:
    """The images of one source; `begin` starts each of its sessions."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self.first_frames = FirstFrames()
        self.frozen = False
        self.no_image = ""
        """Why the newest frame gave no image of its own; empty where it did."""
        self._noted = (0, 0)
        """Session and sequence of that frame."""
        self.rectangles: tuple[Rectangle, Rectangle] | None = config.rectangles
        self.begin(0, FrameFormat((0, 0)))

    def begin(self, session: int, frames: FrameFormat, reason: str = "") -> None:
        """Forget the session before; `frames` are those to come, `reason` is why the session begins."""
        self.session, self.session_reason = session, reason
        self.frames = frames
        self.lag = LagControl(self._config.lag)
        self.good: Image | None = None
        """The last image that was live."""
        self.last: Shown | None = None
        self.forget_images()

    def forget_images(self) -> None:
        """Start again for another engine, but keep the motion so far; a frozen image stays."""
        self._hold = HoldControl(self._config.hold)
        self._persistence = Persistence(self._config.persistence)
        self._last_reference: int | None = None
        self._meter: RatioMeter | None = None
        if not self.frozen:
            self.good = None

    def set_rectangles(self, rectangles: tuple[Rectangle, Rectangle] | None) -> None:
        """Measure target and background in every image from now on; None ends it."""
        self.rectangles = rectangles
        self._meter = None

    def reference(self, current: ReceivedFrame, before: tuple[ReceivedFrame, ...]) -> ReceivedFrame | None:
        """The frame to pair `current` with; None when none is allowed."""
        lag_for = None
        if self._config.lag is not None:
            lag_for = partial(self.lag.lag_for, current.frame.sequence)
        return choose_reference(current, before, self._config.pairing, lag_for=lag_for)

    def explain_unpaired(self, current: ReceivedFrame, before: tuple[ReceivedFrame, ...]) -> str:
        """The reason, in a few words, why `reference` returned None for the same frames."""
        rule = self._config.pairing
        return explain_unpaired(
            current, before, rule, lag=rule.lag if self._config.lag is None else self.lag.lag
        )

    def note(self, frame: ReceivedFrame, *, no_image: str = "") -> None:
        """Note why `frame` gave no image of its own, empty where it did, unless that of a newer frame is noted."""
        which = frame.session, frame.frame.sequence
        if which >= self._noted:  # an older frame's pair may end later
            self._noted, self.no_image = which, no_image

    def show(self, pair: EstimatedPair, *, rule: ImageQualityRule, strain_window: int) -> Shown:
        """The image to publish after the newest pair; `strain_window`: rows, of the engine.

        Errors: `EngineError` for an estimate that is not finite.
        """
        precompression = self.lag.precompression
        quality = assess(pair.estimate, rule, precompression=precompression)
        if self.first_frames.doubtful:
            quality = replace(quality, warnings=("not_rf", *quality.warnings))
        if not (math.isfinite(quality.mean_strain) and math.isfinite(quality.mean_quality)):
            raise EngineError("estimate: got strain or quality that is not finite")
        self.lag.observe(
            reference=pair.reference.frame.sequence,
            current=pair.current.frame.sequence,
            mean_strain=quality.readable_strain,
            score=quality.score,
            moving=quality.moving,
        )
        image = Image(pair=pair, quality=quality, precompression=precompression, strain=pair.estimate.strain)
        state = self._hold.step(quality)
        if state == "live":
            image = self.good = self._measured(self._averaged(image), strain_window)
        elif state == "held" and self.good is not None:
            image = self.good
        self.last = Shown(image=image, state=state, reason=self._hold.reason, newest=quality)
        return self.last

    def frozen_image(self) -> Shown | None:
        """The last good image, as it is shown while frozen; None when there is none yet."""
        if self.good is None:
            return None
        return Shown(image=self.good, state="held", reason="frozen", newest=self.good.quality)

    def _averaged(self, image: Image) -> Image:
        if self._config.persistence.weight == 0:
            return image
        first, second = image.pair.reference.frame.sequence, image.pair.current.frame.sequence
        share = math.nan
        if self._last_reference is not None:
            share = self.lag.course.share(self._last_reference, first, second)
        self._last_reference = first
        persisted = self._persistence.add(
            image.pair.estimate, mean_strain=image.quality.readable_strain, share=share
        )
        return replace(image, strain=persisted.strain, averaging=persisted.averaging)

    def _measured(self, image: Image, strain_window: int) -> Image:
        if self.rectangles is None:
            return image
        if self._meter is None:
            quality = self._config.quality_rule.readable_quality
            rule = RatioRule(patch=(max(1, strain_window), _PATCH_LINES), readable_quality=quality)
            self._meter = RatioMeter(*self.rectangles, rule)
        frame = image.pair.current.frame
        space = BeamSpace.of(frame.scan, frame.shape)
        return replace(image, ratio=self._meter.read(image.strain, image.pair.estimate.quality, space))

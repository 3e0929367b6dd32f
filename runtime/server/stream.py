"""What the server knows of one source between its images: the lag, the state, the last good image, the average.

Knows frames and estimates; no sockets, no engine, no thread but the one that calls. Invariant: nothing of one session
is left in the next, except what a person has set: rectangles and freezing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..imaging.display_state import Reason, State, StateMachine
from ..imaging.estimate import EstimatedPair
from ..imaging.frames import ReceivedFrame
from ..imaging.image_quality import ImageQuality, ImageQualityRule, assess
from ..imaging.lag import LagControl
from ..imaging.pairing import choose_reference, reach
from ..imaging.persistence import Averaging, Persistence
from ..imaging.strain_ratio import RatioMeter, RatioReading, RatioRule, Rectangle
from .config import ServerConfig

_PATCH_LINES = 12
"""Over which errors of strain hang together; see `RatioRule.patch`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What is shown of an estimate."""

    of: EstimatedPair
    image_quality: ImageQuality
    precompression: float
    strain: NDArray[np.float32]
    """(N, M): that of the estimate, or averaged over time."""
    averaging: Averaging | None = None
    ratio: RatioReading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An image and the state to publish it in."""

    image: Image
    state: State
    reason: Reason
    newest: ImageQuality
    """Of the newest image, if that is another."""


class Stream:
    """One source; `begin` each of its sessions."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self.session = 0
        self.frozen = False
        self.rectangles: tuple[Rectangle, Rectangle] | None = config.rectangles
        self.begin(0, (0, 0))

    def begin(self, session: int, shape: tuple[int, int]) -> None:
        """Forget all that belonged to the session before; `shape`: of its frames."""
        config = self._config
        self.session = session
        self.shape = shape
        self.lag = LagControl(config.lag)
        self._states = StateMachine(config.state)
        self._persistence = Persistence(config.persistence)
        self._last_reference: int | None = None
        self._meter: RatioMeter | None = None
        self.good: Image | None = None
        """The last one that was live."""
        self.last: Shown | None = None

    def forget_images(self) -> None:
        """As at the first image, but with the motion so far: for another engine. A frozen image stays."""
        self._states = StateMachine(self._config.state)
        self._persistence.reset()
        self._last_reference = None
        self._meter = None
        if not self.frozen:
            self.good = None

    def set_rectangles(self, rectangles: tuple[Rectangle, Rectangle] | None) -> None:
        """Read target and background in every image from now on; None: no longer."""
        self.rectangles = rectangles
        self._meter = None

    def reference(self, current: ReceivedFrame, before: tuple[ReceivedFrame, ...]) -> ReceivedFrame | None:
        """The frame to pair `current` with; None when none is allowed."""
        rule = self._config.pairing
        if self._config.lag is not None:
            furthest = reach(current, before, rule)
            rule = replace(rule, lag=self.lag.lag_for(current.frame.sequence, furthest))
        return choose_reference(current, before, rule)

    def show(self, new: EstimatedPair, *, rule: ImageQualityRule, strain_window: int) -> Shown:
        """What to publish now that there is `new`. `strain_window`: samples, of the engine."""
        first, second = new.reference.frame, new.current.frame
        precompression = self.lag.precompression
        image_quality = assess(new.estimate, rule, precompression=precompression)
        self.lag.observe(
            reference=first.sequence,
            current=second.sequence,
            mean_strain=image_quality.mean_strain,
            score=image_quality.score,
            moving=image_quality.moving,
        )
        image = Image(
            of=new, image_quality=image_quality, precompression=precompression, strain=new.estimate.strain
        )
        state = self._states.step(image_quality)
        if state == "live":
            image = self.good = self._read(self._averaged(image), strain_window)
        elif state == "held" and self.good is not None:
            image = self.good
        self.last = Shown(image=image, state=state, reason=self._states.reason, newest=image_quality)
        return self.last

    def frozen_image(self) -> Shown | None:
        """The last good image, as it is shown while frozen; None when there is none yet."""
        if self.good is None:
            return None
        return Shown(image=self.good, state="held", reason="frozen", newest=self.good.image_quality)

    def _averaged(self, image: Image) -> Image:
        if self._config.persistence.weight == 0:
            return image
        first, second = (frame.frame.sequence for frame in (image.of.reference, image.of.current))
        share = math.nan
        if self._last_reference is not None:
            share = self.lag.course.share(self._last_reference, first, second)
        self._last_reference = first
        persisted = self._persistence.add(
            image.of.estimate, mean_strain=image.image_quality.mean_strain, share=share
        )
        return replace(image, strain=persisted.strain, averaging=persisted.averaging)

    def _read(self, image: Image, strain_window: int) -> Image:
        if self.rectangles is None:
            return image
        if self._meter is None:
            quality = self._config.quality_rule.readable_quality
            rule = RatioRule(patch=(strain_window, _PATCH_LINES), readable_quality=quality)
            self._meter = RatioMeter(*self.rectangles, rule)
        scan = image.of.current.frame.scan
        return replace(image, ratio=self._meter.read(image.strain, image.of.estimate.quality, scan.pitch_mm))

"""The live loop without a server: the simulated scanner before an engine, frame by frame.

Knows no sockets and no clock. Invariant: each pair is computed once, however often it comes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.image_quality import ImageQuality, ImageQualityRule, assess
from usert.runtime.imaging.lag import LagControl
from usert.runtime.imaging.live_or_held import HoldControl, State
from usert.strain import axial_strain

LONGEST_LAG = 20
"""A second, as pairing allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image of the loop."""

    reference: int
    current: int
    estimate: Estimate
    image_quality: ImageQuality
    state: State
    share: float
    """Motion since the reference of the last live image, as `Persistence.add` takes it."""


class Scene:
    """The simulated scanner before the engine; each pair is computed once."""

    def __init__(self, engine: Engine, **config: Any) -> None:
        self.scanner = SimulatedScanner(ScannerConfig(**config), seed=3)
        self.period = self.scanner.period_frames
        self._engine = engine
        self._frames: dict[int, NDArray[Any]] = {}
        self._pairs: dict[tuple[int, int], Estimate] = {}

    def _frame(self, k: int) -> NDArray[Any]:
        if k not in self._frames:
            self._frames[k] = self.scanner.frame(k).samples
        return self._frames[k]

    def pair(self, reference: int, current: int) -> Estimate:
        key = reference % self.period, current % self.period
        if key not in self._pairs:
            self._pairs[key] = self._engine.run(*map(self._frame, key), self.scanner.scan)
        return self._pairs[key]

    def truth(self, reference: int, current: int) -> NDArray[np.float32]:
        """Strain, by the window of the engine."""
        displacement = self.scanner.truth(reference % self.period, current % self.period)
        return axial_strain(displacement[0], self._engine.strain_window_at(self.scanner.scan))

    def images(self, control: LagControl, count: int) -> Iterator[Image]:
        """As the server makes them."""
        hold, last = HoldControl(), None
        for current in range(1, count + 1):
            reference = current - control.lag_for(current, reach=min(current, LONGEST_LAG))
            estimate = self.pair(reference, current)
            image_quality = assess(estimate, ImageQualityRule(), precompression=control.precompression)
            control.observe(
                reference=reference,
                current=current,
                mean_strain=image_quality.readable_strain,
                score=image_quality.score,
                moving=image_quality.moving,
            )
            state = hold.step(image_quality)
            share = math.nan if last is None else control.course.share(last, reference, current)
            yield Image(
                reference=reference,
                current=current,
                estimate=estimate,
                image_quality=image_quality,
                state=state,
                share=share,
            )
            last = reference if state == "live" else last

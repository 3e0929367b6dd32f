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
from usert.runtime.engines.interface import Engine, Estimate
from usert.runtime.imaging.image_quality import Judgement, JudgementRule, StateMachine, judge
from usert.runtime.imaging.lag import LagControl
from usert.runtime.protocol.messages import State
from usert.strain import axial_strain

LONGEST_LAG = 20
"""A second, as pairing allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image of the loop."""

    reference: int
    current: int
    estimate: Estimate
    judgement: Judgement
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
        return axial_strain(displacement[0], self._engine.strain_window_samples)

    def images(self, control: LagControl, count: int) -> Iterator[Image]:
        """As the server makes them."""
        machine, last = StateMachine(), None
        for current in range(1, count + 1):
            reference = current - control.lag_for(current, reach=min(current, LONGEST_LAG))
            estimate = self.pair(reference, current)
            judgement = judge(estimate, JudgementRule(), precompression=control.precompression)
            control.observe(
                reference=reference,
                current=current,
                mean_strain=judgement.mean_strain,
                score=judgement.score,
                moving=judgement.moving,
            )
            state = machine.step(judgement)
            share = math.nan if last is None else control.course.share(last, reference, current)
            yield Image(
                reference=reference,
                current=current,
                estimate=estimate,
                judgement=judgement,
                state=state,
                share=share,
            )
            last = reference if state == "live" else last

"""The engine that runs now: warmed up, run, kept warm in pauses, and changed for another one between two frames.

Knows engines and frames; no sources, no sockets, and no thread but the one that serves. Invariant: an engine that was
handed over by `change` is closed here; the first one stays its maker's to close.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from usert.frame import Scan, Shape

from ..engines.interface import Engine
from ..imaging.estimate import Estimate, EstimatedPair
from ..imaging.frames import ReceivedFrame
from ..imaging.image_quality import ImageQualityRule, means
from ..protocol.age import now_ns
from ..transport.fault_counter import Tally
from .bundle_swap import Ready
from .keep_warm import KeepWarm

log = logging.getLogger(__name__)


class Running:
    """Of one server."""

    def __init__(
        self,
        engine: Engine,
        *,
        quality_rule: ImageQualityRule,
        weights_hash: str = "",
        bundle: Path | None = None,
        warm: Iterable[Shape] = (),
        keep_warm_s: float = 0.0,
    ) -> None:
        """`bundle`: where the engine's is; None where it has none. `warm`: shapes that the engine is warm for."""
        self.engine = engine
        self.quality_rule = quality_rule
        self.weights_hash = weights_hash
        self.bundle = bundle
        self.cold = Tally(log, "engine does not warm up")
        self._owned = False
        self._shapes: set[Shape] = set(warm)
        """Those that it is warm for."""
        self._keep_warm = KeepWarm(keep_warm_s)
        self._last: tuple[ReceivedFrame, ReceivedFrame] | None = None

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Those that the engine is warm for; for any thread."""
        return tuple(self._shapes)

    def warm_up(self, shape: Shape, scan: Scan | None = None) -> None:
        """Load what frames of `shape`, sampled as `scan` says, need, once.

        What the engine raises is counted: the pairs to come will fail alike.
        """
        if shape in self._shapes:
            return
        try:
            self.engine.warm_up(shape, scan)
            self._shapes.add(shape)
        except Exception as error:  # an engine runs foreign code
            self.cold.add(type(error).__name__, str(error))

    def estimate(self, reference: ReceivedFrame, current: ReceivedFrame) -> EstimatedPair:
        """What the engine makes of a pair. Errors: all that an engine may raise, and `EngineError`."""
        matched_ns = now_ns()
        self._last = reference, current
        first, second = reference.frame, current.frame
        started_ns = now_ns()
        estimate = self.engine.run(first.samples, second.samples, first.scan)
        ended_ns = now_ns()
        self._keep_warm.frame(ended_ns)
        mean_strain, mean_quality = means(estimate, self.quality_rule)
        return EstimatedPair(
            reference=reference,
            current=current,
            estimate=estimate,
            engine=self.engine.name,
            weights_hash=self.weights_hash,
            matched_ns=matched_ns,
            started_ns=started_ns,
            ended_ns=ended_ns,
            mean_strain=mean_strain,
            mean_quality=mean_quality,
        )

    def backward(self, pair: EstimatedPair) -> Estimate:
        """The pair the other way round."""
        first, second = pair.current.frame, pair.reference.frame
        return self.engine.run(first.samples, second.samples, first.scan)

    def pause(self) -> None:
        """There is no frame: run the last pair again if that is due."""
        if self._last is None or not self._keep_warm.due(now_ns()):
            return
        try:
            first, second = (frame.frame for frame in self._last)
            self.engine.run(first.samples, second.samples, first.scan)
        except Exception as error:  # as in `warm_up`
            self.cold.add(type(error).__name__, str(error))
        self._keep_warm.ran(now_ns())

    def change(self, ready: Ready) -> None:
        """Let the engine of `ready` take over."""
        self.close()
        self.engine, self._owned = ready.engine, True
        self.quality_rule, self.weights_hash, self.bundle = (
            ready.quality_rule,
            ready.weights_sha256,
            ready.path,
        )
        self._shapes = set(ready.shapes)
        log.info("bundle %s: %s runs, weights %s", ready.path, ready.name, ready.weights_sha256[:12])

    def close(self) -> None:
        """Close the engine if it was handed over; idempotent."""
        if not self._owned:
            return
        self._owned = False
        try:
            self.engine.close()
        except Exception as error:  # foreign code, and the next engine waits
            log.warning("%s does not close: %s", self.engine.name, error)

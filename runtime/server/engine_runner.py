"""The engine that runs now: warmed up for each shape of frames, run, and changed for another between two frames.

Invariant: an engine that came by `swap` is closed here; the first one stays its maker's to close.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from usert.frame import RFFrame

from ..engines.concurrency import allowed_at_once
from ..engines.following import FollowingEngine
from ..engines.interface import Engine, FrameFormat, warm_up_gradually
from ..imaging.estimate import Estimate, EstimatedPair
from ..imaging.frames import ReceivedFrame
from ..imaging.image_quality import ImageQualityRule
from ..protocol.age import now_ns
from ..transport.fault_counter import FaultCounter
from .bundle_swap import PreparedBundle

FOLLOWS = ", following"
"""What the name of the engine ends in for an image that started from the motion of the one before."""
log = logging.getLogger(__name__)


class EngineRunner:
    """Runs the engine of one server."""

    def __init__(
        self,
        engine: Engine,
        *,
        quality_rule: ImageQualityRule,
        weights_hash: str = "",
        bundle: Path | None = None,
        warm: Iterable[FrameFormat] = (),
    ) -> None:
        """`bundle`: folder of the engine's bundle, None where it has none. `warm`: frames it is warm for."""
        self.engine = engine
        self.quality_rule = quality_rule
        self.weights_hash = weights_hash
        self.bundle = bundle
        self.cold = FaultCounter(log, "engine does not warm up")
        self._owned = False
        self._warm = set(warm)

    @property
    def warm(self) -> tuple[FrameFormat, ...]:
        """Frames that the engine is warm for; for any thread."""
        return tuple(self._warm)

    def opening(self, frame: RFFrame) -> str:
        """The log line about the wait for frames like `frame`; empty where the engine is warm for them."""
        frames = FrameFormat.of(frame.shape, frame.scan)
        if frames in self._warm:
            return ""
        n, m = frame.shape
        if frames.scan is not None:  # for which `--shape` does not warm up
            return f"opening the engine for {n} x {m}{' IQ' if frame.scan.kind == 'iq' else ''}: some seconds"
        return f"opening the engine for {n} x {m}: some seconds (--shape {n}x{m} does it before the start)"

    def warm_up(self, frame: RFFrame) -> None:
        """Load once what frames like `frame` need; what only makes them faster is loaded while they run.

        What the engine raises is counted: the pairs to come will fail alike.
        """
        frames = FrameFormat.of(frame.shape, frame.scan)
        if frames in self._warm:
            return
        try:
            warm_up_gradually(self.engine, frame.shape, frame.scan)
            self._warm.add(frames)
        except Exception as error:  # an engine runs foreign code
            self.cold.add(type(error).__name__, str(error))

    def at_once(self, frame: RFFrame) -> int:
        """Number of pairs of frames like `frame` that `estimate` may run at once, each in a thread of its own."""
        return allowed_at_once(self.engine, frame.shape, frame.scan)

    def estimate(self, reference: ReceivedFrame, current: ReceivedFrame) -> EstimatedPair:
        """Run the engine on a pair. Errors: all that an engine may raise, and `EngineError`."""
        started_ns = now_ns()
        follows = False
        if isinstance(self.engine, FollowingEngine):
            estimate, follows = self.engine.after(reference, current)
        else:
            estimate = self._run(reference, current)
        return EstimatedPair(
            reference=reference,
            current=current,
            estimate=estimate,
            engine=f"{self.engine.name}{FOLLOWS if follows else ''}",
            weights_hash=self.weights_hash,
            matched_ns=started_ns,
            started_ns=started_ns,
            ended_ns=now_ns(),
        )

    def backward(self, pair: EstimatedPair) -> Estimate:
        """Run the engine on the pair the other way round. Errors: as `estimate`."""
        return self._run(pair.current, pair.reference)

    def _run(self, reference: ReceivedFrame, current: ReceivedFrame) -> Estimate:
        first = reference.frame
        return self.engine.run(first.samples, current.frame.samples, first.scan)

    def swap(self, prepared: PreparedBundle) -> None:
        """Let the engine of `prepared` run from now on."""
        self.close()
        self.engine, self._owned = prepared.engine, True
        self.quality_rule, self.weights_hash = prepared.quality_rule, prepared.weights_sha256
        self.bundle = prepared.path
        self._warm = {
            each if each.scan is None else FrameFormat.of(each.shape, each.scan) for each in prepared.frames
        }
        log.info(
            "bundle %s: %s runs, weights %s",
            prepared.path,
            prepared.engine.name,
            prepared.weights_sha256[:12],
        )

    def close(self) -> None:
        """Close the engine if it was handed over; idempotent."""
        if not self._owned:
            return
        self._owned = False
        try:
            self.engine.close()
        except Exception as error:  # foreign code, and the next engine waits
            log.warning("%s does not close: %s", self.engine.name, error)

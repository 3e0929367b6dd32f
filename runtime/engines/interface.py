"""The interface of every engine: one pair of frames in, one estimate out.

Invariant: an engine takes any frame shape that its bundle, if it has one, allows, opens graphs lazily per shape, and
returns arrays that it never writes to again.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from usert.errors import FrameError
from usert.frame import Scan, Shape
from usert.front_end import TYPICAL, grid_rows

from ..imaging.estimate import Estimate

TYPICAL_SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540.0, line_pitch_mm=0.12)
"""The scan of the noise with which an engine is warmed up."""


class FrameFormat(NamedTuple):
    """Frames that an engine is warmed up for."""

    shape: Shape
    scan: Scan | None = None
    """The scan of IQ, or of RF on another depth grid than that of common sampling; None: RF, sampled as is common."""

    @classmethod
    def of(cls, shape: Shape, scan: Scan) -> FrameFormat:
        """The format of frames of `shape` (N, M) and `scan`; as sampled is common counts all RF on the same grid."""
        if scan.kind == "iq":
            return cls(shape, scan)
        try:
            same = grid_rows(shape[0], scan.cycles_per_sample) == grid_rows(shape[0], TYPICAL)
        except FrameError:  # no grid can be made for such frames, which an engine may refuse
            same = False
        return cls(shape, None if same else scan)


def noise_pair(shape: Shape, scan: Scan | None = None) -> tuple[NDArray[np.int16], NDArray[np.int16], Scan]:
    """Two frames of noise of `shape` (N, M), and their scan: IQ (N, M, 2) where `scan` is that of IQ."""
    scan = scan or TYPICAL_SCAN
    whole = (2, *shape) if scan.kind == "rf" else (2, *shape, 2)
    first, second = np.random.default_rng(0).integers(-1000, 1000, whole, dtype=np.int16)
    return first, second, scan


class Engine(Protocol):
    """A bundle opened by one library, or a method without one.

    Only one thread at a time may call it, but for `run` and `Follower.follow` of a
    `usert.runtime.engines.concurrency.ConcurrentEngine`, beside which any thread may ask for what does not change
    (`name`, `at_once`, `grid_rows_at`, `strain_window_at`).
    """

    @property
    def name(self) -> str:
        """Library and device that really run, such as `onnxruntime CPUExecutionProvider`."""

    def strain_window_at(self, scan: Scan) -> int:
        """Length of the least-squares fit of the strain in rows of frames of `scan`, which must not be shorter."""

    def warm_up(self, shape: tuple[int, int], scan: Scan | None = None) -> None:
        """Load what frames of `shape` (N, M) run on fastest, and run once; without `scan`, at a common sampling
        frequency."""

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        """Estimate the motion from `reference` to `current`, both int16 or float32, sampled as `scan` states: RF
        (N, M), or IQ (N, M, 2) for a scan with a demodulation frequency.

        Errors: `FrameError` for shapes that differ or are too small, samples that are not finite or are constant, or no
        `scan` where the engine needs one; `EngineError` when the library fails.
        """

    def close(self) -> None:
        """Release the engine's resources; idempotent."""


@runtime_checkable
class GradualEngine(Engine, Protocol):
    """An engine that runs frames before what runs them fastest is loaded."""

    def warm_up_gradually(self, shape: Shape, scan: Scan | None = None) -> None:
        """Load what frames of `shape` (N, M) need at least, and run once; where they go on, the rest is loaded in a
        thread, and used when it is ready."""


def warm_up_gradually(engine: Engine, shape: Shape, scan: Scan | None = None) -> None:
    """Warm `engine` up for frames of `shape` (N, M) that are already coming, in as short a time as it can."""
    if isinstance(engine, GradualEngine):
        engine.warm_up_gradually(shape, scan)
    else:
        engine.warm_up(shape, scan)


@runtime_checkable
class Follower(Engine, Protocol):
    """An engine that can start from a motion."""

    def grid_rows_at(self, shape: Shape, scan: Scan) -> int:
        """Rows of the depth grid on which frames of `shape` (N, M) run, which the windows of a start divide.

        Errors: `FrameError` for a centre frequency that no grid can be made for.
        """

    def follow(
        self, reference: NDArray[Any], current: NDArray[Any], scan: Scan, start: NDArray[np.float32]
    ) -> Estimate:
        """Estimate the motion of a pair near `start` (3, 32, 8), as `start_of` makes it. Errors: those of `run`;
        `BundleError` where nothing can follow frames of this shape.
        """

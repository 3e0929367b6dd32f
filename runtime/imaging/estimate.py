"""The estimate of a pair of frames by an engine, and the pair with the times of its run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from usert.errors import EngineError

from .frames import ReceivedFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Displacement, strain and quality of one pair, on the grid of the reference frame."""

    displacement: NDArray[np.float32]
    """(2, N, M): axial in samples, lateral in lines; current(r + d(r)) ≈ reference(r)."""
    strain: NDArray[np.float32]
    """(N, M): axial strain as a fraction, compression positive."""
    quality: NDArray[np.float32]
    """(N, M): local correlation of the reference with the warped current frame, 0 (none) to 1."""

    def fault(self, shape: tuple[int, ...]) -> str:
        """What is wrong for frames of `shape` (N, M), another shape or values that are not finite; empty if nothing."""
        for name, expected in (("displacement", (2, *shape)), ("strain", shape), ("quality", shape)):
            values: NDArray[np.float32] = getattr(self, name)
            if values.shape != expected:
                return f"{name}: got shape {values.shape}, expected {expected}"
            if wrong := values.size - int(np.count_nonzero(np.isfinite(values))):
                return f"{name}: got {wrong} of {values.size} values that are NaN or infinite, expected none"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedPair:
    """Two frames, their estimate, and the times of the run by the server's monotonic clock."""

    reference: ReceivedFrame
    current: ReceivedFrame
    estimate: Estimate
    engine: str
    """Name of the engine that really ran."""
    weights_hash: str
    matched_ns: int
    started_ns: int
    ended_ns: int

    def __post_init__(self) -> None:
        shape, made = self.reference.frame.shape, self.estimate
        expected = (2, *shape), shape, shape
        for array, right in zip((made.displacement, made.strain, made.quality), expected, strict=True):
            if array.shape != right or array.dtype != np.float32:
                raise EngineError(f"estimate: got {array.dtype} {array.shape}, expected float32 {right}")

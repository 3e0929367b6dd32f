"""What pre-training reports while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a run since its last report."""

    step: int
    elapsed_s: float
    stage: int
    loss: float
    axial_rms: float
    """RMS of the true axial motion of those pairs: the error of a network that finds none."""
    axial_rmse: float
    """Axial RMSE in samples at the finest level, over the pairs since the last report."""
    learning_rate: float

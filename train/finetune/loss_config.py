"""Weights and constants of the unsupervised loss, with their sources.

[1] is the paper, Tehrani, Mirzaei and Rivaz, MICCAI 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..check import check

CONSISTENCY = ("landed", "printed")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """The terms of the loss and their weights, by default the paper's.

    Errors: `RecipeError` for an impossible value.
    """

    data: float = 1.0
    """Weight of the data loss, Eq. 2 of [1]."""
    gamma: float = 0.2
    """Exponent γ of the Charbonnier penalty, Eq. 3 of [1]."""
    epsilon: float = 1e-4
    """ε of the penalty on intensities ("a small number" in [1]), in units of the squared local echo level."""
    epsilon_slope: float = 1e-8
    """ε of the penalty on derivatives: the square of .01 % of strain."""
    alpha: float = 1.0
    """α of the outlier mask in samples, Eq. 4 of [1]."""
    consistency: str = "landed"
    """Where the backward displacement is read: `landed` (at r + w_f(r)) or `printed` (at r, as in Eq. 4)."""
    least_inliers: float = 0.5
    """Pairs with a smaller share of inliers are skipped ([1], 2.2)."""
    lambda1: float = 0.5
    """λ1 of Eq. 5 of [1]: axial derivative of the axial displacement."""
    lambda2: float = 0.005
    """λ2 of Eq. 5 of [1]: lateral derivative of the axial displacement."""
    lambda3: float = 0.2
    """λ3 of Eq. 6 of [1]: second axial derivative."""
    span: int = 1
    """Samples (lines) over which a derivative is taken; 1 is the network's own grid, as in [1]."""
    interpolation: int = 4
    """Rows for each one when the second frame is warped; 1 is a plain linear warp."""
    correlation: float = 0.0
    """Weight of the local correlation loss (optional)."""
    correlation_window: tuple[int, int] = (33, 3)
    """Window of the local correlation in samples and lines, odd."""
    lateral_smoothness: float = 0.0
    """Weight of the first derivatives of the lateral displacement (optional)."""
    incompressibility: float = 0.0
    """Weight of the sum of axial and lateral strain (optional)."""

    def __post_init__(self) -> None:
        for name in (
            "data", "lambda1", "lambda2", "lambda3", "correlation", "lateral_smoothness", "incompressibility",
        ):  # fmt: skip
            value = getattr(self, name)
            check(0 <= value < math.inf, f"loss.{name}", value, "0 or more")
        check(self.data + self.correlation > 0, "loss.data and loss.correlation", 0, "one of them above 0")
        check(0 < self.gamma <= 1, "loss.gamma", self.gamma, "above 0, at most 1")
        check(self.epsilon > 0, "loss.epsilon", self.epsilon, "above 0")
        check(self.epsilon_slope > 0, "loss.epsilon_slope", self.epsilon_slope, "above 0")
        check(self.alpha > 0, "loss.alpha", self.alpha, "above 0")
        known = self.consistency in CONSISTENCY
        check(known, "loss.consistency", repr(self.consistency), " or ".join(CONSISTENCY))
        check(0 <= self.least_inliers < 1, "loss.least_inliers", self.least_inliers, "0 to below 1")
        check(self.span >= 1, "loss.span", self.span, "1 or more")
        check(1 <= self.interpolation <= 16, "loss.interpolation", self.interpolation, "1 to 16")
        window = self.correlation_window
        odd = all(side >= 1 and side % 2 for side in window)
        check(odd, "loss.correlation_window", list(window), "two odd numbers")

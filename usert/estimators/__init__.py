"""The classical methods that the network is held against, and that need no weights.

An estimator takes two frames (N, M) and gives the displacement (2, N, M) of the first into the second, in
samples and lines, post(r + d(r)) ≈ pre(r). Invariant: all estimators take and give the same, so that one stands
in for another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .glue import SMOOTH, global_time_delay
from .ncc import block_matching

__all__ = ["ESTIMATORS", "Estimator", "block_matching", "global_time_delay"]

Estimator = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float32]]

ESTIMATORS: dict[str, Estimator] = {
    "ncc": block_matching,
    "glue": global_time_delay,
    "glue-smooth": partial(global_time_delay, weights=SMOOTH),
}
"""By the names that a person types, with default settings but for what the name says."""

"""Classical methods of displacement estimation to compare the network with; they need no weights.

Invariant: every estimator takes two frames (N, M) and returns the float32 displacement (2, N, M), in samples and lines,
with post(r + d(r)) ≈ pre(r), so that one can replace another.
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

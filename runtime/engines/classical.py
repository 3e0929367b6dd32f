"""A classical estimator as an engine, without weights or bundle.

It adds to the estimator's displacement what a bundle's graph adds: strain by least squares and the correlation after
the warp. Invariant: it accepts and rejects the same frames as an engine with a bundle, with the same messages.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import FrameError, expect
from usert.estimators import ESTIMATORS
from usert.frame import Scan, check_shape
from usert.front_end import TYPICAL
from usert.iq import common_sample, rf_rows
from usert.quality import warped_ncc
from usert.strain import axial_strain

from ..imaging.estimate import Estimate
from .int16 import to_int16
from .iq_pair import IqPairs


class ClassicalEngine:
    """An estimator of `usert.estimators`. GLUE needs scipy, and raises `MissingExtraError` when it first runs."""

    def __init__(self, method: str, *, strain_window_samples: int) -> None:
        expect(method in ESTIMATORS, "method", f"{method!r}", f"one of {', '.join(ESTIMATORS)}")
        self._method = method
        self._estimate = ESTIMATORS[method]
        self._window = strain_window_samples
        self._iq = IqPairs()

    @property
    def name(self) -> str:
        return f"usert.estimators {self._method}"

    def strain_window_at(self, scan: Scan) -> int:
        return round(self._window * common_sample(scan))

    def warm_up(self, shape: tuple[int, int], scan: Scan | None = None) -> None:
        """Do nothing: there is nothing to load."""

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        if scan is not None and scan.kind == "iq":
            check_shape("reference frame", reference, "iq")
            rows = rf_rows(len(reference), scan, rows_per_cycle=1 / TYPICAL)
            return self._iq.run(self.run, reference, current, scan, rf_rows=rows)
        first, second = to_int16(reference, current)
        if len(first) < self._window:
            raise FrameError(
                f"frame: got {len(first)} samples along depth, expected at least {self._window}: "
                "the strain window"
            )
        displacement = self._estimate(first, second)
        return Estimate(
            displacement=displacement,
            strain=axial_strain(displacement[0], self._window),
            quality=np.clip(warped_ncc(first, second, displacement), 0, 1),
        )

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

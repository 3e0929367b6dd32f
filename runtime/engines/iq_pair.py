"""A pair of IQ frames through an engine, whose graph takes RF: turned up before, put back on the rows of the IQ after.

Both frames are turned up as one, so that their phases stay what they are to each other, and one graph serves RF and IQ.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import FrameError
from usert.frame import Scan
from usert.iq import at_rows, motion_at_rows, rf_scan, turned_up

from ..imaging.estimate import Estimate

Run = Callable[[NDArray[Any], NDArray[Any], Scan], Estimate]
"""An engine's run of a pair of RF frames (N, M)."""
_MOST = 33
"""Frames of which RF is kept: the newest, and those before it that a live session looks back on."""


class IqPairs:
    """The pairs of one engine. A frame is turned up once, also where it is in several pairs, as live frames are.

    Its RF is kept as long as the array of its samples exists. Invariant: samples that have changed are turned up again.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[weakref.ref[NDArray[Any]], object, NDArray[np.float32]]] = []
        """Samples, what their RF was made of, and the RF."""

    def run(
        self, run: Run, reference: NDArray[Any], current: NDArray[Any], scan: Scan, *, rf_rows: int
    ) -> Estimate:
        """The estimate of two IQ frames (N, M, 2), turned up to `rf_rows` rows of RF, on the rows of the IQ.

        Errors: `FrameError` for frames of different shape, samples that are not finite or all equal; those of `run`.
        """
        if reference.shape != current.shape:
            raise FrameError(f"a pair: got shapes {reference.shape} and {current.shape}, expected one shape")
        first, second = (self._turned_up(samples, scan, rf_rows) for samples in (reference, current))
        rows = reference.shape[0]
        estimate = run(first, second, rf_scan(scan, rows, rf_rows))
        return Estimate(
            displacement=motion_at_rows(estimate.displacement, rows),
            strain=at_rows(estimate.strain, rows),
            quality=at_rows(estimate.quality, rows),
        )

    def _turned_up(self, samples: NDArray[Any], scan: Scan, rows: int) -> NDArray[np.float32]:
        made_of = scan, rows, samples.dtype, samples.shape, samples.tobytes()
        own = next((kept for kept in self._kept if kept[0]() is samples), None)
        rf = own[2] if own is not None and own[1] == made_of else turned_up(samples, scan, rows)
        others = [kept for kept in self._kept if kept[0]() is not None and kept is not own]
        self._kept = [*others, (weakref.ref(samples), made_of, rf)][-_MOST:]
        return rf

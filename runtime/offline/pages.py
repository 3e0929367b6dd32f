"""A result as a sequence of pages, one a pair: B-mode, strain and quality, with the same colour scale on all pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from usert.quality import READABLE_QUALITY, readable_mean
from usert.recording import Recording

from ..imaging.estimate import Estimate
from .canvas import Canvas
from .figure import LONGEST_PX, figure_page, strain_range
from .result_file import ResultReader
from .run_pairs import figures_of

_SHARE = 90
"""Percentile of the pairs' own strain ranges that is the common range, so that a few outliers do not darken the
rest."""


class Pages:
    """The pages in the order of the pairs; may be iterated repeatedly."""

    def __init__(
        self, recording: Recording, result: ResultReader, *, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self._recording = recording
        self._result = result
        self._stopped = stopped
        self.scan = recording.scan
        self.attributes = result.attributes
        """The attributes of the result."""
        self._softs = self._soft_ends()

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Depth and width of a pixel of the three images on a page."""
        return Canvas.of(self.scan, self._recording.shape, LONGEST_PX).pixel_mm

    @property
    def acquired_ns(self) -> NDArray[np.int64] | None:
        """Wall clock (P,) of each pair's current frame; None unless all are known and strictly increase."""
        times = self._recording.acquired_ns[[current for _, current in self._result.pairs]]
        known = bool((times > 0).all() and (np.diff(times) > 0).all())
        return times if known else None

    def __len__(self) -> int:
        return len(self._result.pairs)

    def name(self, index: int) -> str:
        """A file name for the pair at `index`; names sort as the pairs do."""
        reference, current = self._result.pairs[index]
        return f"{index:05d}_{reference}-{current}"

    def __iter__(self) -> Iterator[Image.Image]:
        for index, (reference, current) in enumerate(self._result.pairs):
            if self._stopped():
                raise KeyboardInterrupt
            estimate = self._result.estimate(index)
            mean, share = readable_mean(estimate.strain, estimate.quality)
            yield figure_page(
                samples=self._recording.frame(reference).signal,
                scan=self.scan,
                strain=estimate.strain,
                quality=estimate.quality,
                title=f"Frames {reference} to {current}: {figures_of(mean, share, float(np.median(estimate.quality)))}",
                soft=self._softs[index],
            )

    def _soft_ends(self) -> list[float]:
        """Strain of the softest colour of each page: of one magnitude, with the sign of the pair."""
        own, trusted = [], []
        for index in range(len(self)):
            if self._stopped():
                raise KeyboardInterrupt
            estimate = self._result.estimate(index)
            own.append(_soft_end(estimate))
            trusted.append(float(np.median(estimate.quality)) >= READABLE_QUALITY)
        sizes = np.abs(own)
        size = float(np.percentile(sizes[trusted] if any(trusted) else sizes, _SHARE))
        return [float(np.copysign(size, soft)) for soft in own]


def _soft_end(estimate: Estimate) -> float:
    known = np.isfinite(estimate.strain) & np.isfinite(estimate.quality)
    return strain_range(np.where(known, estimate.strain, 0), np.where(known, estimate.quality, 0))[1]

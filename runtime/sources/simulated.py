"""The simulated scanner as a live source: one press and release, computed once and repeated.

Invariant: frame k of the stream shows the tissue as frame k modulo the period does, so the sequence numbers of a pair
determine its true strain.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray

from usert.errors import expect
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.strain import axial_strain

SIZES: dict[str, tuple[int, int]] = {"small": (512, 128), "medium": (1024, 256), "large": (1920, 768)}
"""Frame shapes (N, M) by name."""
_RIM = 0.25
"""Pixels nearer to the lesion's edge than this share of its radius count to neither side."""
_TRUTH_WINDOW = 3


def simulated_scanner(size: str, seed: int = 0) -> SimulatedScanner:
    """A simulated scanner with frames of a named size. Errors: `OptionError`."""
    expect(size in SIZES, "--size", f"{size!r}", f"one of {', '.join(SIZES)}")
    return SimulatedScanner(ScannerConfig(shape=SIZES[size]), seed)


class Cycle:
    """The frames of one period of a scanner, repeated without end."""

    def __init__(self, scanner: SimulatedScanner) -> None:
        self._scanner = scanner
        self._kept: list[RFFrame] = []

    def simulate(self, *, stopping: Callable[[], bool]) -> None:
        """Compute the frames in advance, unless `stopping()`."""
        while len(self._kept) < self._scanner.period_frames and not stopping():
            self._kept.append(self._scanner.frame(len(self._kept)))

    def frames(self) -> Iterator[RFFrame]:
        """The computed frames, repeated without end."""
        return itertools.cycle(self._kept)


class LesionRatio:
    """The ratio of the strain inside the lesion to that outside, estimated and true, over the same pixels."""

    def __init__(self, scanner: SimulatedScanner) -> None:
        self._scanner = scanner
        self._inside = scanner.lesion_mask(-_RIM)
        self._outside = ~scanner.lesion_mask(_RIM)

    def of(self, strain: NDArray[Any]) -> float:
        """The ratio in a strain image (N, M)."""
        outside = float(strain[self._outside].mean())
        return float(strain[self._inside].mean()) / outside if outside else float("nan")

    def true(self, reference: int, current: int) -> float:
        """The true ratio between two frames of the stream, by sequence number."""
        period = self._scanner.period_frames
        displacement = self._scanner.truth(reference % period, current % period)
        return self.of(axial_strain(displacement[0], _TRUTH_WINDOW))

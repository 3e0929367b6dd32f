"""A pair to evaluate: two frames, with windows and truth.

Invariant: truth, where there is one, is on the grid of `pre`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from usert.frame import Scan
from usert.quality import Window

Image = NDArray[Any]

BORDER = 32, 4
"""Samples and lines left out of the errors against truth: there, tissue leaves the frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two frames to evaluate methods on, with their windows and truth."""

    name: str
    """Pairs of one name in a table, such as seeds of one phantom, are averaged in it."""
    pre: Image
    """Reference frame (N, M), before the motion."""
    post: Image
    """Current frame (N, M), after the motion."""
    scan: Scan
    strain_window: int
    """Length of the least-squares fit along depth in samples, odd."""
    ncc_rows: tuple[int, int]
    """First and one past the last row over which the correlation after the warp is averaged."""
    homogeneous: Window | None = None
    """A window of one stiffness."""
    target: Window | None = None
    """The lesion of CNR and SR, with `background`."""
    background: Window | None = None
    still: Window | None = None
    """A window where hardly anything moves, so that strain is mostly error."""
    truth: Image | None = None
    """True displacement (2, N, M) in samples and lines."""
    twice: str | None = None
    """Name of the pair before it in the table whose displacement is half of this one's."""

    @property
    def windows(self) -> dict[str, Window]:
        """The windows that are set, by name."""
        named = {name: getattr(self, name) for name in WINDOWS}
        return {name: window for name, window in named.items() if window is not None}


WINDOWS = ("homogeneous", "target", "background", "still")

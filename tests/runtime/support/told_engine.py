"""An engine that answers what a test tells it, and the frames of live streams for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.frame import RFFrame, Scan
from usert.front_end import grid_rows
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.frames import ReceivedFrame

SHAPE = (64, 32)
SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540.0, line_pitch_mm=0.12)


class Told:
    """An engine that answers as readable images as the test tells it, and keeps what it was asked."""

    name = "told"
    strain_window_at = staticmethod(lambda scan: 3)

    def __init__(self) -> None:
        self.whole = self.near = 1.0
        """Share of the image that may be read, from nothing and where it follows."""
        self.raises: Exception | None = None
        self.asked: list[str] = []
        self.starts: list[NDArray[np.float32]] = []

    def grid_rows_at(self, shape: tuple[int, int], scan: Scan) -> int:
        return grid_rows(shape[0], scan.cycles_per_sample)

    def warm_up(self, shape: tuple[int, int], scan: object = None) -> None:
        self.asked.append("warm up")

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: object = None) -> Estimate:
        self.asked.append("run")
        return self._estimate(2.0, self.whole)

    def follow(
        self, reference: NDArray[Any], current: NDArray[Any], scan: object, start: NDArray[np.float32]
    ) -> Estimate:
        self.asked.append("follow")
        if self.raises is not None:
            raise self.raises
        self.starts.append(start)
        return self._estimate(2.0, self.near)

    def _estimate(self, motion: float, share: float) -> Estimate:
        quality = np.zeros(SHAPE, np.float32)
        quality[: round(share * SHAPE[0])] = 0.9
        return Estimate(
            displacement=np.full((2, *SHAPE), motion, np.float32),
            strain=np.zeros(SHAPE, np.float32),
            quality=quality,
        )

    def close(self) -> None:
        self.asked.append("close")


def received(k: int, *, session: int = 1, stream: str = "s", scan: Scan = SCAN) -> ReceivedFrame:
    frame = RFFrame(samples=np.zeros(SHAPE, np.int16), scan=scan, sequence=k)
    return ReceivedFrame(frame=frame, stream=stream, clock="c", received_ns=k, session=session)

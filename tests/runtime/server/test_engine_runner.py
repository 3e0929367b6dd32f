"""Pairs of a live server through an engine that follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from live import numbered_frame
from numpy.typing import NDArray

from usert.runtime.engines.following import FollowingEngine
from usert.runtime.engines.interface import TYPICAL_SCAN, FrameFormat
from usert.runtime.failover.handover import frames_words, parse_frames
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.imaging.image_quality import ImageQualityRule
from usert.runtime.server.engine_runner import EngineRunner


class Readable:
    """An engine whose images may be read everywhere, and that can follow."""

    name = "readable"
    strain_window_at = staticmethod(lambda scan: 3)

    def warm_up(self, shape: tuple[int, int], scan: object = None) -> None:
        pass

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: object = None) -> Estimate:
        nothing = np.zeros((2, *reference.shape), np.float32)
        return Estimate(displacement=nothing, strain=nothing[0], quality=nothing[0] + 1)

    def grid_rows_at(self, shape: tuple[int, int], scan: object = None) -> int:
        return 48

    def follow(
        self, reference: NDArray[Any], current: NDArray[Any], scan: object, start: NDArray[np.float32]
    ) -> Estimate:
        return self.run(reference, current)

    def close(self) -> None:
        pass


def test_a_record_tells_which_images_followed_and_a_session_begins_from_nothing() -> None:
    runner = EngineRunner(FollowingEngine(Readable()), quality_rule=ImageQualityRule())

    def engine_of(k: int, session: int = 1) -> str:
        first, second = (
            ReceivedFrame(frame=numbered_frame(n), stream="s", clock="c", received_ns=n, session=session)
            for n in (k, k + 1)
        )
        pair = runner.estimate(first, second)
        runner.backward(pair)  # is no image of the session
        return pair.engine

    assert [engine_of(k) for k in range(1, 4)] == ["readable", "readable, following", "readable, following"]
    assert [engine_of(k, session=2) for k in (4, 5)] == ["readable", "readable, following"]


def test_frames_on_another_depth_grid_are_warmed_up_for_themselves() -> None:
    """A graph compiled for the grid of common sampling is not the one that they run on."""
    common = replace(TYPICAL_SCAN, fs_hz=40.2e6)
    other, iq = replace(TYPICAL_SCAN, f0_hz=9e6), replace(TYPICAL_SCAN, demodulation_hz=6.5e6)
    no_grid = replace(TYPICAL_SCAN, f0_hz=19.9e6)
    assert FrameFormat.of((512, 128), common) == FrameFormat((512, 128))
    for scan in (other, iq, no_grid):
        assert FrameFormat.of((512, 128), scan) == FrameFormat((512, 128), scan)
    assert parse_frames(frames_words(FrameFormat((512, 128), other))) == FrameFormat((512, 128), other)

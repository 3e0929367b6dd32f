"""Frames of the simulated scanner again and again as one live session, through an engine that follows.

Invariant: no array of samples is used for two frames, as in a live server.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from usert.frame import RFFrame

from ..engines.following import FollowingEngine
from ..imaging.frames import ReceivedFrame


class LiveSession:
    """Pairs of neighbouring frames; `run` may be called by as many threads at once as the engine allows."""

    def __init__(self, engine: FollowingEngine, frames: Sequence[RFFrame]) -> None:
        """`frames`: one period of an endless stream."""
        self._engine = engine
        self._frames = frames
        self._lock = threading.Lock()
        self._last = self._received(0)
        self._followed = 0

    def run(self) -> None:
        """Run the engine on the next pair."""
        with self._lock:
            reference = self._last
            self._last = current = self._received(reference.frame.sequence + 1)
        _, follows = self._engine.after(reference, current)
        with self._lock:
            self._followed += follows

    def followed(self) -> int:
        """Number of images that followed since this was last asked."""
        with self._lock:
            followed, self._followed = self._followed, 0
            return followed

    def _received(self, sequence: int) -> ReceivedFrame:
        frame = self._frames[sequence % len(self._frames)]
        frame = replace(frame, samples=frame.samples.copy(), sequence=sequence)
        return ReceivedFrame(frame=frame, stream="bench", clock="", received_ns=sequence, session=1)

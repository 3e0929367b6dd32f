"""An engine that follows: where a session runs, a pair starts from the motion of the image before.

Far search and network are then left out, and a pair takes about .6 of the time. Each result is checked against the
frames by its own quality: where less may be read than before, the pair is run again from nothing, and the better of
both is taken. If they differ, the start was wrong, and nothing is followed for a while: one image after the first such
start, twice as many after each further one. Every ninth image starts from nothing in any case, so that no error lives
longer than eight images.

Knows no server. Invariant: a start never passes from one session to another, and never from an image that is hardly
readable.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import BundleError, EngineError
from usert.frame import Scan, Shape
from usert.front_end import START_SHAPE
from usert.quality import READABLE_QUALITY

from ..imaging.estimate import Estimate
from ..imaging.frames import ReceivedFrame
from .interface import Engine, Follower, noise_pair
from .start import start_of

log = logging.getLogger(__name__)

MOST_FOLLOWED = 8
"""Images in a row that follow."""
LEAST_READABLE = 0.5
"""Share of an image that must be readable for the next to follow."""
DOUBT = 0.1
"""Share of what was readable before, of which so much is lost that there is doubt."""
FOUNDED = 0.02
"""Share of the image by which both answers then differ if the start was wrong, and not the tissue less alike."""
MOST_PAUSE = 8
"""Images from nothing after many wrong starts."""
FURTHEST_FRAMES = 4
"""Frames from one image to the next, beyond which the motion is taken for another."""
LAG_RATIO = 3.0
"""Ratio of the lags of two images, either way, up to which their motions are taken for similar."""
_MOST_STREAMS = 16
_LOOKED_AT = (128, 64)


@dataclass(slots=True)
class _Course:
    """What is known of one stream between two images."""

    session: int
    shape: Shape
    scan: Scan
    frames: tuple[int, int]
    """Sequence numbers of the last pair."""
    estimate: Estimate
    readable: float
    """Share of the image that may be read; of followed ones, the largest since the last from nothing."""
    followed: int = 0
    pause: int = 0
    """Images from nothing still to come."""
    next_pause: int = 1


class FollowingEngine:
    """`engine`, with `after` in the place of `run` for the pairs of live sessions. Closing it closes `engine`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._courses: OrderedDict[str, _Course] = OrderedDict()
        """By stream, the newest last."""
        self._unable = False
        """Whether nothing follows any more, as the log told."""

    @property
    def name(self) -> str:
        return self.engine.name

    def strain_window_at(self, scan: Scan) -> int:
        return self.engine.strain_window_at(scan)

    def warm_up(self, shape: tuple[int, int], scan: Scan | None = None) -> None:
        self.engine.warm_up(shape, scan)
        self._followed(*noise_pair(shape, scan), lambda _: np.zeros(START_SHAPE, np.float32))

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        return self.engine.run(reference, current, scan)

    def close(self) -> None:
        self._courses.clear()
        self.engine.close()

    def after(self, reference: ReceivedFrame, current: ReceivedFrame) -> tuple[Estimate, bool]:
        """The estimate of the next pair of a stream, and whether it follows. Errors: as `run`."""
        course = self._courses.pop(current.stream, None)
        if course is not None and not _goes_on(course, reference, current):
            course = None
        first, second, scan = reference.frame.samples, current.frame.samples, reference.frame.scan
        frames = reference.frame.sequence, current.frame.sequence
        near: Estimate | None = None
        if course is not None and course.pause == 0 and course.followed < MOST_FOLLOWED:
            lags = [last - start for start, last in (frames, course.frames)]
            start = partial(start_of, course.estimate, scan.cycles_per_sample, scale=lags[0] / lags[1])
            near = self._followed(first, second, scan, start)
        share = 0.0 if near is None else readable_share(near)
        if near is not None and course is not None and share >= (1 - DOUBT) * course.readable:
            new = _course(reference, current, near, max(share, course.readable))
            new.followed, new.next_pause = course.followed + 1, course.next_pause
            self._remember(current.stream, new)
            return near, True
        whole = self.engine.run(first, second, scan)
        of_whole = readable_share(whole)
        found = near if near is not None and share > of_whole + FOUNDED else whole
        new = _course(reference, current, found, max(share, of_whole))
        if course is not None:
            new.next_pause = 1 if course.followed == MOST_FOLLOWED else course.next_pause
            new.pause = max(0, course.pause - 1)
        if near is not None and abs(of_whole - share) > FOUNDED:
            new.pause, new.next_pause = new.next_pause, min(2 * new.next_pause, MOST_PAUSE)
        if new.readable < LEAST_READABLE:
            new.pause = max(1, new.pause)
        self._remember(current.stream, new)
        return found, found is near

    def _remember(self, stream: str, course: _Course) -> None:
        self._courses[stream] = course
        while len(self._courses) > _MOST_STREAMS:
            self._courses.popitem(last=False)

    def _followed(
        self,
        first: NDArray[Any],
        second: NDArray[Any],
        scan: Scan,
        start: Callable[[int], NDArray[np.float32]],
    ) -> Estimate | None:
        """None where nothing can follow such frames. `start` is made for so many rows of the depth grid."""
        if self._unable:
            return None
        try:
            if isinstance(self.engine, Follower):
                rows = self.engine.grid_rows_at((first.shape[0], first.shape[1]), scan)
                return self.engine.follow(first, second, scan, start(rows))
            reason = f"{self.engine.name} cannot follow"
        except (BundleError, EngineError) as error:
            reason = str(error)
        self._unable = True
        log.warning("--follow: %s; images start from nothing from now on", reason)
        return None


def _course(reference: ReceivedFrame, current: ReceivedFrame, estimate: Estimate, readable: float) -> _Course:
    return _Course(
        session=current.session,
        shape=current.frame.shape,
        scan=current.frame.scan,
        frames=(reference.frame.sequence, current.frame.sequence),
        estimate=estimate,
        readable=readable,
    )


def readable_share(estimate: Estimate) -> float:
    """Share of the pixels of an estimate that may be read, of some that are looked at."""
    down, over = (max(1, size // most) for size, most in zip(estimate.quality.shape, _LOOKED_AT, strict=True))
    return float(np.mean(estimate.quality[::down, ::over] >= READABLE_QUALITY))


def _goes_on(course: _Course, reference: ReceivedFrame, current: ReceivedFrame) -> bool:
    """Whether a pair comes soon enough after the last one of its stream, and is of its kind."""
    frame = current.frame
    first, last = course.frames
    ratio = (frame.sequence - reference.frame.sequence) / (last - first)
    return (
        (course.session, course.shape, course.scan) == (current.session, frame.shape, frame.scan)
        and 0 < frame.sequence - last <= FURTHEST_FRAMES
        and 1 / LAG_RATIO <= ratio <= LAG_RATIO
    )

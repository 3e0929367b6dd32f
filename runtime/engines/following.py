"""An engine that follows: where a session runs, a pair starts from the motion of an image before.

Far search and network are then left out, and a pair takes about .6 of the time. Each result is checked against the
frames by its own quality: where less may be read than before, the pair is run again from nothing, and the better of
both is taken. If they differ, the start was wrong, and nothing is followed for a while: one image after the first such
start, twice as many after each further one. Every ninth image starts from nothing in any case, every seventh where two
run at once, so that no error lives longer than eight images.

A pair starts from the newest image that has ended, which with several at once is as many back (`course.py`).

Knows no server. Ownership: `run` and `after` may be called by as many threads at once as `at_once` tells, all else by
one at a time. Invariant: a start never passes from one session to another, and never from an image that is hardly
readable.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError, OptionError
from usert.frame import Scan, Shape
from usert.front_end import START_SHAPE
from usert.quality import READABLE_QUALITY

from ..imaging.estimate import Estimate
from ..imaging.frames import ReceivedFrame
from .concurrency import pairs_at_once
from .course import Begun, Course, Image
from .interface import Engine, Follower, noise_pair, warm_up_gradually
from .start import start_of

log = logging.getLogger(__name__)

DOUBT = 0.1
"""Share of what was readable before, of which so much is lost that there is doubt."""
FOUNDED = 0.02
"""Share of the image by which both answers then differ if the start was wrong, and not the tissue less alike."""
_MOST_STREAMS = 16
_LOOKED_AT = (128, 64)


class FollowingEngine:
    """`engine`, with `after` in the place of `run` for the pairs of live sessions. Closing it closes `engine`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lock = threading.Lock()
        """Held where something is looked up or noted, never while the engine runs."""
        self._courses: OrderedDict[str, Course] = OrderedDict()
        """By stream, the newest last."""
        self._unable = False
        """Whether nothing follows any more, as the log told."""

    @property
    def name(self) -> str:
        return self.engine.name

    def at_once(self, shape: Shape, scan: Scan | None = None) -> int:
        return pairs_at_once(self.engine, shape, scan)

    def strain_window_at(self, scan: Scan) -> int:
        return self.engine.strain_window_at(scan)

    def warm_up(self, shape: tuple[int, int], scan: Scan | None = None) -> None:
        self.engine.warm_up(shape, scan)
        self._follow_noise(shape, scan)

    def warm_up_gradually(self, shape: Shape, scan: Scan | None = None) -> None:
        """Warm up for frames that are already coming; what takes long and only makes them faster comes in a thread."""
        warm_up_gradually(self.engine, shape, scan)
        self._follow_noise(shape, scan)

    def _follow_noise(self, shape: Shape, scan: Scan | None) -> None:
        pair = noise_pair(shape, scan)
        for _ in range(self.at_once(shape, scan)):  # each session in turn
            self._followed(*pair, lambda _: np.zeros(START_SHAPE, np.float32))

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        return self.engine.run(reference, current, scan)

    def close(self) -> None:
        self._courses.clear()
        self.engine.close()

    def after(self, reference: ReceivedFrame, current: ReceivedFrame) -> tuple[Estimate, bool]:
        """The estimate of the next pair of a stream, and whether it follows. Errors: as `run`."""
        course, pair = self._begin(reference, current)
        try:
            image, wrong, follows = self._image(pair, reference, current)
        except BaseException:
            with self._lock:
                if self._courses.get(current.stream) is course:
                    del self._courses[current.stream]
            raise
        with self._lock:
            course.end(pair, image, wrong=wrong)
        return image.estimate, follows

    def _begin(self, reference: ReceivedFrame, current: ReceivedFrame) -> tuple[Course, Begun]:
        at_once = self.at_once(current.frame.shape, current.frame.scan)
        with self._lock:
            course = self._courses.get(current.stream)
            if course is None or not course.goes_on(reference, current):
                course = self._courses[current.stream] = Course(reference, current)
            self._courses.move_to_end(current.stream)
            while len(self._courses) > _MOST_STREAMS:
                self._courses.popitem(last=False)
            return course, course.begin(reference, current, at_once=at_once)

    def _image(
        self, pair: Begun, reference: ReceivedFrame, current: ReceivedFrame
    ) -> tuple[Image, bool, bool]:
        """The image of a pair, whether its start was wrong, and whether it follows."""
        first, second, scan = reference.frame.samples, current.frame.samples, reference.frame.scan
        image = partial(Image, number=pair.number, lag=pair.lag)
        near, share, before = None, 0.0, pair.start
        if before is not None:
            scale = pair.lag / before.lag
            start = partial(start_of, before.estimate, scan.cycles_per_sample, scale=scale)
            near = self._followed(first, second, scan, start)
        if near is not None and before is not None:
            share = readable_share(near)
            if share >= (1 - DOUBT) * before.readable:
                best = max(share, before.readable)
                return image(origin=before.origin, estimate=near, readable=best), False, True
        whole = self.engine.run(first, second, scan)
        of_whole = readable_share(whole)
        found = near if near is not None and share > of_whole + FOUNDED else whole
        wrong = near is not None and abs(of_whole - share) > FOUNDED
        best = max(share, of_whole)
        return image(origin=pair.number, estimate=found, readable=best), wrong, found is near

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
        with self._lock:
            told, self._unable = self._unable, True
        if not told:
            log.warning("--follow: %s; images start from nothing from now on", reason)
        return None


def check_follows(bundle: Bundle) -> None:
    """Check that a bundle has graphs that follow. Errors: `OptionError` for the option `--follow`."""
    if not bundle.manifest.follow:
        raise OptionError(
            f"--follow: got bundle {bundle.folder} without graphs that follow, expected one of `usert export --follow`"
        )


def readable_share(estimate: Estimate) -> float:
    """Share of the pixels of an estimate that may be read, of some that are looked at."""
    down, over = (max(1, size // most) for size, most in zip(estimate.quality.shape, _LOOKED_AT, strict=True))
    return float(np.mean(estimate.quality[::down, ::over] >= READABLE_QUALITY))

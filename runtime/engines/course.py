"""The course of one stream of pairs: from which image the next one may start.

Images are numbered as their pairs start. Each has an origin: the number of the image from nothing that its motion comes
from, its own if it did not follow. Several pairs may be under way, and end in any order.

Knows no engine and no thread: who calls holds a lock. Invariants: no image follows whose origin lies more than
`MOST_FOLLOWED` images back; and none follows what came from before a doubt.
"""

from __future__ import annotations

from dataclasses import dataclass

from usert.frame import Scan, Shape

from ..imaging.estimate import Estimate
from ..imaging.frames import ReceivedFrame

MOST_FOLLOWED = 8
"""Images in a row that follow."""
LEAST_READABLE = 0.5
"""Share of an image that must be readable for others to follow."""
MOST_PAUSE = 8
"""Images from nothing after many wrong starts."""
FURTHEST_FRAMES = 4
"""Frames from one image to the next, beyond which the motion is taken for another."""
LAG_RATIO = 3.0
"""Ratio of the lags of two images, either way, up to which their motions are taken for similar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that has ended."""

    number: int
    origin: int
    lag: int
    """Frames from the first to the second of its pair."""
    estimate: Estimate
    readable: float
    """Share of it that may be read; of followed ones, the largest since the last from nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A pair under way."""

    number: int
    lag: int
    start: Image | None
    """The image whose motion it starts from; None: it starts from nothing."""


class Course:
    """The images of one stream from the pair of `reference` and `current` on, as long as they `go_on`."""

    def __init__(self, reference: ReceivedFrame, current: ReceivedFrame) -> None:
        self._kind = _kind(current)
        self._frame = current.frame.sequence
        """The newest frame of a pair that was begun."""
        self._lag = current.frame.sequence - reference.frame.sequence
        """Of the pair that was begun last."""
        self._begun = 0
        self._under_way: dict[int, bool] = {}
        """By number, whether a pair under way starts from nothing."""
        self._image: Image | None = None
        """What the next pair starts from: of the images from the newest origin the newest."""
        self._least = 0
        """Images with origins before this number are not followed: there was a doubt."""
        self._pause = 0
        """Images from nothing still to begin."""
        self._next_pause = 1

    def goes_on(self, reference: ReceivedFrame, current: ReceivedFrame) -> bool:
        """Whether a pair comes soon enough after the one begun before, and is of its kind.

        Of two pairs under way, each in its thread, either may come first.
        """
        ahead = current.frame.sequence - self._frame
        soon = 0 < ahead <= FURTHEST_FRAMES or (bool(self._under_way) and 0 < -ahead <= FURTHEST_FRAMES)
        lag = current.frame.sequence - reference.frame.sequence
        return self._kind == _kind(current) and soon and _alike(lag, self._lag)

    def begin(self, reference: ReceivedFrame, current: ReceivedFrame, *, at_once: int) -> Begun:
        """Number a pair that goes on, and choose what it starts from; `at_once`: most pairs that may be under way."""
        self._begun += 1
        self._frame = max(self._frame, current.frame.sequence)
        self._lag = current.frame.sequence - reference.frame.sequence
        pair = Begun(number=self._begun, lag=self._lag, start=self._start(at_once))
        self._under_way[pair.number] = pair.start is None
        return pair

    def _start(self, at_once: int) -> Image | None:
        if self._pause:
            self._pause -= 1
            return None
        if self._image is None or not _alike(self._lag, self._image.lag):
            return None
        origin, age = self._image.origin, self._begun - self._image.origin
        # those beside an image from nothing cannot follow it yet: it is begun while they may follow as the others did
        latest = MOST_FOLLOWED - (at_once if at_once > 1 else 0)
        renewing = any(whole and number > origin for number, whole in self._under_way.items())
        if age <= latest or (renewing and age <= MOST_FOLLOWED):
            return self._image
        if not renewing:
            self._next_pause = 1
        return None

    def end(self, pair: Begun, image: Image, *, wrong: bool) -> None:
        """Take the image of a pair; `wrong`: it started from a motion that was not that of its frames."""
        del self._under_way[pair.number]
        if image.origin < self._least:
            return
        if wrong:
            self._pause, self._next_pause = self._next_pause, min(2 * self._next_pause, MOST_PAUSE)
        if image.readable < LEAST_READABLE:
            self._pause = max(1, self._pause)
        if wrong or image.readable < LEAST_READABLE:
            self._image, self._least = None, self._begun + 1
        elif self._image is None or _order(image) > _order(self._image):
            self._image = image


def _kind(current: ReceivedFrame) -> tuple[int, Shape, Scan]:
    return current.session, current.frame.shape, current.frame.scan


def _alike(lag: int, other: int) -> bool:
    return lag <= LAG_RATIO * other and other <= LAG_RATIO * lag


def _order(image: Image) -> tuple[int, int]:
    return image.origin, image.number

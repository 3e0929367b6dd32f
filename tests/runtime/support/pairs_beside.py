"""Pairs of a stream that follow, two at once, which a test begins and ends in any order."""

from __future__ import annotations

import queue
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from live import TIMEOUT_S
from numpy.typing import NDArray
from told_engine import SHAPE, Told, received

from usert.frame import Shape
from usert.runtime.engines.course import MOST_FOLLOWED, MOST_PAUSE
from usert.runtime.engines.following import FollowingEngine
from usert.runtime.imaging.estimate import Estimate

AT_ONCE = 2


@dataclass
class Call:
    """A pair that waits in the engine; `start`: the motion that it starts from, None: from nothing."""

    start: float | None
    answer: queue.SimpleQueue[Estimate | Exception] = field(default_factory=queue.SimpleQueue)


class Blocking(Told):
    """Takes two pairs at once, each of which waits until the test answers it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: queue.SimpleQueue[Call] = queue.SimpleQueue()

    def at_once(self, shape: Shape, scan: object = None) -> int:
        return AT_ONCE

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: object = None) -> Estimate:
        return self._answer(Call(None))

    def follow(
        self, reference: NDArray[Any], current: NDArray[Any], scan: object, start: NDArray[np.float32]
    ) -> Estimate:
        return self._answer(Call(float(start[1, 0, 0])))

    def _answer(self, call: Call) -> Estimate:
        self.calls.put(call)
        answer = call.answer.get(timeout=TIMEOUT_S)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Pair:
    number: int
    call: Call
    done: Future[tuple[Estimate, bool]]
    origin: int = 0
    """The image from nothing that its motion comes from."""
    readable: float = 1.0
    wrong: bool = False
    begun: int = 0
    """Pairs that had begun when it ended."""

    @property
    def start(self) -> int | None:
        """Number of the image that it starts from: the motion of an image is its number."""
        return None if self.call.start is None else round(self.call.start)


class Beside:
    """Pairs that the test begins and ends; the start of each is held against all that has happened so far."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.engine, self.pool = Blocking(), pool
        self.following = FollowingEngine(self.engine)
        self.under_way: list[Pair] = []
        self.ended: list[Pair] = []
        self.number = 0
        self.renewed_after = 0
        """Doubts before the last image from nothing that was due, after which pauses are short again."""

    def begin(self) -> Pair:
        self.number += 1
        expected = self.expected_start()
        pair = self.pair_of(self.number)
        pair.origin = pair.number if pair.start is None else self.image(pair.start).origin
        assert pair.start == expected, (pair.number, [image.number for image in self.ended])
        self.under_way.append(pair)
        return pair

    def pair_of(self, frame: int) -> Pair:
        """A pair with the frame before, which waits in the engine, and is not looked at."""
        done = self.pool.submit(self.following.after, received(frame - 1), received(frame))
        return Pair(frame, self.called(), done)

    def answer(self, pair: Pair) -> bool:
        """Whether the image of a pair follows, all of which may be read."""
        pair.call.answer.put(self.engine._estimate(pair.number, 1.0))
        return pair.done.result(TIMEOUT_S)[1]

    def called(self) -> Call:
        call = self.engine.calls.get(timeout=TIMEOUT_S)
        return call

    def end(self, pair: Pair, *, near: float = 1.0, whole: float = 1.0) -> None:
        """End a pair, of whose image so much may be read where it follows, and from nothing."""
        before = None if pair.start is None else self.image(pair.start).readable
        first = whole if pair.start is None else near
        pair.call.answer.put(self.engine._estimate(pair.number, first))
        if before is not None and round(near * SHAPE[0]) < 0.9 * before * SHAPE[0]:
            again = self.called()
            assert again.start is None
            again.answer.put(self.engine._estimate(pair.number, whole))
            pair.origin, pair.readable = pair.number, max(near, whole)
            pair.wrong = abs(near - whole) > 0.02
        else:
            pair.readable = max(first, before or 0)
        pair.done.result(TIMEOUT_S)
        self.under_way.remove(pair)
        pair.begun = self.number
        self.ended.append(pair)

    def image(self, number: int) -> Pair:
        return next(image for image in self.ended if image.number == number)

    def expected_start(self) -> int | None:
        """By the rules, from all images that have ended so far."""
        doubted, pause, wrong = 0, 0, 0
        for image in self.ended:
            if image.origin > doubted and (image.wrong or image.readable < 0.5):
                pause = max(1, pause - (image.begun - doubted))
                if image.wrong:
                    wrong += 1
                    pause = min(2 ** (wrong - self.renewed_after - 1), MOST_PAUSE)
                doubted = image.begun
        if self.number - doubted <= pause:
            return None
        images = [image for image in self.ended if image.origin > doubted]
        if not images:
            return None
        newest = max(images, key=lambda image: (image.origin, image.number))
        age = self.number - newest.origin
        renewing = any(pair.start is None and pair.number > newest.origin for pair in self.under_way)
        if age <= MOST_FOLLOWED - AT_ONCE or (renewing and age <= MOST_FOLLOWED):
            return newest.number
        if not renewing:
            self.renewed_after = wrong
        return None

"""The best engine for each frame: the first of those that work here and take its shape.

A TensorRT plan takes few shapes; other frames fall back to the next engine, which is opened then. Invariant: the name
is that of the engine that really runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import BundleError, EngineError, MissingExtraError, UsertError
from usert.frame import Scan, Shape

from ..imaging.estimate import Estimate
from .concurrency import pairs_at_once
from .interface import Engine, Follower, warm_up_gradually

Opener = Callable[[], Engine]


class BestEngine:
    """An engine that opens candidates one after the other until one works."""

    def __init__(self, candidates: Mapping[str, Opener], *, blame: str) -> None:
        """`candidates`: openers by name, best first. Errors: where none works, that of the candidate `blame`."""
        self._waiting = dict(candidates)
        self._opened: list[Engine] = []
        self._opening = threading.Lock()
        refused: dict[str, UsertError] = {}
        self._open_next(refused)
        if not self._opened:
            raise refused[blame]
        self._running = self._opened[0]

    def _open_next(self, refused: dict[str, UsertError]) -> bool:
        """Open the next candidate that works; returns whether there is one, and puts other errors into `refused`."""
        while self._waiting:
            name = next(iter(self._waiting))
            opener = self._waiting.pop(name)
            try:
                self._opened.append(opener())
            except (BundleError, EngineError, MissingExtraError) as error:
                refused[name] = error
                continue
            return True
        return False

    @property
    def name(self) -> str:
        return self._running.name

    def strain_window_at(self, scan: Scan) -> int:
        return self._opened[0].strain_window_at(scan)

    def warm_up(self, shape: tuple[int, int], scan: Scan | None = None) -> None:
        self._first_that_takes_it(lambda engine: engine.warm_up(shape, scan))

    def warm_up_gradually(self, shape: Shape, scan: Scan | None = None) -> None:
        """Warm up for frames that are already coming; what takes long and only makes them faster comes in a thread."""
        self._first_that_takes_it(lambda engine: warm_up_gradually(engine, shape, scan))

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        found: list[Estimate] = []
        self._first_that_takes_it(lambda engine: found.append(engine.run(reference, current, scan)))
        return found[0]

    def at_once(self, shape: Shape, scan: Scan | None = None) -> int:
        """Number of pairs that every engine opened so far may run at once: which of them takes a frame is not known."""
        return min(pairs_at_once(engine, shape, scan) for engine in self._opened)

    def grid_rows_at(self, shape: Shape, scan: Scan) -> int:
        """Rows of the depth grid in the engine that ran last. Errors: as `follow`."""
        return self._follower.grid_rows_at(shape, scan)

    def follow(
        self, reference: NDArray[Any], current: NDArray[Any], scan: Scan, start: NDArray[np.float32]
    ) -> Estimate:
        """Estimate the motion of a pair near `start` (3, 32, 8) by the engine that ran last.

        Errors: those of `Follower.follow`; `BundleError` also where that engine cannot follow.
        """
        return self._follower.follow(reference, current, scan, start)

    @property
    def _follower(self) -> Follower:
        if not isinstance(self._running, Follower):
            raise BundleError(f"{self.name}: cannot follow")
        return self._running

    def _first_that_takes_it(self, use: Callable[[Engine], None]) -> None:
        """Call `use` with the first engine that takes the shape. Errors: that of the last engine, where none does."""
        at = 0
        while True:
            try:
                use(self._opened[at])
            except BundleError:
                at += 1
                with self._opening:
                    if at == len(self._opened) and not self._open_next({}):
                        raise
            else:
                self._running = self._opened[at]
                return

    def close(self) -> None:
        for engine in self._opened:
            engine.close()

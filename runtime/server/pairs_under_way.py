"""The pairs that the engine runs at this moment, in the order of their frames.

Invariant: pairs are published in the order in which they were started, whichever ends first.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from ..engines.in_order import CallsInOrder
from ..imaging.estimate import EstimatedPair
from ..imaging.frames import ReceivedFrame
from ..protocol.age import now_ns
from .engine_runner import EngineRunner
from .stream import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedPair:
    """A pair that the engine runs, or has run."""

    stream: Stream
    current: ReceivedFrame
    started_ns: int


Publish = Callable[[StartedPair, "Future[EstimatedPair]"], None]
"""Publishes a pair that has ended; the future carries what the engine raised."""


class PairsUnderWay(CallsInOrder[StartedPair, EstimatedPair]):
    """The pairs of one server that its engine runs, or has run and that are not published yet.

    All methods are for the serving thread. Closing waits for what runs, and publishes nothing.
    """

    def __init__(self, runner: EngineRunner, *, publish: Publish, ended: Callable[[], None]) -> None:
        """`publish` is called in the serving thread. `ended` is called in another one when it has run a pair."""
        super().__init__(publish, ended=ended)
        self._runner = runner

    @property
    def oldest_ns(self) -> int:
        """When the oldest pair was started; now, where there is none."""
        return now_ns() if self.oldest is None else self.oldest.started_ns

    def start_pair(self, stream: Stream, reference: ReceivedFrame, current: ReceivedFrame) -> None:
        """Run the engine on a pair, once there is room for it, and publish what has ended."""
        pair = StartedPair(stream=stream, current=current, started_ns=now_ns())
        estimate = partial(self._runner.estimate, reference, current)
        self.start(pair, estimate, at_once=self._runner.at_once(current.frame))

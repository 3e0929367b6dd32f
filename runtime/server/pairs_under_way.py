"""The pairs that the engine runs at this moment, in the order of their frames.

An engine that runs one pair at a time runs it in the serving thread, so that nothing is handed over. Invariant: pairs
are published in the order in which they were started, whichever ends first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ..engines.concurrency import MOST_AT_ONCE
from ..imaging.estimate import EstimatedPair
from ..imaging.frames import ReceivedFrame
from ..protocol.age import now_ns
from .engine_runner import EngineRunner
from .stream import Stream

Publish = Callable[[Stream, "Future[EstimatedPair]"], None]
"""Publishes a pair of a stream that has ended; the future carries what the engine raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    stream: Stream
    started_ns: int
    estimated: Future[EstimatedPair]


class PairsUnderWay:
    """The pairs of one server that its engine runs, or has run and that are not published yet.

    All methods are for the serving thread. Closing waits for what runs, and publishes nothing.
    """

    def __init__(self, runner: EngineRunner, *, publish: Publish, ended: Callable[[], None]) -> None:
        """`publish` is called in the serving thread. `ended` is called in another one when it has run a pair."""
        self._runner = runner
        self._publish = publish
        self._ended = ended
        self._pairs: deque[_Pair] = deque()
        self._limit = 1
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="engine")

    @property
    def oldest_ns(self) -> int:
        """When the oldest pair was started; now, where there is none."""
        return self._pairs[0].started_ns if self._pairs else now_ns()

    def oldest_has_ended(self) -> bool:
        """Whether the oldest pair waits to be published; False where there is none."""
        return bool(self._pairs) and self._pairs[0].estimated.done()

    def start(self, stream: Stream, reference: ReceivedFrame, current: ReceivedFrame) -> None:
        """Run the engine on a pair, once there is room for it, and publish what has ended."""
        self._limit = self._runner.at_once(current.frame)
        while len(self._pairs) >= self._limit:
            self._publish_oldest()
        started_ns = now_ns()
        if self._limit > 1:
            estimated = self._pool.submit(self._runner.estimate, reference, current)
            estimated.add_done_callback(lambda _: self._ended())
        else:
            estimated = Future()
            try:
                estimated.set_result(self._runner.estimate(reference, current))
            except Exception as error:  # an engine runs foreign code
                estimated.set_exception(error)
        self._pairs.append(_Pair(stream=stream, started_ns=started_ns, estimated=estimated))
        self._publish_ended()

    def has_room(self, timeout_s: float) -> bool:
        """Publish what has ended; whether a further pair of frames like the last ones may be started.

        Waits up to `timeout_s` for room.
        """
        if len(self._pairs) >= self._limit:
            wait([self._pairs[0].estimated], timeout_s)
        self._publish_ended()
        return len(self._pairs) < self._limit

    def finish(self) -> None:
        """Wait for all pairs, and publish them."""
        while self._pairs:
            self._publish_oldest()

    def _publish_ended(self) -> None:
        while self.oldest_has_ended():
            self._publish_oldest()

    def _publish_oldest(self) -> None:
        pair = self._pairs.popleft()
        wait([pair.estimated])
        self._publish(pair.stream, pair.estimated)

    def close(self) -> None:
        self._pool.shutdown()

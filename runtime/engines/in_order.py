"""Calls that run at the same time, and whose outcomes are taken in the order in which they were started.

Where one call may run at a time it runs in the thread that starts it, so that nothing is handed over. Invariant:
`take` is called once for each call, in the order of the starts, whichever ends first, and in the thread that starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from .concurrency import MOST_AT_ONCE

Item = TypeVar("Item")
Output = TypeVar("Output")


class CallsInOrder(Generic[Item, Output]):
    """Calls that run, or have run and whose outcome was not taken yet: never more than may run at once.

    All methods are for one thread. Closing waits for what runs, and takes nothing.
    """

    def __init__(
        self, take: Callable[[Item, Future[Output]], None], *, ended: Callable[[], None] = lambda: None
    ) -> None:
        """`take` gets the item of a call and what became of it; the future carries what the call raised.

        `ended` is called in another thread when that has run a call.
        """
        self._take = take
        self._ended = ended
        self._calls: deque[tuple[Item, Future[Output]]] = deque()
        self._limit = 1
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="engine")

    @property
    def oldest(self) -> Item | None:
        """The item of the oldest call; None where there is none."""
        return self._calls[0][0] if self._calls else None

    def oldest_has_ended(self) -> bool:
        """Whether the outcome of the oldest call waits to be taken; False where there is none."""
        return bool(self._calls) and self._calls[0][1].done()

    def start(self, item: Item, call: Callable[[], Output], *, at_once: int) -> None:
        """Run `call`, once fewer than `at_once` run, and take what has ended; `at_once`: 1 to `MOST_AT_ONCE`."""
        self._limit = at_once
        while len(self._calls) >= at_once:
            self._take_oldest()
        if at_once > 1:
            outcome = self._pool.submit(call)
            outcome.add_done_callback(lambda _: self._ended())
        else:
            outcome = Future()
            try:
                outcome.set_result(call())
            except Exception as error:  # an engine runs foreign code
                outcome.set_exception(error)
        self._calls.append((item, outcome))
        self._take_ended()

    def has_room(self, timeout_s: float) -> bool:
        """Take what has ended; whether a further call may be started, if as many may run as at the last start.

        Waits up to `timeout_s` for room.
        """
        if len(self._calls) >= self._limit:
            wait([self._calls[0][1]], timeout_s)
        self._take_ended()
        return len(self._calls) < self._limit

    def finish(self) -> None:
        """Wait for all calls, and take their outcomes."""
        while self._calls:
            self._take_oldest()

    def _take_ended(self) -> None:
        while self.oldest_has_ended():
            self._take_oldest()

    def _take_oldest(self) -> None:
        item, outcome = self._calls.popleft()
        wait([outcome])
        self._take(item, outcome)

    def close(self) -> None:
        """Wait for what runs; idempotent."""
        self._pool.shutdown()

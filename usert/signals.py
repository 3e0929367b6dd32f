"""Ctrl-C and SIGTERM become a call of `stop()`.

Knows nothing of what is stopped. Invariant: the handlers found are the handlers left behind.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE_S = 1.0
"""Seconds after the first signal within which another one counts as the same: `timeout`, for one, signals a process and
then its whole group."""


@contextmanager
def stop_on_signals(stop: Callable[[], None], *, insist: bool = False) -> Iterator[None]:
    """Call `stop` on each SIGINT and SIGTERM inside the block; for the main thread only.

    With `insist` a signal `PATIENCE_S` or more after the first ends the process at once, without any clean-up: exit
    code 130 for SIGINT, 143 for SIGTERM.
    """
    first_s: float | None = None

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal first_s
        now_s = time.monotonic()
        first_s = now_s if first_s is None else first_s
        if insist and now_s - first_s >= PATIENCE_S:
            os._exit(128 + number)
        stop()

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

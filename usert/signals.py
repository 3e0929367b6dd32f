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
"""What comes sooner than that after the first signal is the same wish once more: `timeout`, for one, signals a process
and then its whole group."""


@contextmanager
def stop_on_signals(stop: Callable[[], None], *, insist: bool = False) -> Iterator[None]:
    """Call `stop` on SIGINT and SIGTERM inside the block, each time one comes. For the main thread only.

    `insist`: one that comes `PATIENCE_S` or more after the first ends the process at once, as a shell says it: with
    130 after SIGINT, 143 after SIGTERM. Nothing is given back then.
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

"""Ctrl-C and SIGTERM become a call of `stop()`, or the end of the process.

Knows nothing of what is stopped. Invariant: the handlers found are the handlers left behind.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

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


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Let SIGINT end the process at once inside the block, as SIGTERM does; for the main thread only.

    For work in a library, to whose end Python would put the signal off, and with nothing open that must be closed.
    """
    old = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, old)


def leave() -> NoReturn:
    """End the process with exit code 0, without waiting for its threads; all that must be closed is closed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

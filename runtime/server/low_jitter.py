"""Interpreter settings for low jitter: no long garbage collections, and quick switches between threads.

They hold for the whole process, so whoever starts a server chooses them, not the server.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCH_S = 5e-4
"""Time after which a waiting thread gets the interpreter; Python's own 5 ms would delay an image several times."""


@contextmanager
def low_jitter() -> Iterator[None]:
    """Low jitter inside the block: objects that exist already are never collected, which would take 20 to 40 ms."""
    before_s = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)
        gc.unfreeze()

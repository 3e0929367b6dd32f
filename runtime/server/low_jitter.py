"""The interpreter made ready for a steady beat: no long collections of garbage, and threads that take turns quickly.

Of the whole process, so for commands and benchmarks alone. Invariant: the interpreter is left as it was found.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCH_S = 5e-4
"""A thread that waits gets the interpreter after so long; of itself only after 5 ms, which is many images late."""


@contextmanager
def steady() -> Iterator[None]:
    """What is there at the start stays: a collection of all of it would hold an image up by 20 to 40 ms."""
    before_s = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)
        gc.unfreeze()

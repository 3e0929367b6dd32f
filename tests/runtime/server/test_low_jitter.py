"""The interpreter's settings while a server runs."""

from __future__ import annotations

import gc
import sys

from usert.runtime.server.launch import low_jitter


def test_the_interpreter_is_left_as_it_was_found() -> None:
    interval = sys.getswitchinterval()
    with low_jitter():
        assert sys.getswitchinterval() < interval
        assert gc.get_freeze_count() > 1000
    assert sys.getswitchinterval() == interval
    assert gc.get_freeze_count() == 0  # also what Python 3.12 and later freeze while they start

"""The interpreter's settings while a server runs."""

from __future__ import annotations

import gc
import sys

from usert.runtime.steady import steady


def test_the_interpreter_is_left_as_it_was_found() -> None:
    before = sys.getswitchinterval(), gc.get_freeze_count()
    with steady():
        assert sys.getswitchinterval() < before[0]
        assert gc.get_freeze_count() > 1000
    assert (sys.getswitchinterval(), gc.get_freeze_count()) == before

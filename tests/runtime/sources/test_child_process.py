"""ChildProcess processes are heard, and always ended."""

from __future__ import annotations

import os

import pytest
from live import TIMEOUT_S

from usert import __version__
from usert.errors import EngineError
from usert.runtime.sources.child_process import ChildProcess

SERVE = ["watch", "--strain", "tcp://127.0.0.1:9"]


def never() -> bool:
    return False


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_line_is_waited_for_and_matched() -> None:
    with ChildProcess(["--version"]) as child:
        match = child.wait_for(r"usert (\S+)", stopping=never, timeout_s=TIMEOUT_S)
        assert match is not None
        assert match[1] == __version__
    assert gone(child.pid)


def test_a_child_that_fails_is_quoted() -> None:
    said = "^usert watch .*exit code 1: .*endpoint"
    with ChildProcess(["watch", "--strain", "nowhere"]) as child, pytest.raises(EngineError, match=said):
        child.wait_for("image", stopping=never, timeout_s=TIMEOUT_S)
    assert gone(child.pid)


def test_a_child_that_ends_without_the_line_is_an_error() -> None:
    with ChildProcess(["--version"]) as child, pytest.raises(EngineError, match="'more'"):
        child.wait_for("more", stopping=never, timeout_s=TIMEOUT_S)


def test_a_silent_child_is_not_waited_for_for_ever_and_ends_with_the_block() -> None:
    with ChildProcess(SERVE) as child:
        assert child.wait_for("never", stopping=lambda: True) is None
        with pytest.raises(EngineError, match=r"'never'.* 0\.2 s"):
            child.wait_for("never", stopping=never, timeout_s=0.2)
    assert gone(child.pid)


def test_it_ends_when_the_block_raises() -> None:
    with pytest.raises(KeyError), ChildProcess(SERVE) as child:
        raise KeyError
    assert gone(child.pid)
    child.end()

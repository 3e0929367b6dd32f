"""The thread of a worker: it ends before the resources that it uses, and its error is not lost."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest
from live import TIMEOUT_S

from usert.runtime.transport.lifecycle import Worker


class Noting(Worker):
    """Notes in which order things happen; `error` ends its thread."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__("noting")
        self._raised = error
        self.worked = threading.Event()
        self.failed = threading.Event()
        self.noted: list[str] = []

    def _open(self, stack: ExitStack) -> None:
        stack.callback(self.noted.append, "closed")
        self._start(stack)

    def _work(self) -> None:
        if self._raised is not None:
            raise self._raised
        self.worked.set()
        while not self.stopping:
            threading.Event().wait(0.001)
        self.noted.append("ended")

    def _failed(self) -> None:
        self.failed.set()


def test_the_thread_has_ended_when_the_resources_are_closed() -> None:
    with Noting() as worker:
        assert worker.worked.wait(TIMEOUT_S)
        worker.check()
        assert worker.noted == []
    assert worker.noted == ["ended", "closed"]
    assert "noting" not in {thread.name for thread in threading.enumerate()}
    worker.check()


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3)])
def test_an_error_that_ends_the_thread_is_logged_and_raised_by_check(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with Noting(error) as worker:
        assert worker.failed.wait(TIMEOUT_S)
        with pytest.raises(type(error)):
            worker.check()
    assert worker.noted == ["closed"]
    assert "thread 'noting' ended by an error" in caplog.text


def test_no_thread_is_left_where_opening_goes_on_and_fails() -> None:
    class Broken(Noting):
        def _open(self, stack: ExitStack) -> None:
            super()._open(stack)
            raise OSError("no more of these")

    worker = Broken()
    with pytest.raises(OSError, match="no more"), worker:
        pass
    assert worker.noted[-1] == "closed"
    assert "noting" not in {thread.name for thread in threading.enumerate()}

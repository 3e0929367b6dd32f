"""A `usert` command in a child process, whose output is read line by line.

Invariant: at the end of the `with` block the process has ended and its output was read to the end, on every way out.
"""

from __future__ import annotations

import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import IO

from usert.errors import EngineError

from ..transport.lifecycle import Service

_POLL_S = 0.05
_GRACE_S = 5.0
_KEPT_LINES = 100


class ChildProcess(Service):
    """Runs `python -m usert ARGUMENTS` inside a `with` block."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """`arguments`: the command and its options."""
        super().__init__()
        self._arguments = list(arguments)
        self._unread: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.errors: deque[str] = deque(maxlen=_KEPT_LINES)
        """The last lines of the process's standard error."""

    def _open(self, stack: ExitStack) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "usert", *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        stack.callback(self.end)
        self._readers = [
            threading.Thread(target=_read_lines, args=(pipe, keep), name=f"read {self._arguments[0]}")
            for pipe, keep in (
                (self._process.stdout, self._unread.put),
                (self._process.stderr, self.errors.append),
            )
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise `EngineError` with the last line of standard error if the process ended with an exit code above 0."""
        if self._process.poll():
            for reader in self._readers:
                reader.join()
            last = self.errors[-1] if self.errors else "no message"
            code = self._process.returncode
            raise EngineError(f"usert {self._arguments[0]} ended with exit code {code}: {last}")

    def wait_for(
        self, pattern: str, *, stopping: Callable[[], bool], timeout_s: float = 120.0
    ) -> re.Match[str] | None:
        """Wait for a line of output with `pattern` in it, and return the match; None when `stopping()`.

        Errors: `EngineError` when the process ends without such a line, or does not write one in time.
        """
        deadline = time.monotonic() + timeout_s
        while not stopping():
            try:
                line = self._unread.get(timeout=_POLL_S)
            except queue.Empty:
                self.check()
                if self._process.poll() is None and time.monotonic() < deadline:
                    continue
                raise EngineError(
                    f"usert {self._arguments[0]}: got no line with {pattern!r} in {timeout_s:g} s"
                ) from None
            if match := re.search(pattern, line):
                return match
        return None

    def end(self) -> None:
        """End the process by SIGTERM, or by SIGKILL where that is not enough; idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()


def _read_lines(pipe: IO[str] | None, keep: Callable[[str], None]) -> None:
    if pipe is None:
        return
    with pipe:
        for line in pipe:
            keep(line.rstrip("\n"))

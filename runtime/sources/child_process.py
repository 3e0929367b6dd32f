"""A child process of ours: started, listened to, and always ended.

Knows `python -m usert` and nothing of what its commands do. Invariant: at the end of the `with` block the
process is gone and its output was read to the end, on every way out.
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
from types import TracebackType
from typing import IO, Self

from usert.errors import EngineError

_POLL_S = 0.05
_GRACE_S = 5.0
_KEPT_LINES = 100


class Child:
    """`python -m usert COMMAND ...` with its output read line by line."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = list(arguments)
        self._unread: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.errors: deque[str] = deque(maxlen=_KEPT_LINES)
        """The last lines of its standard error."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "usert", *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._readers = [
            threading.Thread(target=_read_lines, args=(pipe, keep), name=f"read {self._arguments[0]}")
            for pipe, keep in (
                (self._process.stdout, self._unread.put),
                (self._process.stderr, self.errors.append),
            )
        ]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def check(self) -> None:
        """Errors: `EngineError` with its last line, if it ended by itself with an exit code above 0."""
        if self._process.poll():
            for reader in self._readers:
                reader.join()
            last = self.errors[-1] if self.errors else "it said nothing"
            code = self._process.returncode
            raise EngineError(f"usert {self._arguments[0]} ended with exit code {code}: {last}")

    def wait_for(
        self, pattern: str, *, stopping: Callable[[], bool], timeout_s: float = 120.0
    ) -> re.Match[str] | None:
        """The first line of its output that holds `pattern`; None when `stopping()`.

        Errors: `EngineError` when it ended without that line, or did not write it in time.
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
        """SIGTERM, and SIGKILL if that is not enough; idempotent."""
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

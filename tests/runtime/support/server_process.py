"""A `usert` command as a process of its own: started, read, signalled, and gone at the end of the block."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import zmq
from live import TIMEOUT_S, numbered_message

from usert.runtime.protocol.age import clock_id

_START_S = 120.0
_GRACE_S = 5.0
_POLL_S = 5e-3


class UsertProcess:
    """`with UsertProcess("serve", ...) as process:`; it writes to files, so that it never waits for its reader."""

    def __init__(self, *words: str | Path) -> None:
        self._command = [sys.executable, "-m", "usert", *map(str, words)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._errors = folder / "errors"
            with (folder / "out").open("wb") as out, self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors
                )
            self._out: TextIO = stack.enter_context((folder / "out").open(encoding="utf-8"))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._process.terminate()
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def errors(self) -> str:
        """All that it has written to stderr so far."""
        return self._errors.read_text(encoding="utf-8", errors="replace")

    def line(self, pattern: str, timeout_s: float = _START_S) -> re.Match[str]:
        """The next line of its output that holds `pattern`."""
        deadline, begun = time.monotonic() + timeout_s, ""
        while time.monotonic() < deadline:
            ended = not self.alive
            begun += self._out.readline()
            if begun.endswith("\n"):
                if match := re.search(pattern, begun):
                    return match
                begun = ""
            elif ended:
                break
            else:
                time.sleep(_POLL_S)
        raise AssertionError(f"no line with {pattern!r}; on stderr: {self.errors}")

    def wait_for(self, pattern: str) -> str:
        """The first group of `pattern` in the next line that holds it."""
        return self.line(pattern)[1]

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._process.kill()
        self._process.wait()

    def rest(self) -> tuple[int, str, str]:
        """Exit code, the output that was not read yet, and all of stderr, when it has ended."""
        code = self._process.wait(TIMEOUT_S)
        return code, self._out.read(), self.errors


class ServerProcess(UsertProcess):
    """`usert serve` with these words."""

    def __init__(self, *words: str | Path) -> None:
        super().__init__("serve", *words)


def ended(*words: str | Path) -> tuple[int, str, str]:
    """Exit code, output and errors of a `usert serve` that ends by itself."""
    with ServerProcess(*words) as server:
        return server.rest()


def sender(socket: zmq.Socket[bytes]) -> Callable[[], None]:
    """A function that sends the next frame, stamped now, if there is room for it; it never waits."""
    sent = 0

    def send() -> None:
        nonlocal sent
        message = numbered_message(sent, clock=clock_id(), time_ns=time.monotonic_ns())
        with suppress(zmq.Again):
            socket.send_multipart(message.to_parts(), zmq.NOBLOCK)
            sent += 1

    return send

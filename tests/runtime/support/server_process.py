"""A `usert` command as a process of its own, for tests: started, listened to, signalled, and gone at the end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq
from live import TIMEOUT_S, numbered_message

from usert.runtime.protocol.age import clock_id


class UsertProcess:
    """`with UsertProcess("serve", ...) as process:`; killed at the end of the block if it has not ended by then."""

    def __init__(self, *words: str | Path) -> None:
        self._command = [sys.executable, "-m", "usert", *map(str, words)]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, pattern: str) -> str:
        """The first group of `pattern` in the first line that holds it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if match := re.search(pattern, line):
                return match[1]
        _, errors = self.process.communicate()
        raise AssertionError(f"no line with {pattern!r}; it said {errors}")

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def rest(self) -> tuple[int, str, str]:
        """Exit code, and what it had still to say, when it has ended."""
        out, errors = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, out, errors


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

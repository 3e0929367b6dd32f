"""A supervisor of two server processes: one serves, the spare has everything loaded and takes over when the first dies.

Both run the same command line, `usert serve …`. Invariant: at most one of them serves, the next one only once the last
has ended and its endpoints are free; both have ended when the supervisor ends.
"""

from __future__ import annotations

import logging
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence

from usert.errors import BUG, FAULT
from usert.signals import stop_on_signals

from ..engines.interface import FrameFormat
from .handover import READY, SERVE, SERVING, WARM, Channel, frames_words, parse_frames

DEATHS, WITHIN_S = 5, 60.0
"""When so many servers have died in such a time, the supervisor gives up: another one would not help."""
_RETRY_S, _MOST_RETRY_S = 10.0, 640.0
"""Time until a spare that could not start is started again: at first, and at most."""
_POLL_S = 0.2
_GRACE_S = 15.0
"""How long a process may take to end before it is killed; the recorder may need 10 s."""
_FINAL = (0, FAULT, 2, 128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes after which a server is not started again."""

log = logging.getLogger(__name__)


class _ServerProcess(subprocess.Popen[bytes]):
    """`python -m usert ARGUMENTS --cue FD` in a process group of its own: signals reach it through the supervisor."""

    def __init__(self, arguments: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            super().__init__(
                [sys.executable, "-m", "usert", *arguments, "--cue", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
        self.channel = Channel(ours)

    def reap(self) -> int:
        """Wait for the process to end, kill it if it does not, and return its exit code: -N if signal N ended it."""
        try:
            code = self.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.wait()
        self.channel.close()
        return code


class Supervisor:
    """Runs a server and its spare: `Supervisor(["serve", "--rf", …]).run()` returns the exit code of the command."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = list(arguments)
        self._warm: list[FrameFormat] = []
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._spare: _ServerProcess | None = None
        self._spare_at = float("inf")
        self._retry_s = _RETRY_S
        self._stopping = False

    def run(self) -> int:
        """Supervise until a server ends as it is meant to, or too many have died."""
        with selectors.DefaultSelector() as self._selector, stop_on_signals(self._stop):
            try:
                self._server = self._start()
                self._server.channel.send(SERVE)
                if self._stopping:  # the signal came before there was a server
                    self._server.terminate()
                return self._loop()
            finally:
                for key in tuple(self._selector.get_map().values()):
                    key.data.terminate()
                    self._wait(key.data)

    def _stop(self) -> None:
        """Pass a signal on to the server; for signal handlers."""
        self._stopping = True
        if hasattr(self, "_server"):
            self._server.terminate()

    def _loop(self) -> int:
        while True:
            for key, _ in self._selector.select(_POLL_S):
                process: _ServerProcess = key.data
                messages = process.channel.receive()
                if messages is not None:
                    for message in messages:
                        self._handle(process, message)
                elif process is self._spare:
                    self._spare_ended()
                elif (code := self._server_ended()) is not None:
                    return code
            if self._spare is None and not self._stopping and time.monotonic() >= self._spare_at:
                self._spare_at = float("inf")
                self._spare = self._start()

    def _handle(self, process: _ServerProcess, message: list[str]) -> None:
        if message[0] == READY:
            if process is self._spare:
                self._retry_s = _RETRY_S
                log.info("standby: spare process %d is ready to take over", process.pid)
        elif message[0] == SERVING:
            log.info("standby: server process %d serves", process.pid)
            self._spare_at = time.monotonic()
        elif message[0] == WARM and (frames := parse_frames(message[1:])) not in self._warm:
            self._warm.append(frames)
            if self._spare is not None:
                self._spare.channel.send(*message)

    def _server_ended(self) -> int | None:
        """The exit code of the command, if this was its end; None if the spare takes over."""
        pid, code = self._server.pid, self._wait(self._server)
        if code in _FINAL or self._stopping or code in (-signal.SIGTERM, -signal.SIGINT):
            return code if code >= 0 else 128 - code
        self._deaths.append(time.monotonic())
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        if len(self._deaths) == DEATHS and self._deaths[-1] - self._deaths[0] < WITHIN_S:
            log.error(
                "standby: %d servers died within %.0f s, the last one %s; giving up", DEATHS, WITHIN_S, how
            )
            return BUG
        log.error("standby: server process %d died %s", pid, how)
        self._server, self._spare = self._spare or self._start(), None
        self._server.channel.send(SERVE)
        return None

    def _spare_ended(self) -> None:
        assert self._spare is not None
        pid, code = self._spare.pid, self._wait(self._spare)
        log.error(
            "standby: spare process %d ended with code %d; another one starts in %.0f s",
            pid,
            code,
            self._retry_s,
        )
        self._spare = None
        self._spare_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, _MOST_RETRY_S)

    def _wait(self, process: _ServerProcess) -> int:
        self._selector.unregister(process.channel)
        return process.reap()

    def _start(self) -> _ServerProcess:
        process = _ServerProcess(self._arguments)
        self._selector.register(process.channel, selectors.EVENT_READ, process)
        for frames in self._warm:
            process.channel.send(WARM, *frames_words(frames))
        return process

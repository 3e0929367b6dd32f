"""A live server, and a spare beside it that has all loaded and takes over when the server dies.

Both are processes of the same command line, `usert serve …`. Knows what they say to each other (`cue`) and how they
end (`usert.errors`), not what they serve. Invariant: at most one of them is told to serve, and the next one only when
the last is gone, endpoints and all; at the end both are.
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
from usert.frame import Shape
from usert.signals import stop_on_signals

from .handover import READY, SERVE, SERVING, WARM, Line, parse, text

DEATHS, WITHIN_S = 5, 60.0
"""So many servers that died in such a time are a fault that another one does not mend."""
_LATER_S, _LATEST_S = 10.0, 640.0
"""Before a spare that could not start is tried again: at first, and at most."""
_LOOK_S = 0.2
_GRACE_S = 15.0
"""For a process that was told to end; the recorder may need 10 s."""
_FINAL = (0, FAULT, 2, 128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes after which a server is not started again."""

log = logging.getLogger(__name__)


class _Process:
    """`python -m usert ARGUMENTS --cue FD`, in a process group of its own: signals come by its supervisor only."""

    def __init__(self, arguments: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "usert", *arguments, "--cue", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
        self.line = Line(ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> None:
        """Ask it to end."""
        self._process.send_signal(signal.SIGTERM)

    def gone(self) -> int:
        """Its exit code once it is gone, which it is made to be; negative where a signal ended it."""
        try:
            code = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.line.close()
        return code


class Standby:
    """`Standby(["serve", "--rf", …]).run()` is the exit code of the command."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = list(arguments)
        self._shapes: list[Shape] = []
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._spare: _Process | None = None
        self._spare_at = float("inf")
        self._later_s = _LATER_S
        self._stopping = False

    def run(self) -> int:
        """Until the server ends in a way that is meant to be the end."""
        with selectors.DefaultSelector() as self._selector, stop_on_signals(self._stop):
            try:
                self._server = self._started()
                self._server.line.say(SERVE)
                if self._stopping:  # before there was a server to tell
                    self._server.end()
                return self._loop()
            finally:
                for key in tuple(self._selector.get_map().values()):
                    key.data.end()
                    self._gone(key.data)

    def _stop(self) -> None:
        """For signal handlers: each one is passed on."""
        self._stopping = True
        if hasattr(self, "_server"):
            self._server.end()

    def _loop(self) -> int:
        while True:
            for key, _ in self._selector.select(_LOOK_S):
                process: _Process = key.data
                messages = process.line.hear()
                if messages is not None:
                    for message in messages:
                        self._heard(process, message)
                elif process is self._spare:
                    self._spare_gone()
                elif (code := self._server_gone()) is not None:
                    return code
            if self._spare is None and not self._stopping and time.monotonic() >= self._spare_at:
                self._spare_at = float("inf")
                self._spare = self._started()

    def _heard(self, process: _Process, message: list[str]) -> None:
        if message[0] == READY:
            if process is self._spare:
                self._later_s = _LATER_S
                log.info("standby: process %d is ready to take over", process.pid)
        elif message[0] == SERVING:
            log.info("standby: process %d serves", process.pid)
            self._spare_at = time.monotonic()
        elif message[0] == WARM and (shape := parse(message[1])) not in self._shapes:
            self._shapes.append(shape)
            if self._spare is not None:
                self._spare.line.say(WARM, text(shape))

    def _server_gone(self) -> int | None:
        """The exit code, if that was the end; else the spare serves from here on."""
        dead, code = self._server.pid, self._gone(self._server)
        if code in _FINAL or self._stopping or code in (-signal.SIGTERM, -signal.SIGINT):
            return code if code >= 0 else 128 - code
        self._deaths.append(time.monotonic())
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        if len(self._deaths) == DEATHS and self._deaths[-1] - self._deaths[0] < WITHIN_S:
            log.error("standby: %d servers died within %.0f s, the last %s: gives up", DEATHS, WITHIN_S, how)
            return BUG
        log.error("standby: process %d died %s", dead, how)
        self._server, self._spare = self._spare or self._started(), None
        self._server.line.say(SERVE)
        return None

    def _spare_gone(self) -> None:
        assert self._spare is not None
        code = self._gone(self._spare)
        log.error("standby: the spare process ended (%d), another one in %.0f s", code, self._later_s)
        self._spare = None
        self._spare_at = time.monotonic() + self._later_s
        self._later_s = min(2 * self._later_s, _LATEST_S)

    def _gone(self, process: _Process) -> int:
        self._selector.unregister(process.line)
        return process.gone()

    def _started(self) -> _Process:
        process = _Process(self._arguments)
        self._selector.register(process.line, selectors.EVENT_READ, process)
        for shape in self._shapes:
            process.line.say(WARM, text(shape))
        return process

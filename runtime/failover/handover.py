"""The messages between a supervisor (`usert.runtime.failover.supervisor`) and a server that it has started.

One message a line, over a pair of sockets. To the server: `warm FRAMES`, and once `serve`. From the server: `ready`,
`serving`, and `warm FRAMES` for each new kind of frames: `NxM`, of IQ with its scan in JSON. Invariant: when one side
has ended, the other side notices at once.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import Self

from usert.frame import Scan, Shape

from ..engines.interface import FrameFormat
from ..transport.lifecycle import Worker

SERVE, READY, SERVING, WARM = "serve", "ready", "serving", "warm"
_CHECK_S = 0.5
"""Time between two looks of a server for new kinds of frames."""
_AGAIN_S = (15.0, 45.0, 75.0)
"""Times after the newest kind of frames at which a spare warms up again for all: an engine that warms up gradually then
loads, beside, what runs them faster."""
_BYTES = 4096

log = logging.getLogger(__name__)


class Channel:
    """One end of the pair of sockets."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._rest = b""

    def fileno(self) -> int:
        """The file descriptor, for selectors."""
        return self._socket.fileno()

    def send(self, *words: str) -> None:
        """Send a message; it is lost where the other side has ended, which `receive` reports."""
        with suppress(OSError):
            self._socket.sendall((" ".join(words) + "\n").encode())

    def receive(self) -> list[list[str]] | None:
        """Wait for messages, each a list of words; none after the socket's time-out. None: the other side has ended."""
        try:
            data = self._socket.recv(_BYTES)
        except TimeoutError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode().split() for line in whole]

    def interrupt(self) -> None:
        """Make `receive` return, from another thread, as if the other side had ended."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close the socket, which the other side takes for the end of this one."""
        self._socket.close()


class Handover(Worker):
    """The server's side: it waits until it may serve, and reports while it does, in a thread of its own."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: that of the socket inherited from the supervisor."""
        super().__init__("handover")
        end = socket.socket(fileno=descriptor)
        end.set_inheritable(False)
        end.settimeout(_CHECK_S)
        self._channel = Channel(end)

    def wait(self, warm_up: Callable[[Shape, Scan | None], None]) -> tuple[FrameFormat, ...] | None:
        """Wait until it is time to serve; None: the supervisor has ended.

        Meanwhile `warm_up` is called for each kind of frames that the server meets, and some times more for all of
        them when no more come; those for which it succeeded are returned. An error that it raises is logged.
        """
        warm: list[FrameFormat] = []
        again: list[float] = []
        self._channel.send(READY)
        while (messages := self._channel.receive()) is not None:
            for name, *words in messages:
                if name == SERVE:
                    return tuple(warm)
                frames = parse_frames(words)
                if _warmed_up(warm_up, frames):
                    warm.append(frames)
                    again = [time.monotonic() + after for after in _AGAIN_S]
            if not messages and again and time.monotonic() >= again[0]:
                del again[0]
                for frames in warm:
                    _warmed_up(warm_up, frames)
        return None

    def serving(self, warm: Callable[[], Iterable[FrameFormat]], stop: Callable[[], None]) -> Self:
        """This worker: inside its block it reports new kinds in `warm()`, and calls `stop()` when the supervisor has
        ended."""
        self._warm, self._stop_server = warm, stop
        return self

    def _open(self, stack: ExitStack) -> None:
        self._channel.send(SERVING)
        self._start(stack)

    def stop(self) -> None:
        super().stop()
        self._channel.interrupt()

    def _work(self) -> None:
        reported: set[FrameFormat] = set()
        while not self.stopping:
            for frames in set(self._warm()) - reported:
                self._channel.send(WARM, *frames_words(frames))
                reported.add(frames)
            if self._channel.receive() is None:
                break
        if not self.stopping:
            log.warning("standby: the supervisor has ended, and so does this server")
            self._stop_server()


def _warmed_up(warm_up: Callable[[Shape, Scan | None], None], frames: FrameFormat) -> bool:
    try:
        warm_up(*frames)
    except Exception as error:  # an engine runs foreign code
        log.warning("spare does not warm up for %dx%d: %s", *frames.shape, error)
        return False
    return True


def frames_words(frames: FrameFormat) -> list[str]:
    """Frames as messages hold them, such as `1920x256`."""
    shape = "{}x{}".format(*frames.shape)
    return [shape] if frames.scan is None else [shape, json.dumps(frames.scan.stated, separators=(",", ":"))]


def parse_frames(words: list[str]) -> FrameFormat:
    """The frames that `frames_words` wrote."""
    rows, lines = words[0].split("x")
    return FrameFormat((int(rows), int(lines)), *(Scan(**json.loads(word)) for word in words[1:]))

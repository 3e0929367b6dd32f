"""The messages between a supervisor (`usert.runtime.failover.supervisor`) and a server that it has started.

One message a line, over a pair of sockets. To the server: `warm NxM`, and once `serve`. From the server: `ready`,
`serving`, and `warm NxM` for each new shape of frames. Invariant: when one side has ended, the other side notices at
once.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import Self

from usert.frame import Shape

from ..transport.lifecycle import Worker

SERVE, READY, SERVING, WARM = "serve", "ready", "serving", "warm"
_CHECK_S = 0.5
"""Time between two looks of a server for new shapes."""
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

    def wait(self, warm_up: Callable[[Shape], None]) -> tuple[Shape, ...] | None:
        """Wait until it is time to serve; None: the supervisor has ended.

        Meanwhile `warm_up` is called for each shape of frames that the server meets, and the shapes for which it
        succeeded are returned. An error that it raises is logged.
        """
        warm: list[Shape] = []
        self._channel.send(READY)
        while (messages := self._channel.receive()) is not None:
            for name, *words in messages:
                if name == SERVE:
                    return tuple(warm)
                shape = parse_shape(words[0])
                try:
                    warm_up(shape)
                except Exception as error:  # an engine runs foreign code
                    log.warning("spare does not warm up for %s: %s", words[0], error)
                else:
                    warm.append(shape)
        return None

    def serving(self, shapes: Callable[[], Iterable[Shape]], stop: Callable[[], None]) -> Self:
        """This worker: inside its block it reports new `shapes()`, and calls `stop()` when the supervisor has ended."""
        self._shapes, self._stop_server = shapes, stop
        return self

    def _open(self, stack: ExitStack) -> None:
        self._channel.send(SERVING)
        self._start(stack)

    def stop(self) -> None:
        super().stop()
        self._channel.interrupt()

    def _work(self) -> None:
        reported: set[Shape] = set()
        while not self.stopping:
            for shape in set(self._shapes()) - reported:
                self._channel.send(WARM, shape_text(shape))
                reported.add(shape)
            if self._channel.receive() is None:
                break
        if not self.stopping:
            log.warning("standby: the supervisor has ended, and so does this server")
            self._stop_server()


def shape_text(shape: Shape) -> str:
    """A shape as messages hold it, such as `1920x256`."""
    return f"{shape[0]}x{shape[1]}"


def parse_shape(word: str) -> Shape:
    """The shape that `shape_text` wrote."""
    rows, lines = word.split("x")
    return int(rows), int(lines)

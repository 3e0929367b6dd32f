"""What a supervisor (`usert.runtime.failover.supervisor`) and a server that it started say to each other.

A line a message, over a socket pair. To the server: `warm NxM`, and once `serve`. From the server: `ready`, `serving`,
and `warm NxM` for each shape of frames that it meets. Knows neither servers nor engines. Invariant: when the other
side is gone, each side knows it at once.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from usert.frame import Shape

SERVE, READY, SERVING, WARM = "serve", "ready", "serving", "warm"
_LOOK_S = 0.5
"""How often a server looks for new shapes."""
_BYTES = 4096

log = logging.getLogger(__name__)


class Line:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._half = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def say(self, *words: str) -> None:
        """Nothing happens where the other side is gone: `hear` tells that."""
        with suppress(OSError):
            self._socket.sendall((" ".join(words) + "\n").encode())

    def hear(self) -> list[list[str]] | None:
        """The messages that have come, each as its words; waits for some. None: the other side is gone."""
        try:
            data = self._socket.recv(_BYTES)
        except TimeoutError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *whole, self._half = (self._half + data).split(b"\n")
        return [line.decode().split() for line in whole]

    def wake(self) -> None:
        """From another thread: `hear` waits no more, as if the other side were gone."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        self._socket.close()


class Cue:
    """The server's side: waits for `serve`, and tells what it meets."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: inherited from the supervisor."""
        end = socket.socket(fileno=descriptor)
        end.set_inheritable(False)
        end.settimeout(_LOOK_S)
        self._line = Line(end)

    def wait(self, warm_up: Callable[[Shape], None]) -> tuple[Shape, ...] | None:
        """Until it is time to serve; the shapes that it is warm for by then. None: the supervisor is gone.

        What `warm_up` raises is logged: frames of that shape will say the same.
        """
        warm: list[Shape] = []
        self._line.say(READY)
        while (messages := self._line.hear()) is not None:
            for name, *words in messages:
                if name == SERVE:
                    return tuple(warm)
                shape = parse(words[0])
                try:
                    warm_up(shape)
                except Exception as error:  # an engine runs foreign code
                    log.warning("spare does not warm up for %s: %s", words[0], error)
                else:
                    warm.append(shape)
        return None

    @contextmanager
    def serving(self, shapes: Callable[[], Iterable[Shape]], stop: Callable[[], None]) -> Iterator[None]:
        """Inside the block `shapes()` are told as they come; when the supervisor is gone, `stop()` is called."""
        over = threading.Event()

        def follow() -> None:
            told: set[Shape] = set()
            while not over.is_set():
                for shape in set(shapes()) - told:
                    self._line.say(WARM, text(shape))
                    told.add(shape)
                if self._line.hear() is None:
                    break
            if not over.is_set():
                log.warning("the supervisor is gone: the server ends")
                stop()

        self._line.say(SERVING)
        thread = threading.Thread(target=follow, name="cue", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            self._line.wake()
            thread.join()

    def close(self) -> None:
        """The supervisor takes that for the end of the server."""
        self._line.close()


def text(shape: Shape) -> str:
    return f"{shape[0]}x{shape[1]}"


def parse(word: str) -> Shape:
    rows, lines = word.split("x")
    return int(rows), int(lines)

"""The thread that receives the strain stream for all browsers.

Invariant: an image is turned into a picture at most once, and not at all while no browser is connected.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from ..clients.rf_history import RecentFrames
from ..clients.strain_client import StrainClient
from ..protocol.age import now_ns
from ..protocol.strain_message import StrainMessage
from ..transport.lifecycle import Worker
from .picture import Arrival, Painter, Picture

_WAIT_S = 0.05
_MOST_STREAMS = 8


class Feed(Worker):
    """Receives strain images and makes pictures of them: `with Feed(...) as feed:`."""

    def __init__(
        self,
        client: StrainClient,
        *,
        frames: RecentFrames | None = None,
        stream: str = "",
        watched: Callable[[], bool],
        on_picture: Callable[[Picture], None],
        on_error: Callable[[], None],
    ) -> None:
        """`frames`: RF frames for B-mode. `stream`: name of the stream; empty: the first that is received.

        `watched`: whether any browser is connected. `on_picture` gets each picture, and `on_error` is called when the
        thread ends with an error; both are called in the feed's thread.
        """
        super().__init__("view feed")
        self._client = client
        self._frames = frames
        self._stream = stream
        self._watched = watched
        self._on_picture = on_picture
        self._on_error = on_error
        self._others: dict[str, None] = {}
        self._painter = Painter()
        self._pending: tuple[StrainMessage, Arrival] | None = None
        self._last: StrainMessage | None = None
        self._starts = 1

    def _open(self, stack: ExitStack) -> None:
        if self._frames is not None:
            stack.enter_context(self._frames)
        stack.enter_context(self._client)
        self._start(stack)

    def _work(self) -> None:
        while not self.stopping:
            message = self._client.receive(_WAIT_S)
            if message is not None and self._ours(message):
                self._pending = message, self._arrival(message)
            if self._pending is not None and self._watched():
                self._paint(*self._pending)
                self._pending = None

    def _failed(self) -> None:
        self._on_error()

    def _ours(self, message: StrainMessage) -> bool:
        self._stream = self._stream or message.stream
        if message.stream == self._stream:
            return True
        if len(self._others) < _MOST_STREAMS:
            self._others[message.stream] = None
        return False

    def _arrival(self, message: StrainMessage) -> Arrival:
        last, self._last = self._last, message
        if last is not None and message.counters.published < last.counters.published:
            self._starts += 1
        age = self._client.age
        assert age is not None  # an image was handed out just now
        return Arrival(age=age, at_ns=now_ns(), server_starts=self._starts, other_streams=tuple(self._others))

    def _paint(self, message: StrainMessage, arrival: Arrival) -> None:
        reference = None
        if self._frames is not None:
            reference = self._frames.find(message.stream, message.reference)
        self._on_picture(self._painter.paint(message, arrival, reference))

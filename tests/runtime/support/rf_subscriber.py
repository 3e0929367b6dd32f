"""A socket that RF frames come to, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import zmq
from live import TIMEOUT_S

from usert.runtime.protocol.rf_message import RFMessage


@contextmanager
def subscriber(endpoint: str) -> Iterator[Callable[[], RFMessage]]:
    """What receives the next frame that is published at `endpoint`."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger, socket.rcvtimeo = 0, round(1e3 * TIMEOUT_S)
        socket.subscribe(b"")
        socket.connect(endpoint)
        yield lambda: RFMessage.from_parts(socket.recv_multipart())

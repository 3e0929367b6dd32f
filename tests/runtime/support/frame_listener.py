"""A plain socket that receives the frames of a `FrameSender`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import zmq
from live import TIMEOUT_S

from usert.runtime.clients.frame_sender import FrameSender
from usert.runtime.protocol.rf_message import RFMessage


class Listener:
    """A socket that frames come to."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket

    def receive(self) -> RFMessage:
        assert self.socket.poll(round(1e3 * TIMEOUT_S))
        return RFMessage.from_parts(self.socket.recv_multipart())


@contextmanager
def listener(sender: FrameSender, kind: int = zmq.SUB) -> Iterator[Listener]:
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger, socket.rcvhwm = 0, 1
        if kind == zmq.SUB:
            socket.subscribe(b"")
        socket.connect(sender.endpoint)
        yield Listener(socket)

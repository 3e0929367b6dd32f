"""A receiver of RF frames that notes what it hears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import zmq
from live import wait_until

from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.transport.access import Authenticator
from usert.runtime.transport.keys import Keys
from usert.runtime.transport.receiver import Receiver, ReceiverType

ANY = "tcp://127.0.0.1:0"


class Ear:
    """A receiver and the streams that it has heard, each with its count."""

    def __init__(self, receiver: Receiver[RFMessage]) -> None:
        self._receiver = receiver
        self.heard: dict[str, int] = {}

    @property
    def endpoint(self) -> str:
        return self._receiver.endpoint

    def accept(self, message: RFMessage, arrived_ns: int) -> None:
        self.heard[message.stream] = self.heard.get(message.stream, 0) + 1

    def hears(self, stream: str, more: int = 5) -> None:
        """Until so many more frames of `stream` have come."""
        wanted = self.heard.get(stream, 0) + more
        wait_until(lambda: self.heard.get(stream, 0) >= wanted)


@contextmanager
def ear(
    keys: Keys | None, endpoint: str = ANY, kind: ReceiverType = "sub", max_bytes: int = 1 << 20
) -> Iterator[Ear]:
    """A receiver: it connects unless the endpoint is `ANY`."""
    with zmq.Context() as context, Authenticator(context, rf=keys) as authenticator:
        made: list[Ear] = []
        receiver: Receiver[RFMessage] = Receiver(
            context=context,
            endpoint=endpoint,
            socket_type=kind,
            bind=endpoint == ANY,
            max_bytes=max_bytes,
            decode=RFMessage.from_parts,
            accept=lambda message, arrived_ns: made[0].accept(message, arrived_ns),
            security=authenticator.security("rf"),
        )
        made.append(Ear(receiver))
        with receiver:
            yield made[0]
            receiver.check()

"""A receiver of RF frames that counts them by stream."""

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


class RFListener:
    """A receiver, and how many frames of each stream it has received."""

    def __init__(self, receiver: Receiver[RFMessage], authenticator: Authenticator) -> None:
        self._receiver = receiver
        self.denied = authenticator.denied
        self.received: dict[str, int] = {}

    @property
    def endpoint(self) -> str:
        return self._receiver.endpoint

    def accept(self, message: RFMessage, arrived_ns: int) -> None:
        self.received[message.stream] = self.received.get(message.stream, 0) + 1

    def wait_for(self, stream: str, more: int = 5) -> None:
        """Wait until so many more frames of `stream` have come."""
        wanted = self.received.get(stream, 0) + more
        wait_until(lambda: self.received.get(stream, 0) >= wanted)


@contextmanager
def rf_listener(
    keys: Keys | None, endpoint: str = ANY, kind: ReceiverType = "sub", max_bytes: int = 1 << 20
) -> Iterator[RFListener]:
    """A receiver: it connects unless the endpoint is `ANY`."""
    with zmq.Context() as context, Authenticator(context, rf=keys) as authenticator:
        made: list[RFListener] = []
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
        made.append(RFListener(receiver, authenticator))
        with receiver:
            yield made[0]
            receiver.check()

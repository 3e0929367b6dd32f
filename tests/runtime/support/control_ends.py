"""Both ends of the control channel: handlers that answer when the test does, and a client of another language."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import zmq
from live import TIMEOUT_S, wait_until

from usert.errors import ControlError
from usert.runtime.clients.control_client import ControlClient
from usert.runtime.protocol.commands import ChangeBundle, Command, Reply, StartRecord, Status
from usert.runtime.server.control_socket import ControlServer
from usert.runtime.transport.access import Authenticator
from usert.runtime.transport.keys import ClientKeys, ServerKeys

STATUS, RECORD = Status(), StartRecord(path="/patients/doe")


BUNDLE = ChangeBundle(path="/bundles/new")


ANY = "tcp://127.0.0.1:0"


class Desk:
    """Takes commands: answers at once, or when the test does."""

    def __init__(self, *slow: str) -> None:
        self._slow = slow
        self.heard: list[str] = []
        self.under_way: list[Future[Any]] = []

    def __call__(self, command: Command) -> Future[Any]:
        future: Future[Any] = Future()
        if command.name in self._slow:
            self.under_way.append(future)
        else:
            future.set_result({"heard": len(self.heard)})
        self.heard.append(command.name)
        return future


@contextmanager
def opened(context: zmq.Context[zmq.Socket[bytes]], handle: Any, **fields: Any) -> Iterator[ControlServer]:
    with ControlServer(context=context, handle=handle, **({"endpoint": ANY} | fields)) as server:
        yield server


@contextmanager
def serving(
    handle: Any, keys: ServerKeys | None = None, endpoint: str = ANY
) -> Iterator[tuple[ControlServer, Authenticator]]:
    """A server, and at its end nothing that ended it before."""
    with zmq.Context() as context, Authenticator(context, control=keys) as authenticator:
        access = authenticator.access("control")
        with opened(context, handle, endpoint=endpoint, access=access) as server:
            yield server, authenticator
        server.check()


class Raw:
    """A client's socket, as another language has it."""

    def __init__(self, socket: zmq.Socket[bytes], envelope: list[bytes]) -> None:
        self.socket = socket
        self._envelope = envelope

    def send(self, *commands: Command) -> None:
        for command in commands:
            self.socket.send_multipart([*self._envelope, *command.to_parts()])

    def reply(self) -> Reply:
        assert self.socket.poll(round(1e3 * TIMEOUT_S))
        parts = self.socket.recv_multipart()
        cut = len(self._envelope)
        assert parts[:cut] == self._envelope
        return Reply.from_parts(parts[cut:])


@contextmanager
def raw(
    endpoint: str,
    kind: int = zmq.REQ,
    *,
    envelope: tuple[bytes, ...] = (),
    keys: ClientKeys | None = None,
    name: bytes | None = None,
) -> Iterator[Raw]:
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        socket.sndtimeo = round(1e3 * TIMEOUT_S)
        if name is not None:
            socket.routing_id = name
        if keys is not None:
            keys.secure(socket)
        socket.connect(endpoint)
        yield Raw(socket, list(envelope))


def answer_of(console: ControlClient) -> dict[str, Any]:
    """The server's status, asked until it comes: a busy machine may be slower than the client waits."""
    answers: list[dict[str, Any]] = []

    def answered() -> bool:
        try:
            answers.append(console.ask(STATUS))
        except ControlError:
            return False
        return True

    wait_until(answered)
    return answers[0]

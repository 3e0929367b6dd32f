"""A publishing socket that needs keys, and a folder in which keys are made, allowed and revoked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq
from live import TIMEOUT_S
from publishing import image
from zmq.utils.monitor import recv_monitor_message

from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.transport.access import Authenticator
from usert.runtime.transport.keys import ClientKeys, ServerKeys, make_keys
from usert.runtime.transport.socket import BoundSocket

SUBSCRIPTION = b"\1"
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class KeyRing:
    """Keys in a folder: one pair a name, and the list of those that are allowed."""

    def __init__(self, folder: Path) -> None:
        self.made = folder / "made"
        self.allowed = folder / "allowed"
        self.allowed.mkdir(parents=True)

    def secret(self, name: str) -> Path:
        """The secret file of `name`, made when first asked for."""
        path = self.made / f"{name}.key_secret"
        return path if path.exists() else make_keys(name, self.made)[0]

    def public(self, name: str) -> Path:
        return self.secret(name).with_suffix(".key")

    def allow(self, *names: str) -> None:
        for name in names:
            shutil.copy(self.public(name), self.allowed)

    def revoke(self, name: str) -> None:
        (self.allowed / f"{name}.key").unlink()

    def server(self, name: str = "server") -> ServerKeys:
        return ServerKeys.load(self.secret(name), self.allowed)

    def client(self, name: str, server: str = "server") -> ClientKeys:
        return ClientKeys.load(self.secret(name), self.public(server))


class SecuredPublisher:
    """A publishing socket and its authenticator, both open."""

    def __init__(self, authenticator: Authenticator, bound: BoundSocket) -> None:
        self.authenticator = authenticator
        self.bound = bound
        self._published = 0

    @property
    def endpoint(self) -> str:
        return self.bound.endpoint

    def denied(self) -> int:
        return self.authenticator.denied.total

    def wait_for_subscribers(self, count: int = 1) -> None:
        """Until so many clients have connected and subscribed."""
        while count:  # it is also told when the last one is gone
            assert self.bound.socket.poll(round(1e3 * TIMEOUT_S))
            count -= self.bound.socket.recv() == SUBSCRIPTION

    def publish(self) -> int:
        """An image, as the loop of a server sends it; returns its number."""
        self.bound.renew()
        self._published += 1
        self.bound.socket.send_multipart(image(self._published).to_parts())
        return self._published

    def only_these_see(self, seeing: list[StrainClient], blind: list[StrainClient], count: int = 5) -> None:
        """Send images until each of `seeing` has all; none of `blind` has any then, nor anything else."""
        for _ in range(count):
            number = self.publish()
            for client in seeing:
                message = client.receive(TIMEOUT_S)
                assert message is not None
                assert message.counters.published == number
        for client in blind:
            assert client.receive(0) is None
            assert client.malformed == {}

    @contextmanager
    def refusals(self) -> Iterator[Callable[[], None]]:
        """A function that waits until somebody's handshake has failed."""

        def wait() -> None:
            assert monitor.poll(round(1e3 * TIMEOUT_S))
            recv_monitor_message(monitor)

        with self.bound.socket.get_monitor_socket(_FAILED) as monitor:
            yield wait
            self.bound.socket.disable_monitor()


@contextmanager
def secured_publisher(
    keys: ServerKeys | None, endpoint: str = "tcp://127.0.0.1:0"
) -> Iterator[SecuredPublisher]:
    """Publishing with `keys`; the socket tells of every subscription."""
    with (
        zmq.Context() as context,
        Authenticator(context, strain=keys) as authenticator,
        BoundSocket(
            context,
            zmq.XPUB,
            endpoint,
            security=authenticator.access("strain"),
            options={zmq.LINGER: 0, zmq.XPUB_VERBOSE: 1, zmq.MAXMSGSIZE: 1024},
        ) as bound,
    ):
        yield SecuredPublisher(authenticator, bound)

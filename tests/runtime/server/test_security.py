"""Who sees the strain images: those with a key that is allowed, as long as it is, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import zmq
from live import TIMEOUT_S, wait_until
from secured_publisher import KeyRing, SecuredPublisher, secured_publisher

from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.transport.access import AccessList
from usert.runtime.transport.keys import ClientKeys, KeyPair
from usert.runtime.transport.socket import BoundSocket


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing(tmp_path)
    made.allow("display")
    return made


def renewed(bound: BoundSocket) -> None:
    """Until the socket has cut its clients, in this thread, as the loop of a server does."""
    before = bound.socket

    def another() -> bool:
        bound.renew()
        return bound.socket is not before

    wait_until(another)


def stays(server: SecuredPublisher) -> None:
    """Nobody is to be cut off."""
    before, access = server.bound.socket, server.authenticator.access("strain")
    assert access is not None
    access.check()
    server.bound.renew()
    assert server.bound.socket is before


OUTSIDERS = ("no key", "a key that is not allowed", "another server's key", "an allowed key, not its secret")


def outsider(who: str, ring: KeyRing) -> ClientKeys | None:
    stranger, display = ring.client("stranger"), ring.client("display")
    forged = KeyPair(public=display.pair.public, secret=stranger.pair.secret)
    keys = None, stranger, ring.client("display", server="elsewhere"), replace(display, pair=forged)
    return dict(zip(OUTSIDERS, keys, strict=True))[who]


@pytest.mark.parametrize("who", OUTSIDERS)
def test_an_outsider_sees_nothing(ring: KeyRing, who: str) -> None:
    with (
        secured_publisher(ring.server()) as server,
        StrainClient(server.endpoint, keys=ring.client("display")) as display,
    ):
        server.wait_for_subscribers()
        with (
            server.refusals() as wait,
            StrainClient(server.endpoint, keys=outsider(who, ring)) as blind,
        ):
            wait()
            server.only_these_see([display], [blind])
            wait()  # it has tried again
            server.only_these_see([display], [blind])


@pytest.mark.parametrize("false", ["its key is another", "it has none"])
def test_a_false_server_is_not_listened_to(ring: KeyRing, false: str) -> None:
    keys = ring.server("false") if false == "its key is another" else None
    with (
        secured_publisher(keys) as server,
        server.refusals() as wait,
        StrainClient(server.endpoint, keys=ring.client("display")) as display,
    ):
        wait()
        server.only_these_see([], [display])
        wait()
        server.only_these_see([], [display])


def test_a_key_is_good_as_soon_as_its_file_lies_there(ring: KeyRing) -> None:
    with (
        secured_publisher(ring.server()) as server,
        StrainClient(server.endpoint, keys=ring.client("late")) as late,
    ):
        wait_until(lambda: server.denied() > 0)
        ring.allow("late")
        server.wait_for_subscribers()
        server.only_these_see([late], [])


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:0", "tcp://*:0", "ipc://{folder}/socket"])
def test_a_revoked_client_is_cut_off_and_the_others_come_back(
    ring: KeyRing, tmp_path: Path, endpoint: str
) -> None:
    ring.allow("visitor")
    with secured_publisher(ring.server(), endpoint.format(folder=tmp_path)) as server:
        place = server.endpoint.replace("0.0.0.0", "127.0.0.1")
        with (
            StrainClient(place, keys=ring.client("display")) as display,
            StrainClient(place, keys=ring.client("visitor")) as visitor,
        ):
            server.wait_for_subscribers(2)
            server.only_these_see([display, visitor], [])
            denied = server.denied()
            ring.revoke("visitor")
            renewed(server.bound)
            server.wait_for_subscribers(1)
            wait_until(lambda: server.denied() > denied)
            server.only_these_see([display], [visitor])
            assert server.bound.endpoint.replace("0.0.0.0", "127.0.0.1") == place
            stays(server)
            ring.allow("visitor")
            server.wait_for_subscribers(1)
            server.only_these_see([display, visitor], [])


def test_nobody_is_cut_off_for_a_key_that_is_added_or_was_never_used(ring: KeyRing) -> None:
    ring.allow("spare")
    with (
        secured_publisher(ring.server()) as server,
        StrainClient(server.endpoint, keys=ring.client("display")) as display,
    ):
        server.wait_for_subscribers()
        socket = server.bound.socket
        ring.allow("new")
        ring.revoke("spare")
        with StrainClient(server.endpoint, keys=ring.client("spare")):
            wait_until(lambda: server.denied() > 0)
        stays(server)
        assert server.bound.socket is socket
        server.only_these_see([display], [])


def test_without_its_folder_a_server_lets_in_nobody(ring: KeyRing) -> None:
    with (
        secured_publisher(ring.server()) as server,
        StrainClient(server.endpoint, keys=ring.client("display")) as display,
    ):
        server.wait_for_subscribers()
        ring.allowed.rename(ring.allowed.with_name("lost"))
        renewed(server.bound)
        wait_until(lambda: server.denied() > 0)
        server.only_these_see([], [display])
        ring.allowed.with_name("lost").rename(ring.allowed)
        server.wait_for_subscribers()
        server.only_these_see([display], [])


def test_without_an_authenticator_every_client_is_denied(ring: KeyRing) -> None:
    with (
        zmq.Context() as context,
        BoundSocket(
            context,
            zmq.XPUB,
            "tcp://127.0.0.1:0",
            security=AccessList("strain", ring.server()),
            options={zmq.LINGER: 0},
        ) as bound,
        bound.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL) as monitor,
        StrainClient(bound.endpoint, keys=ring.client("display")),
    ):
        assert monitor.poll(round(1e3 * TIMEOUT_S))
        assert not bound.socket.poll(0)
        bound.socket.disable_monitor()


def test_an_allowed_client_that_sends_too_much_is_cut_off_alone(ring: KeyRing) -> None:
    ring.allow("rogue")
    with (
        secured_publisher(ring.server()) as server,
        StrainClient(server.endpoint, keys=ring.client("display")) as display,
        zmq.Context() as context,
        context.socket(zmq.XSUB) as rogue,
    ):
        server.wait_for_subscribers()
        rogue.linger = 0
        ring.client("rogue").secure(rogue)
        rogue.connect(server.endpoint)
        rogue.send(b"\1" + bytes(100))
        assert server.bound.socket.poll(round(1e3 * TIMEOUT_S))
        assert len(server.bound.socket.recv()) == 101
        with rogue.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
            rogue.send(b"\1" + bytes(2000))
            assert monitor.poll(round(1e3 * TIMEOUT_S))
            rogue.disable_monitor()
        server.only_these_see([display], [])


def test_a_place_that_somebody_took_is_waited_for(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        secured_publisher(ring.server()) as server,
        zmq.Context() as context,
        context.socket(zmq.PUB) as thief,
        StrainClient(server.endpoint, keys=ring.client("display")) as display,
    ):
        server.wait_for_subscribers()
        make = server.bound._make

        def stolen() -> None:
            thief.bind(server.endpoint)
            make()

        monkeypatch.setattr(server.bound, "_make", stolen)
        allowed = ring.allowed / "display.key"
        allowed.rename(ring.made / "kept")
        renewed(server.bound)
        server.bound.renew()
        server.publish()
        (ring.made / "kept").rename(allowed)
        thief.unbind(server.endpoint)

        def back() -> bool:
            server.bound.renew()
            return bool(server.bound.socket.poll(10))

        wait_until(back)
        server.wait_for_subscribers()
        server.only_these_see([display], [])

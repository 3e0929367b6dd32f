"""Who sends RF frames, and who receives them: the keys in the other direction, whichever side binds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from live import TIMEOUT_S, numbered_frame, numbered_message, running
from rf_listener import RFListener, rf_listener
from secured_publisher import KeyRing

from usert.errors import OptionError
from usert.frame import RFFrame
from usert.runtime.clients.frame_sender import FrameSender
from usert.runtime.sources.replay import Replay, ReplayConfig
from usert.runtime.transport.access import Authenticator
from usert.runtime.transport.keys import ClientKeys, Keys
from usert.runtime.transport.receiver import ReceiverType
from usert.runtime.transport.socket import BoundSocket

ANY = "tcp://127.0.0.1:0"
BESIDE = {"sub": "pub", "pull": "push"}


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing(tmp_path)
    made.allow("scanner", "receiver")
    return made


def falls_silent(deaf: RFListener, stream: str, *, while_it_hears: RFListener) -> None:
    """Soon no more of `stream` comes to `deaf`, though the stream "known" goes on."""
    for _ in range(50):
        before = deaf.received[stream]
        while_it_hears.wait_for("known", 40)
        if deaf.received[stream] == before:
            break
    while_it_hears.wait_for("known", 200)
    assert deaf.received[stream] == before


def frames() -> Iterator[RFFrame]:
    while True:
        yield numbered_frame(0)


def scanner(stream: str, keys: Keys | None, endpoint: str = ANY, kind: ReceiverType = "sub") -> Replay:
    """Frames at 200 Hz without end; it connects unless the endpoint is `ANY`."""
    fields: dict[str, Any] = {"socket_type": BESIDE[kind], "bind": endpoint == ANY, "rate_hz": 200}
    return Replay(frames, ReplayConfig(endpoint=endpoint, stream=stream, keys=keys, **fields))


@pytest.mark.parametrize("kind", ["sub", "pull"])
def test_only_an_allowed_scanner_is_heard(ring: KeyRing, kind: ReceiverType) -> None:
    with (
        rf_listener(ring.server(), kind=kind) as receiver,
        running(scanner("known", ring.client("scanner"), receiver.endpoint, kind)),
        running(scanner("keyless", None, receiver.endpoint, kind)) as keyless,
        running(scanner("stranger", ring.client("stranger"), receiver.endpoint, kind)) as stranger,
        running(scanner("lost", ring.client("scanner", server="elsewhere"), receiver.endpoint, kind)) as lost,
    ):
        receiver.wait_for("known", 100)
        assert set(receiver.received) == {"known"}
        assert (keyless.sent, stranger.sent, lost.sent) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["sub", "pull"])
def test_only_an_allowed_receiver_hears(ring: KeyRing, kind: ReceiverType) -> None:
    with (
        running(scanner("known", ring.server(), kind=kind)) as source,
        rf_listener(None, source.endpoint, kind) as keyless,
        rf_listener(ring.client("stranger"), source.endpoint, kind) as stranger,
        rf_listener(ring.client("receiver", server="elsewhere"), source.endpoint, kind) as lost,
        rf_listener(ring.client("receiver"), source.endpoint, kind) as known,
    ):
        known.wait_for("known", 100)
        assert (keyless.received, stranger.received, lost.received) == ({}, {}, {})


def test_a_revoked_scanner_is_cut_off_and_the_other_comes_back(ring: KeyRing) -> None:
    ring.allow("spare")
    with (
        rf_listener(ring.server()) as receiver,
        running(scanner("known", ring.client("scanner"), receiver.endpoint)),
        running(scanner("spare", ring.client("spare"), receiver.endpoint)),
    ):
        receiver.wait_for("known")
        receiver.wait_for("spare")
        ring.revoke("spare")
        falls_silent(receiver, "spare", while_it_hears=receiver)


def test_a_revoked_receiver_is_cut_off_and_the_other_comes_back(ring: KeyRing) -> None:
    ring.allow("spare")
    with (
        running(scanner("known", ring.server())) as source,
        rf_listener(ring.client("receiver"), source.endpoint) as known,
        rf_listener(ring.client("spare"), source.endpoint) as spare,
    ):
        known.wait_for("known")
        spare.wait_for("known")
        ring.revoke("spare")
        falls_silent(spare, "known", while_it_hears=known)


def test_an_allowed_scanner_that_sends_too_much_is_cut_off_alone(ring: KeyRing) -> None:
    ring.allow("rogue")
    with (
        rf_listener(ring.server(), kind="pull", max_bytes=4096) as receiver,
        running(scanner("known", ring.client("scanner"), receiver.endpoint, "pull")),
        zmq.Context() as context,
        context.socket(zmq.PUSH) as rogue,
        rogue.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor,
    ):
        rogue.linger = 0
        ring.client("rogue").secure(rogue)
        rogue.connect(receiver.endpoint)
        rogue.send_multipart(numbered_message(0, stream="rogue", shape=(24, 80)).to_parts())
        receiver.wait_for("rogue", 1)
        rogue.send_multipart(numbered_message(1, stream="rogue", shape=(24, 90)).to_parts())
        assert monitor.poll(round(1e3 * TIMEOUT_S))
        receiver.wait_for("known", 20)
        assert receiver.received["rogue"] == 1
        rogue.disable_monitor()


def test_one_socket_has_keys_and_another_of_its_context_none(ring: KeyRing) -> None:
    options: dict[int, int | bytes] = {zmq.LINGER: 0}
    with (
        zmq.Context() as context,
        Authenticator(context, strain=ring.server(), rf=None) as authenticator,
        BoundSocket(
            context, zmq.XPUB, ANY, security=authenticator.access("strain"), options=options
        ) as strain,
        BoundSocket(context, zmq.PULL, ANY, security=authenticator.access("rf"), options=options) as rf,
        zmq.Context() as other,
        other.socket(zmq.PUSH) as source,
        other.socket(zmq.SUB) as display,
    ):
        source.linger = display.linger = 0
        source.connect(rf.endpoint)
        source.send(b"frame")
        assert rf.socket.poll(round(1e3 * TIMEOUT_S))
        ring.client("receiver").secure(display)
        display.subscribe(b"")
        display.connect(strain.endpoint)
        assert strain.socket.poll(round(1e3 * TIMEOUT_S))


def test_keys_open_the_way_to_other_machines(ring: KeyRing) -> None:
    far = "tcp://192.0.2.1:5555"
    for keys in (ring.server(), ring.client("scanner")):
        assert FrameSender(far, keys=keys, bind=not isinstance(keys, ClientKeys)).endpoint == far
    with pytest.raises(OptionError, match=r"usert keys make.*--key.*127\.0\.0\.1.*--insecure"):
        FrameSender(far)

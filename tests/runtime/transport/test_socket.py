"""What is on the wire, and that a socket comes back after whatever ended its connection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq
from live import TIMEOUT_S, wait_until
from publishing import Publisher, image
from relay import relaying
from secured_publisher import KeyRing, secured_publisher

from usert.errors import OptionError
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.transport.socket import ConnectedSocket


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing(tmp_path)
    made.allow("display")
    return made


@pytest.mark.parametrize("keyed", [True, False])
def test_with_keys_nobody_on_the_way_reads_along(ring: KeyRing, keyed: bool) -> None:
    with (
        secured_publisher(ring.server() if keyed else None) as server,
        relaying(server.endpoint) as relay,
        StrainClient(relay.endpoint, keys=ring.client("display") if keyed else None) as display,
    ):
        server.wait_for_subscribers()
        quality = np.random.default_rng(0).random((3, 2), np.float32)
        server.bound.socket.send_multipart(image(1, quality=quality).to_parts())
        received = display.receive(TIMEOUT_S)
        assert received is not None
        np.testing.assert_array_equal(received.quality, quality)
        for part in (b'"kind":"strain"', b"mean_strain", quality.tobytes()):
            assert (part in relay.passed) is not keyed, part


def test_what_was_changed_on_the_way_is_not_shown_and_the_client_comes_back(ring: KeyRing) -> None:
    with (
        secured_publisher(ring.server()) as server,
        relaying(server.endpoint) as relay,
        StrainClient(relay.endpoint, keys=ring.client("display")) as display,
    ):
        server.wait_for_subscribers()
        server.only_these_see([display], [])
        relay.change = lambda data: data[:-1] + bytes([data[-1] ^ 1])
        server.publish()
        wait_until(lambda: relay.connections == 2)  # it hung up, and tries again
        assert display.receive(0) is None
        assert display.malformed == {}
        relay.change = lambda data: data
        server.wait_for_subscribers()
        server.only_these_see([display], [])


def test_a_client_comes_back_after_a_part_that_was_too_large() -> None:
    options: dict[int, int | bytes] = {zmq.LINGER: 0, zmq.SUBSCRIBE: b"", zmq.MAXMSGSIZE: 1000}
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.linger = 0
        socket.bind("tcp://127.0.0.1:0")
        source = Publisher(socket)
        with ConnectedSocket(context, zmq.SUB, source.endpoint, options=options) as connected:
            source.wait()
            socket.send(bytes(1000))
            assert connected.socket.poll(round(1e3 * TIMEOUT_S))
            assert len(connected.socket.recv()) == 1000
            socket.send(bytes(1001))

            def back() -> bool:
                connected.renew()
                return bool(socket.poll(10)) and socket.recv() == b"\1"

            wait_until(back)
            socket.send(b"again")
            assert connected.socket.poll(round(1e3 * TIMEOUT_S))
            assert connected.socket.recv() == b"again"


@pytest.mark.parametrize(
    ("who", "told"),
    [("stranger", "does not allow this key"), (None, "another key, or only one side has keys")],
)
def test_a_client_that_is_refused_says_why_once(
    ring: KeyRing, who: str | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        secured_publisher(ring.server()) as server,
        StrainClient(server.endpoint, keys=ring.client(who) if who else None),
        server.refusals() as wait,
    ):
        wait_until(lambda: told in caplog.text)
        wait()
        wait()
    assert caplog.text.count(told) == 1


def test_keys_that_zeromq_cannot_use_are_an_error_and_nothing_leaks(ring: KeyRing) -> None:
    broken = replace(ring.client("display"), server=b"#" * 40)
    with (
        pytest.raises(OptionError, match=r"^keys: .*: Invalid argument"),
        StrainClient("tcp://127.0.0.1:1", keys=broken),
    ):
        pass


def test_a_server_that_is_not_there_yet_is_no_refusal(
    publisher: Publisher,
    caplog: pytest.LogCaptureFixture,
) -> None:
    socket, endpoint = publisher.socket, publisher.endpoint
    socket.unbind(endpoint)
    with StrainClient(endpoint) as client:
        assert client.receive(0.5) is None
        socket.bind(endpoint)
        publisher.wait()
        publisher.send(image(1))
        assert client.receive(TIMEOUT_S) is not None
    assert caplog.text == ""

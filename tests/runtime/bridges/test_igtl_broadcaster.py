"""Who listens over TCP: the newest message of each device, whole, to everyone, whatever one of them does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from live import TIMEOUT_S, wait_until

from usert.errors import OptionError
from usert.runtime.bridges.igtl_broadcaster import MOST_CLIENTS, Broadcaster

LARGE = 1 << 23


@pytest.fixture
def broadcaster() -> Iterator[Broadcaster]:
    with Broadcaster("127.0.0.1", 0) as opened:
        yield opened


def listener(broadcaster: Broadcaster, *, receive_bytes: int | None = None) -> socket.socket:
    """A client who is here; `receive_bytes`: how much it takes without reading."""
    before = broadcaster.served
    client = socket.socket()
    client.settimeout(TIMEOUT_S)
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect(("127.0.0.1", broadcaster.port))
    wait_until(lambda: broadcaster.served == before + 1)
    return client


def read(client: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = client.recv(size - len(parts))
        assert part, f"closed after {len(parts)} of {size} bytes"
        parts += part
    return bytes(parts)


def test_everyone_gets_every_message_in_order(broadcaster: Broadcaster) -> None:
    with listener(broadcaster) as one, listener(broadcaster) as two:
        assert broadcaster.count == 2
        for turn in (b"1", b"2"):
            broadcaster.offer({"strain": b"s" + turn, "quality": b"q" + turn})
            assert [read(client, 4) for client in (one, two)] == [b"s" + turn + b"q" + turn] * 2


def test_a_client_that_stands_still_costs_the_others_nothing_and_later_gets_the_newest(
    broadcaster: Broadcaster,
) -> None:
    with listener(broadcaster, receive_bytes=4096) as still, listener(broadcaster) as quick:
        for turn in range(20):
            broadcaster.offer({"strain": bytes([turn]) * LARGE, "status": b"%02d" % turn})
            assert read(quick, LARGE + 2) == bytes([turn]) * LARGE + b"%02d" % turn
        first = read(still, LARGE + 2)
        assert first == bytes(LARGE) + b"00"  # the one that was under way is whole
        assert read(still, LARGE + 2) == bytes([19]) * LARGE + b"19"  # of the rest the newest alone
        assert broadcaster.count == 2


def test_a_client_that_goes_in_the_middle_of_a_message_is_forgotten(broadcaster: Broadcaster) -> None:
    with listener(broadcaster) as stays:
        gone = listener(broadcaster, receive_bytes=4096)
        broadcaster.offer({"strain": bytes(LARGE)})
        read(stays, LARGE)
        read(gone, 100)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, as when killed
        gone.close()
        wait_until(lambda: broadcaster.count == 1)
        broadcaster.offer({"strain": b"next"})
        assert read(stays, 4) == b"next"


def test_a_client_that_never_takes_its_messages_is_let_go(
    broadcaster: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usert.runtime.bridges.igtl_broadcaster._STALLED_S", 0.1)
    with listener(broadcaster, receive_bytes=4096):
        broadcaster.offer({"strain": bytes(LARGE)})
        wait_until(lambda: broadcaster.disconnected == 1)
        wait_until(lambda: broadcaster.count == 0)


def test_what_clients_send_is_thrown_away(broadcaster: Broadcaster) -> None:
    with listener(broadcaster) as chatty:
        chatty.sendall(bytes(LARGE))
        broadcaster.offer({"status": b"heard"})
        assert read(chatty, 5) == b"heard"


def test_so_many_and_no_more(broadcaster: Broadcaster) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_CLIENTS):
            stack.enter_context(listener(broadcaster))
        with socket.create_connection(("127.0.0.1", broadcaster.port), timeout=TIMEOUT_S) as one_more:
            assert one_more.recv(1) == b""
        assert (broadcaster.count, broadcaster.rejected) == (MOST_CLIENTS, 1)


def test_it_ends_at_once_with_clients_who_stand_still() -> None:
    with Broadcaster("127.0.0.1", 0) as broadcaster, listener(broadcaster, receive_bytes=4096) as still:
        broadcaster.offer({"strain": bytes(LARGE)})
        read(still, 10)
        ending = threading.Thread(target=broadcaster.__exit__, args=(None, None, None))
        ending.start()
        ending.join(5)
        assert not ending.is_alive()
        broadcaster.offer({"strain": b"nobody"})  # after the end: no error, and nobody hears
    assert broadcaster.state == "closed"


def test_addresses(broadcaster: Broadcaster) -> None:
    for host in ("0.0.0.0", "192.168.1.2", "::", "scanner"):
        with pytest.raises(OptionError, match=r"127\.0\.0\.1.*--insecure"):
            Broadcaster(host, 0)
    with Broadcaster("0.0.0.0", 0, insecure=True) as everywhere:
        assert everywhere.address == f"0.0.0.0:{everywhere.port}"
    with (
        pytest.raises(OptionError, match=r"127\.0\.0\.1 .* in use"),
        Broadcaster("127.0.0.1", broadcaster.port),
    ):
        pass
    with pytest.raises(OptionError, match="cannot bind"), Broadcaster("203.0.113.7", 0, insecure=True):
        pass
    with pytest.raises(OptionError, match="expected 0 to 65535"):
        Broadcaster("127.0.0.1", 70_000)

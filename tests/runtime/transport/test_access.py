"""The authenticator answers every request, and what it does not know is a denial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from live import TIMEOUT_S
from secured_publisher import KeyRing
from zmq.utils import z85

from usert.runtime.transport.access import AccessList, Authenticator
from usert.runtime.transport.fault_counter import MOST_DETAILS
from usert.runtime.transport.socket import make_socket

Ask = Callable[..., bytes]


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing(tmp_path)
    made.allow("display")
    return made


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as made:
        yield made


@pytest.fixture
def authenticator(ring: KeyRing, context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[Authenticator]:
    with Authenticator(context, strain=ring.server(), rf=None) as opened:
        yield opened


@pytest.fixture
def ask(
    ring: KeyRing, context: zmq.Context[zmq.Socket[bytes]], authenticator: Authenticator
) -> Iterator[Ask]:
    """Ask as ZeroMQ does, by default with a key that is allowed; the status code."""
    key = z85.decode(ring.client("display").pair.public)
    usual = [b"1.0", b"7", b"strain", b"127.0.0.1", b"", b"CURVE", key]

    def asked(parts: int | None = None, **changes: bytes) -> bytes:
        names = ("version", "id", "domain", "address", "identity", "mechanism", "credentials")
        request = [changes.get(name, part) for name, part in zip(names, usual, strict=True)]
        socket.send_multipart([*request, b"more"][:parts] if parts is not None else request)
        assert socket.poll(round(1e3 * TIMEOUT_S))
        version, request_id, code, _, user, metadata = socket.recv_multipart()
        assert (version, request_id) == (b"1.0", request[1] if parts is None or parts > 1 else b"")
        assert (user, metadata) == (b"", b"")
        return code

    with context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect("inproc://zeromq.zap.01")
        yield asked


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"version": b"2.0"}, "request"),
        ({"parts": 1}, "request"),
        ({"parts": 6}, "request"),
        ({"parts": 8}, "request"),
        ({"domain": b""}, "mechanism"),
        ({"domain": b"rf"}, "mechanism"),
        ({"domain": b"\xff"}, "mechanism"),
        ({"mechanism": b"NULL"}, "mechanism"),
        ({"mechanism": b"PLAIN"}, "mechanism"),
        ({"credentials": b""}, "mechanism"),
        ({"credentials": bytes(33)}, "mechanism"),
        ({"credentials": bytes(32)}, "key"),
        ({"credentials": bytes(32), "address": b"\xff"}, "key"),
    ],
)
def test_all_but_an_allowed_key_is_denied(
    ask: Ask, authenticator: Authenticator, changes: dict[str, bytes], kind: str
) -> None:
    assert ask() == b"200"
    assert ask(**changes) == b"400"
    assert authenticator.denied.counts == {kind: 1}
    assert ask() == b"200"


def test_denials_are_counted_and_the_first_ones_logged(
    ask: Ask, authenticator: Authenticator, caplog: pytest.LogCaptureFixture
) -> None:
    for k in range(50):
        assert ask(credentials=bytes([k]) * 32) == b"400"
    assert authenticator.denied.counts == {"key": 50}
    assert len(caplog.records) == MOST_DETAILS
    assert "127.0.0.1 with the key 00000" in caplog.messages[0]


def test_a_fault_inside_is_a_denial(
    ask: Ask, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(key: bytes) -> bool:
        raise RuntimeError("no disk")

    with monkeypatch.context() as patch:
        patch.setattr(authenticator.security("strain"), "admit", broken)
        assert ask() == b"400"
    assert authenticator.denied.counts == {"RuntimeError": 1}
    assert ask() == b"200"


def test_a_file_that_holds_no_key_admits_nobody_and_the_others_are_still_admitted(
    ask: Ask, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    (ring.allowed / "half.key").write_bytes(b"curve\n")
    (ring.allowed / "secret.key").write_bytes(ring.secret("display").read_bytes())
    (ring.allowed / "folder.key").mkdir()
    (ring.allowed / "display.txt").write_bytes(ring.public("stranger").read_bytes())
    for _ in range(3):
        assert ask() == b"200"
    assert ask(credentials=z85.decode(ring.client("stranger").pair.public)) == b"400"
    for name in ("half.key", "secret.key"):
        assert len([record for record in caplog.records if f"({name})" in record.message]) == 1


def test_without_server_keys_nothing_is_opened(
    ring: KeyRing, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    client = ring.client("display")
    with (
        Authenticator(context, strain=None, rf=client) as first,
        Authenticator(context, strain=ring.server()) as second,
    ):
        assert first.security("strain") is None
        assert first.security("rf") is client
        assert isinstance(second.security("strain"), AccessList)
        with pytest.raises(zmq.ZMQError, match="in use"), Authenticator(context, strain=ring.server()):
            pass


def test_roles_are_not_confused(ring: KeyRing, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    for security, bind in ((ring.client("display"), True), (AccessList("strain", ring.server()), False)):
        with pytest.raises(ValueError, match=r"^tcp://127\.0\.0\.1:0: .* binds .*access list"):
            make_socket(context, zmq.PUB, "tcp://127.0.0.1:0", bind=bind, security=security, options={})

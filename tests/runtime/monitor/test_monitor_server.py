"""Whoever watches gets the pages, and no client, however slow or rude, keeps them from anybody else."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from live import TIMEOUT_S
from prometheus_client.parser import text_string_to_metric_families

from usert.errors import OptionError
from usert.runtime.monitor.health import Health
from usert.runtime.monitor.http import (
    MAX_CONNECTIONS,
    MAX_REQUEST_BYTES,
    MonitorServer,
    Page,
    monitor_pages,
)
from usert.runtime.monitor.metrics import Metrics
from usert.runtime.protocol.age import now_ns
from usert.runtime.transport.address import parse_monitor_address

LARGE = b"x" * (1 << 24)
"""More than the buffers of two sockets hold."""
ANY = "127.0.0.1:0"


def text_page(body: bytes) -> Callable[[], Page]:
    return lambda: Page(status=200, content_type="text/plain", body=body)


def broken_page() -> Page:
    raise RuntimeError("no such luck")


@pytest.fixture
def monitor() -> Iterator[MonitorServer]:
    pages = {"/hello": text_page(b"hello"), "/large": text_page(LARGE), "/broken": broken_page}
    with MonitorServer(ANY, pages) as opened:
        yield opened


def host_and_port(monitor: MonitorServer) -> tuple[str, int]:
    host, _, port = monitor.url.removeprefix("http://").rpartition(":")
    return host.strip("[]"), int(port)


def connect(monitor: MonitorServer) -> socket.socket:
    return socket.create_connection(host_and_port(monitor), TIMEOUT_S)


def ask(monitor: MonitorServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body, as a client of the standard library reads them."""
    connection = http.client.HTTPConnection(*host_and_port(monitor), timeout=TIMEOUT_S)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def say(monitor: MonitorServer, request: bytes) -> bytes:
    """All that comes back for `request`."""
    with connect(monitor) as client:
        client.sendall(request)
        return read_to_end(client)


def read_to_end(client: socket.socket) -> bytes:
    chunks = []
    while chunk := client.recv(1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)


def test_metrics_and_health_are_shown() -> None:
    metrics, health = Metrics(), Health(now_ns())
    metrics.image(stream="probe", state="live", age_ms=40)
    with MonitorServer(ANY, monitor_pages(metrics, health)) as monitor:
        code, body = ask(monitor, "/metrics")
        assert code == 200
        assert "usert_images" in {
            family.name for family in text_string_to_metric_families(body.decode("utf-8"))
        }
        code, body = ask(monitor, "/health")
        assert (code, json.loads(body)["status"]) == (200, "waiting")
        for _ in range(health.rule.failed_pairs):
            health.failed_in_a_row += 1
        code, body = ask(monitor, "/health")
        assert (code, json.loads(body)["status"]) == (503, "failing")


def test_the_type_of_the_metrics_names_their_format() -> None:
    with MonitorServer(ANY, monitor_pages(Metrics(), Health(now_ns()))) as monitor:
        head = say(monitor, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").split(b"\r\n\r\n")[0]
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head.split(b"\r\n")


@pytest.mark.parametrize("path", ["/", "/hello/", "/hello/..", "//hello", "/../etc/passwd", "/hell%6f", "*"])
def test_there_is_nothing_but_the_pages(monitor: MonitorServer, path: str) -> None:
    assert ask(monitor, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"])
def test_pages_can_only_be_got(monitor: MonitorServer, method: str) -> None:
    assert ask(monitor, "/hello", method)[0] == 404


def test_a_query_changes_nothing(monitor: MonitorServer) -> None:
    assert ask(monitor, "/hello?collect[]=cpu") == (200, b"hello")


@pytest.mark.parametrize(
    "request_", [b"hello\r\n\r\n", b"\r\n\r\n", b"\xff\x00 \x01\n\n", b"GET / SMTP/1.1\r\n\r\n"]
)
def test_what_is_no_http_is_told_so(monitor: MonitorServer, request_: bytes) -> None:
    assert say(monitor, request_).startswith(b"HTTP/1.1 400 ")
    assert ask(monitor, "/hello") == (200, b"hello")


def test_a_request_that_does_not_end_is_cut_off(monitor: MonitorServer) -> None:
    with connect(monitor) as client:
        client.sendall(b"GET /hello HTTP/1.1\r\n" + b"a: b\r\n" * MAX_REQUEST_BYTES)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(64).startswith(b"HTTP/1.1 431 ")
    assert ask(monitor, "/hello") == (200, b"hello")


def test_what_follows_a_request_costs_neither_the_answer_nor_much_time(
    monitor: MonitorServer,
) -> None:
    body = b"x" * (1 << 15)
    assert say(monitor, b"GET /hello HTTP/1.1\r\n\r\n" + body).endswith(b"\r\n\r\nhello")
    with connect(monitor) as client:
        client.sendall(b"GET /hello HTTP/1.1\r\n\r\n")
        poke_until_refused(client, body)


def test_a_page_that_fails_is_an_error_of_this_request_only(monitor: MonitorServer) -> None:
    code, body = ask(monitor, "/broken")
    assert (code, body) == (500, b"Internal Server Error\n")
    assert ask(monitor, "/hello") == (200, b"hello")


def test_a_request_may_come_byte_by_byte(monitor: MonitorServer) -> None:
    with connect(monitor) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /hello HTTP/1.0\n\n":
            client.sendall(bytes([byte]))
        assert read_to_end(client).endswith(b"\r\n\r\nhello")


def test_clients_that_say_nothing_keep_nobody_out(monitor: MonitorServer) -> None:
    threads = threading.active_count()
    with ExitStack() as silent:
        for _ in range(3 * MAX_CONNECTIONS):
            silent.enter_context(connect(monitor))
        assert ask(monitor, "/hello") == (200, b"hello")
        assert threading.active_count() == threads


def test_the_client_that_has_been_there_longest_makes_room(monitor: MonitorServer) -> None:
    with ExitStack() as silent:
        clients = [silent.enter_context(connect(monitor)) for _ in range(MAX_CONNECTIONS + 1)]
        assert clients[0].recv(1) == b""
        clients[-1].sendall(b"GET /hello HTTP/1.1\r\n\r\n")
        assert read_to_end(clients[-1]).endswith(b"hello")


def test_a_client_that_does_not_read_keeps_nobody_out(monitor: MonitorServer) -> None:
    with connect(monitor) as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        assert slow.recv(1) == b"H"
        assert ask(monitor, "/hello") == (200, b"hello")
        assert read_to_end(slow).endswith(LARGE[:1000])


def test_a_client_that_leaves_at_any_moment_harms_nobody(monitor: MonitorServer) -> None:
    for request in (b"", b"GET", b"GET /hello HTTP/1.1\r\n\r\n", b"GET /large HTTP/1.1\r\n\r\n"):
        with connect(monitor) as client:
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )  # a reset
            client.sendall(request)
    assert ask(monitor, "/hello") == (200, b"hello")


@pytest.mark.parametrize(
    "request_", [b"", b"GET /hello", b"GET /large HTTP/1.1\r\n\r\n", b"GET /hello HTTP/1.1\r\n\r\n"]
)
def test_at_the_deadline_it_is_over(request_: bytes) -> None:
    """Be it that the client says nothing, half of it, does not read, or does not close."""
    with MonitorServer(
        ANY, {"/hello": text_page(b"hello"), "/large": text_page(LARGE)}, deadline_s=0.5
    ) as monitor:
        with connect(monitor) as client:
            client.sendall(request_)
            poke_until_refused(client)
        assert ask(monitor, "/hello") == (200, b"hello")


def poke_until_refused(client: socket.socket, what: bytes = b"x") -> None:
    """Send on until the other side has closed: it answers with a reset."""
    deadline_ns = now_ns() + round(TIMEOUT_S * 1e9)
    try:
        while now_ns() < deadline_ns:
            client.sendall(what)
            threading.Event().wait(0.01)
    except (ConnectionResetError, BrokenPipeError):
        return
    pytest.fail("still connected")


def test_the_end_of_the_block_frees_the_port_and_cuts_off_who_is_there() -> None:
    with MonitorServer(ANY, {}) as monitor, connect(monitor) as client:
        address = host_and_port(monitor)
        assert ask(monitor, "/")[0] == 404
        monitor.__exit__(None, None, None)
        assert client.recv(1) == b""
    with MonitorServer(f"{address[0]}:{address[1]}", {}) as again:
        assert host_and_port(again) == address


def test_the_real_address_is_told(monitor: MonitorServer) -> None:
    assert host_and_port(monitor)[0] == "127.0.0.1"
    assert host_and_port(monitor)[1] > 0


def test_ipv6_is_spelt_with_brackets() -> None:
    try:
        with MonitorServer("[::1]:0", {"/hello": text_page(b"hello")}) as monitor:
            assert monitor.url.startswith("http://[::1]:")
            assert ask(monitor, "/hello") == (200, b"hello")
    except OptionError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    "bad", ["", "9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "a b:1"]
)
def test_an_address_that_is_none_is_refused_in_one_line(bad: str) -> None:
    with pytest.raises(OptionError, match=r"expected HOST:PORT") as raised:
        parse_monitor_address(bad, insecure=True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("open_", ["0.0.0.0:1", "[::]:1", "10.0.0.7:1", "scanner:1", "0:1", "127.1:1"])
def test_beyond_this_machine_only_in_so_many_words(open_: str) -> None:
    with pytest.raises(OptionError, match="--insecure"):
        parse_monitor_address(open_, insecure=False)
    assert parse_monitor_address(open_, insecure=True)[1] == 1


@pytest.mark.parametrize("mine", ["127.0.0.1:0", "127.0.0.9:80", "localhost:1", "[::1]:65535"])
def test_this_machine_needs_no_leave(mine: str) -> None:
    parse_monitor_address(mine, insecure=False)


def test_a_port_that_is_taken_is_said_in_one_line(monitor: MonitorServer) -> None:
    host, port = host_and_port(monitor)
    with (
        pytest.raises(OptionError, match=rf"^monitor address {host}:{port}: cannot bind: .* in use$"),
        MonitorServer(f"{host}:{port}", {}),
    ):
        pass


def test_a_host_that_is_none_is_said_in_one_line() -> None:
    for host in ("no-such-host.invalid", "a..b"):
        with (
            pytest.raises(OptionError, match=rf"^monitor address {host}:0: cannot bind: .+$"),
            MonitorServer(f"{host}:0", {}, insecure=True),
        ):
            pass

"""The control channel: who asks is answered, whatever others send, and only who is allowed is heard."""

from __future__ import annotations

import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import ExitStack
from typing import Any

import pytest
import zmq
from control_ends import BUNDLE, RECORD, STATUS, Desk, opened, raw, serving
from live import TIMEOUT_S, wait_until

from usert.errors import BundleError, ControlError, OptionError
from usert.runtime.clients.control_client import ControlClient
from usert.runtime.protocol.commands import Command, Compare, Quit, Reply, StopRecord
from usert.runtime.protocol.header import MAX_HEADER_BYTES, MAX_PARTS
from usert.runtime.server.control_socket import Allowance, ControlServer


def test_each_command_has_its_answer() -> None:
    with (
        serving(desk := Desk()) as (server, _),
        ControlClient(server.endpoint) as one,
        ControlClient(server.endpoint) as two,
    ):
        assert [asker.ask(STATUS)["heard"] for asker in (one, two, one)] == [0, 1, 2]
        assert desk.heard == ["status"] * 3
        assert not server.endpoint.endswith(":0")


@pytest.mark.parametrize(
    ("kind", "envelope"),
    [
        (zmq.REQ, ()),
        (zmq.DEALER, (b"",)),
        (zmq.DEALER, ()),
        (zmq.DEALER, (b"behind a proxy", b"")),
    ],
)
def test_a_reply_goes_back_in_the_envelope_that_came(kind: int, envelope: tuple[bytes, ...]) -> None:
    with serving(Desk()) as (server, _), raw(server.endpoint, kind, envelope=envelope) as client:
        for number in range(3):
            client.send(STATUS)
            assert client.reply() == Reply(command="status", result={"heard": number})


def test_a_slow_command_keeps_nobody_waiting() -> None:
    with (
        serving(desk := Desk("bundle")) as (server, _),
        raw(server.endpoint) as slow,
        raw(server.endpoint, zmq.DEALER) as quick,
    ):
        slow.send(BUNDLE)
        wait_until(lambda: desk.heard == ["bundle"])
        quick.send(BUNDLE, STATUS)
        assert quick.reply().command == "status"
        assert not slow.socket.poll(0)
        desk.under_way[1].set_result({})
        assert quick.reply().command == "bundle"
        desk.under_way[0].set_result({"engine": "new"})
        assert slow.reply() == Reply(command="bundle", result={"engine": "new"})


@pytest.mark.parametrize("raised_by", ["the handler", "the future"])
def test_what_goes_wrong_is_one_line_and_no_end(raised_by: str, caplog: pytest.LogCaptureFixture) -> None:
    error: Exception

    def handle(command: Command) -> Future[Any]:
        future: Future[Any] = Future()
        if command.name == "status":
            future.set_result({})
        elif raised_by == "the handler":
            raise error
        else:
            future.set_exception(error)
        return future

    with serving(handle) as (server, _), ControlClient(server.endpoint) as console:
        error = BundleError("bundle: got nothing,\nexpected one")
        with pytest.raises(ControlError, match=r"^bundle: got nothing, expected one$"):
            console.ask(RECORD)
        assert caplog.text == ""
        for _ in range(3):
            error = KeyError("/patients/doe")
            with pytest.raises(ControlError, match=r"^record.*KeyError"):
                console.ask(RECORD)
        assert console.ask(STATUS) == {}
        assert server.failed.counts == {"KeyError": 3}
    assert len(caplog.records) == 1
    assert "record, " in caplog.text
    assert "doe" not in caplog.text


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ({"a": float("nan")}, "ValueError"),
        ({"a": b""}, "TypeError"),
        ({"a": "x" * MAX_HEADER_BYTES}, "ValueError"),
        (3, "TypeError"),
        (None, "CancelledError"),
    ],
)
def test_a_result_that_cannot_be_sent_is_said(result: Any, kind: str) -> None:
    def handle(command: Command) -> Future[Any]:
        future: Future[Any] = Future()
        if result is None:
            future.cancel()
        else:
            future.set_result(result)
        return future

    with (
        serving(handle) as (server, _),
        ControlClient(server.endpoint) as console,
        pytest.raises(ControlError, match=f"^status.*{kind}"),
    ):
        console.ask(STATUS)
    assert server.failed.counts == {kind: 1}


def test_a_broken_message_is_answered_counted_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    broken = {
        "header": [b"John Doe"],
        "version": [b'{"usert":9,"kind":"command","command":"quit"}'],
        "kind": [b'{"usert":1,"kind":"rf"}'],
        "field": [b'{"usert":1,"kind":"command","command":"quit","why":"John Doe"}'],
        "parts": [b'{"usert":1,"kind":"command","command":"quit"}', b""],
    }
    with serving(desk := Desk()) as (server, _), raw(server.endpoint) as client:
        for parts in broken.values():
            for _ in range(2):
                client.socket.send_multipart(parts)
                reply = client.reply()
                assert (reply.command, reply.ok) == ("", False)
        assert server.malformed.counts == dict.fromkeys(broken, 2)
        client.send(STATUS)
        assert client.reply().ok
    assert desk.heard == ["status"]
    assert len(caplog.records) == len(broken)
    assert "Doe" not in caplog.text


def test_messages_without_envelope_or_with_too_many_parts_are_answered_too() -> None:
    quit_ = Quit().to_parts()[0]
    with serving(desk := Desk()) as (server, _), raw(server.endpoint, zmq.DEALER) as client:
        for parts in ([b""], [b"", b""], [b"x"] * 1000, [quit_] * (MAX_PARTS + 5)):
            client.socket.send_multipart(parts)
            assert client.socket.poll(round(1e3 * TIMEOUT_S))
            *_, body = client.socket.recv_multipart()
            assert not Reply.from_parts([body]).ok
        client.send(STATUS)
        assert client.reply().ok
    assert desk.heard == ["status"]


def test_who_sends_too_much_at_once_is_cut_off_alone() -> None:
    with (
        serving(desk := Desk()) as (server, _),
        ControlClient(server.endpoint) as console,
        raw(server.endpoint, zmq.DEALER) as rogue,
        rogue.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor,
    ):
        assert console.ask(STATUS) == {"heard": 0}
        rogue.socket.send(b" " * MAX_HEADER_BYTES)
        assert not rogue.reply().ok
        rogue.socket.send(b" " * (MAX_HEADER_BYTES + 1))
        assert monitor.poll(round(1e3 * TIMEOUT_S))
        rogue.socket.disable_monitor()
        assert console.ask(STATUS) == {"heard": 1}
    assert desk.heard == ["status"] * 2


def test_a_flood_keeps_nobody_from_an_answer() -> None:
    ended = threading.Event()
    sent = 0

    def flood(socket: zmq.Socket[bytes]) -> None:
        nonlocal sent
        while not ended.is_set():
            socket.send_multipart(STATUS.to_parts())
            sent += 1

    with (
        serving(Desk()) as (server, _),
        raw(server.endpoint, zmq.DEALER) as rogue,
        ControlClient(server.endpoint) as console,
    ):
        thread = threading.Thread(target=flood, args=(rogue.socket,))
        thread.start()
        try:
            wait_until(lambda: server.refused.total > 1000)
            for _ in range(20):
                before = server.refused.total
                assert "heard" in console.ask(STATUS)
                wait_until(lambda before=before: server.refused.total > before)  # type: ignore[misc]
        finally:
            ended.set()
            thread.join()
        assert set(server.refused.counts) == {"rate"}
        assert rogue.reply().ok  # the first ones were within its allowance
        wait_until(lambda: "too many commands: expected at most 20 a second" in rogue.reply().error)


def test_few_commands_are_under_way_of_one_connection_and_of_all() -> None:
    with serving(desk := Desk("record")) as (server, _), ExitStack() as stack:
        clients = [stack.enter_context(raw(server.endpoint, zmq.DEALER)) for _ in range(9)]
        for count, client in enumerate(clients[:8], 1):
            client.send(*[RECORD] * 9)
            reply = client.reply()
            assert (reply.command, reply.ok) == ("record", False)
            assert "too many commands: wait until" in reply.error
            assert len(desk.under_way) == 8 * count
        clients[8].send(RECORD)
        assert "too many" in clients[8].reply().error
        for client in clients:  # what an operator needs then passes
            client.send(STATUS, Quit(), StopRecord())
            assert [client.reply().ok for _ in range(3)] == [True] * 3
        for future in desk.under_way[:8]:
            future.set_result({})
        assert all(clients[0].reply().ok for _ in range(8))
        clients[8].send(STATUS)
        assert clients[8].reply().ok
        assert server.refused.counts == {"waiting": 9}


def test_a_command_that_cannot_begin_expires_and_makes_room() -> None:
    with zmq.Context() as context:
        desk = Desk("compare", "record")
        with opened(context, desk, expires_s=0.2) as server, raw(server.endpoint, zmq.DEALER) as client:
            client.send(*[Compare()] * 7, RECORD)
            wait_until(lambda: len(desk.under_way) == 8)
            desk.under_way[7].set_running_or_notify_cancel()  # begun: it may take its time
            for _ in range(7):
                reply = client.reply()
                assert (reply.command, reply.ok) == ("compare", False)
                assert reply.error == "compare: not begun within 0.2 s, and given up"
            assert all(future.cancelled() for future in desk.under_way[:7])
            desk.under_way[7].set_result({})
            assert client.reply().command == "record"
            assert server.refused.counts == {"expired": 7}


def test_an_allowance_is_a_burst_then_a_rate_each_for_itself_in_bounded_memory() -> None:
    allowance = Allowance(rate_hz=8, burst=5, most=3)
    assert [allowance.take(b"a", 100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert allowance.take(b"b", 100.0)
    assert not allowance.take(b"a", 100.0625)
    assert [allowance.take(b"a", 100.25) for _ in range(3)] == [True, True, False]
    assert [allowance.take(b"a", 1000.0) for _ in range(7)] == [True] * 5 + [False] * 2
    for name in range(100):
        assert allowance.take(bytes([name, 0]), 1000.0)
        allowance.take(b"a", 1000.0)
        assert len(allowance._buckets) <= 3
    assert not allowance.take(b"a", 1000.0)  # whoever is heard all the time is not forgotten


def test_at_the_end_who_has_an_answer_gets_it_and_the_others_are_told() -> None:
    with zmq.Context() as context, ExitStack() as stack:
        with opened(context, desk := Desk("record", "quit")) as server:
            waiting, last = (stack.enter_context(raw(server.endpoint)) for _ in range(2))
            waiting.send(RECORD)
            last.send(Quit())
            wait_until(lambda: sorted(desk.heard) == ["quit", "record"])
            desk.under_way[desk.heard.index("quit")].set_result({"bye": True})
        server.check()
        assert last.reply() == Reply(command="quit", result={"bye": True})
        assert waiting.reply() == Reply(command="record", error="the server is closing")
    desk.under_way[desk.heard.index("record")].set_result({})
    with pytest.raises(InvalidStateError):  # a future is not cancelled: it is the handler's
        desk.under_way[0].set_result({})


def test_a_place_that_is_taken_is_one_line_and_nothing_leaks() -> None:
    with serving(Desk()) as (server, _), zmq.Context() as context:
        second = ControlServer(context=context, endpoint=server.endpoint, handle=Desk())
        with pytest.raises(OptionError, match=f"^endpoint {server.endpoint}: .* in use"), second:
            pass


def test_what_ended_the_thread_is_raised_by_check() -> None:
    def handle(command: Command) -> Future[Any]:
        raise SystemExit("the handler gave up")

    with (
        zmq.Context() as context,
        opened(context, handle) as server,
        raw(server.endpoint) as client,
    ):
        server.check()
        client.send(STATUS)
        server._thread.join(TIMEOUT_S)
        with pytest.raises(SystemExit, match="gave up"):
            server.check()

"""The client of the control channel: its answer is the answer to what it asked, or one line says why there is none."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import zmq
from control_ends import ANY, BUNDLE, RECORD, STATUS, Desk, answer_of, serving
from live import TIMEOUT_S, wait_until

from usert.errors import ControlError, WireError
from usert.runtime.clients.control_client import ControlClient
from usert.runtime.protocol.commands import Reply


def test_a_late_answer_is_not_taken_for_the_next() -> None:
    with (
        serving(desk := Desk("record")) as (server, _),
        ControlClient(server.endpoint, timeout_s=0.3) as console,
    ):
        answer_of(console)
        with pytest.raises(ControlError, match=r"^no answer .*tcp://\S+ .*0\.3 s"):
            console.ask(RECORD)
        wait_until(lambda: desk.heard[-1] == "record")
        desk.under_way[0].set_result({"late": True})
        assert set(answer_of(console)) == {"heard"}


def test_a_command_that_takes_long_is_waited_for_once_the_server_is_there() -> None:
    answers: list[dict[str, Any]] = []
    with (
        serving(desk := Desk("bundle")) as (server, _),
        ControlClient(server.endpoint, timeout_s=2.0) as console,
        ControlClient("tcp://127.0.0.1:1", timeout_s=0.3) as astray,
    ):
        thread = threading.Thread(target=lambda: answers.append(console.ask(BUNDLE)))
        thread.start()
        wait_until(lambda: desk.heard == ["status", "bundle"])
        begin_s = time.monotonic()
        with pytest.raises(ControlError, match=r"^no answer .*tcp://127\.0\.0\.1:1 .*0\.3 s"):
            astray.ask(BUNDLE)
        wait_until(lambda: time.monotonic() > begin_s + 2.1)
        desk.under_way[0].set_result({"engine": "new"})
        thread.join(TIMEOUT_S)
    assert answers == [{"engine": "new"}]


def test_stop_ends_a_wait_from_another_thread() -> None:
    errors: list[str] = []

    def ask() -> None:
        with pytest.raises(ControlError) as caught:
            console.ask(BUNDLE)
        errors.append(str(caught.value))

    with serving(desk := Desk("bundle")) as (server, _), ControlClient(server.endpoint) as console:
        thread = threading.Thread(target=ask)
        thread.start()
        wait_until(lambda: desk.heard == ["status", "bundle"])
        console.stop()
        thread.join(TIMEOUT_S)
    assert errors == [f"stopped before {server.endpoint} answered"]


def test_a_server_that_comes_back_is_asked_again() -> None:
    with serving(Desk()) as (server, _):
        endpoint = server.endpoint
    with ControlClient(endpoint, timeout_s=0.3) as console:
        for _ in range(2):
            with serving(desk := Desk(), endpoint=endpoint):
                answer_of(console)  # what went to the old one in its last moment is lost
                assert set(desk.heard) == {"status"}
            with pytest.raises(ControlError, match="no answer"):
                console.ask(STATUS)


def test_garbage_for_an_answer_is_said_and_survived() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        socket.bind(ANY)
        answers: list[Any] = []

        def answer() -> None:
            for parts in ([b"hello"], [b"{}", b""], Reply(command="status", result={"a": 1}).to_parts()):
                who, *_ = socket.recv_multipart()
                socket.send_multipart([who, b"", *parts])

        thread = threading.Thread(target=answer)
        thread.start()
        with ControlClient(socket.get_string(zmq.LAST_ENDPOINT)) as console:
            for _ in range(2):
                with pytest.raises(WireError):
                    console.ask(STATUS)
            answers.append(console.ask(STATUS))
        thread.join(TIMEOUT_S)
    assert answers == [{"a": 1}]

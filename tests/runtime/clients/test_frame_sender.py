"""The sender of frames: what is dropped, and that it comes back."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from frame_listener import listener
from live import SCAN, TIMEOUT_S, make_server, numbered_frame, running, wait_until
from rf_listener import rf_listener
from secured_publisher import KeyRing

from usert.errors import OptionError, UsertError
from usert.runtime.clients.frame_sender import FrameSender
from usert.runtime.engines.interface import Engine
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer

ANY = "tcp://127.0.0.1:0"
LARGE = np.zeros((2048, 512), np.int16)
"""A frame of 2 MB: a socket that nobody reads has no room for a second or third one."""


def test_frames_that_nobody_receives_are_dropped_and_counted_and_leave_a_gap() -> None:
    with FrameSender(ANY, SCAN) as sender:
        assert not sender.wait_for_receiver(0)
        assert not any(sender.send(numbered_frame().samples) for _ in range(5))
        with listener(sender) as heard:
            assert sender.wait_for_receiver(TIMEOUT_S)
            assert sender.send(numbered_frame().samples)
            assert heard.receive().frame.sequence == 5
        wait_until(lambda: not sender.wait_for_receiver(0))
        assert not sender.send(numbered_frame().samples)
        assert (sender.sent, sender.dropped) == (1, 6)


@pytest.mark.parametrize("kind", ["pub", "push"])
def test_a_receiver_that_stalls_costs_frames_and_no_time(kind: Any) -> None:
    with (
        FrameSender(ANY, SCAN, socket_type=kind) as sender,
        listener(sender, zmq.SUB if kind == "pub" else zmq.PULL) as heard,
    ):
        assert sender.wait_for_receiver(TIMEOUT_S)
        while sender.dropped < 50:  # it would end no more if `send` waited
            sender.send(LARGE)
        numbers = [heard.receive().frame.sequence for _ in range(sender.sent)]
        assert not heard.socket.poll(50)  # the count is exact
        assert numbers == sorted(numbers)
        assert sender.wait_for_receiver(TIMEOUT_S)
        assert sender.send(LARGE)  # and it goes on
        assert heard.receive().frame.sequence == sender.sent + sender.dropped - 1


def test_a_receiver_that_stalls_does_not_hold_up_another() -> None:
    with FrameSender(ANY, SCAN) as sender, listener(sender) as stalled, ExitStack() as stack:
        assert sender.wait_for_receiver(TIMEOUT_S)
        while sender.dropped < 3:
            sender.send(LARGE)
        quick = stack.enter_context(listener(sender))
        for _ in range(20):  # more than the stalled one has room for
            wait_until(lambda: sender.send(numbered_frame().samples) and bool(quick.socket.poll(50)))
            quick.receive()
        assert stalled.receive().frame.sequence == 0


def test_subscriptions_to_something_else_are_no_receivers() -> None:
    with FrameSender(ANY, SCAN) as sender, zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.connect(sender.endpoint)
        socket.subscribe(b"strain")
        assert not sender.wait_for_receiver(0.2)
        socket.subscribe(b'{"usert":1')
        assert sender.wait_for_receiver(TIMEOUT_S)


def test_any_thread_may_send_and_no_number_is_given_twice() -> None:
    with FrameSender(ANY, SCAN) as sender:

        def send() -> None:
            for _ in range(200):
                sender.send(numbered_frame().samples)

        threads = [threading.Thread(target=send) for _ in range(4)]
        numbers: list[int] = []
        with rf_listener(None, sender.endpoint) as heard:
            assert sender.wait_for_receiver(TIMEOUT_S)
            accept = heard.accept
            heard.accept = lambda message, at: (numbers.append(message.frame.sequence), accept(message, at))[
                1
            ]  # type: ignore[method-assign]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wait_until(lambda: len(numbers) == sender.sent)
    assert sender.sent + sender.dropped == 800
    assert numbers == sorted(set(numbers))


def test_it_is_open_from_open_to_close_once() -> None:
    sender = FrameSender(ANY, SCAN)
    with pytest.raises(ValueError, match="FrameSender is new"):
        sender.send(LARGE)
    assert sender.open() is sender
    with pytest.raises(OptionError, match="cannot bind"):
        FrameSender(sender.endpoint, SCAN).open()
    sender.close()
    sender.close()
    with pytest.raises(ValueError, match="FrameSender is closed"):
        sender.send(LARGE)
    assert not sender.wait_for_receiver(TIMEOUT_S)


def test_a_frame_without_geometry_is_an_error_of_the_program() -> None:
    with FrameSender(ANY) as sender, pytest.raises(ValueError, match="got no scan"):
        sender.send(LARGE)


@pytest.mark.parametrize(("kind", "bind"), [("pub", True), ("pub", False), ("push", True), ("push", False)])
def test_after_a_restart_of_the_server_frames_are_received_again(
    tmp_path: Path, engine: Engine, kind: Any, bind: bool
) -> None:
    endpoint = f"ipc://{tmp_path}/rf"
    config = ServerConfig(
        rf=endpoint, rf_type="sub" if kind == "pub" else "pull", rf_bind=not bind, publish=ANY
    )
    with FrameSender(endpoint, SCAN, socket_type=kind, bind=bind) as sender:
        for _ in range(2):
            with running(StrainServer(engine=engine, config=config, weights_hash="")) as server:

                def received(server: StrainServer = server) -> bool:
                    sender.send(numbered_frame().samples)
                    return server.counts.frames.received > 3

                wait_until(received)
                assert not server.counts.malformed
            before = sender.sent
            wait_until(lambda: not sender.send(LARGE))
            assert sender.sent <= before + 4  # what it still took before the server's end was known


@pytest.mark.parametrize(("kind", "bind"), [("pub", True), ("push", False)])
def test_with_keys_only_the_server_that_is_known_receives(tmp_path: Path, kind: Any, bind: bool) -> None:
    ring = KeyRing(tmp_path)
    ring.allow("scanner", "receiver")
    if bind:
        with FrameSender(ANY, SCAN, keys=ring.server()) as sender:
            with rf_listener(None, sender.endpoint):
                assert not sender.wait_for_receiver(0.3)
            with rf_listener(ring.client("receiver"), sender.endpoint) as heard:
                assert sender.wait_for_receiver(TIMEOUT_S)
                assert sender.send(numbered_frame().samples)
                wait_until(lambda: heard.received == {"scanner": 1})
        return
    with rf_listener(ring.server(), kind="pull") as heard:
        for keys in (ring.client("stranger"), ring.client("scanner", server="elsewhere"), None):
            with FrameSender(heard.endpoint, SCAN, socket_type=kind, bind=False, keys=keys) as sender:
                assert not sender.wait_for_receiver(0.3)
                assert not sender.send(numbered_frame().samples)
        keys = ring.client("scanner")
        with FrameSender(heard.endpoint, SCAN, socket_type=kind, bind=False, keys=keys) as sender:
            assert sender.wait_for_receiver(TIMEOUT_S)
            assert sender.send(numbered_frame().samples)
            wait_until(lambda: heard.received == {"scanner": 1})


@pytest.mark.parametrize("bind", [True, False])
def test_keys_of_the_other_side_are_refused(tmp_path: Path, bind: bool) -> None:
    ring = KeyRing(tmp_path)
    with pytest.raises(OptionError, match="expected ServerKeys to bind, ClientKeys to connect"):
        FrameSender(ANY, SCAN, bind=bind, keys=ring.client("scanner") if bind else ring.server())


def test_another_machine_needs_keys_or_so_many_words() -> None:
    with pytest.raises(UsertError, match="--insecure"):
        FrameSender("tcp://0.0.0.0:5555", SCAN)
    assert FrameSender("tcp://0.0.0.0:5555", SCAN, insecure=True).endpoint == "tcp://0.0.0.0:5555"


def test_a_live_server_makes_images_of_what_is_sent(engine: Engine, source: Any) -> None:
    with (
        FrameSender(ANY, SCAN) as sender,
        running(make_server(engine, source, rf=sender.endpoint, rf_type="sub")) as server,
    ):
        assert sender.wait_for_receiver(TIMEOUT_S)

        def published() -> bool:
            sender.send(numbered_frame(sender.sent).samples)
            return server.counts.published > 2

        wait_until(published)
